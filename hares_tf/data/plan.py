"""Which recording goes into which shard, and the hash that tells one undertaking from another."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from hares_tf.data.errors import DataError
from hares_tf.data.shard_writer import Settings, ShardJob
from hares_tf.data.sidecar import shard_name
from hares_tf.recordings.sources import ClipSource, Source

# Raised when the same recordings would become other clips.
VERSION = 1
# A shard is what a worker's death costs, and what one host reads at once: by default so many
# recordings of so many bytes on disk. 1000 clips of 10 s are 320 MB.
CLIPS_PER_SHARD = 1000
_FILE_BYTES_PER_SHARD = 256 * 2**20
_MOST_SHARDS = 99_999  # five digits in their names


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        source: the recordings.
        settings: how they become clips.
        shards: number of shards.
        states: of each recording's file, size and time of modification.
    """

    source: Source
    settings: Settings
    shards: int
    states: tuple[str, ...]

    @cached_property
    def hash(self) -> str:
        """Changes with the recordings, their labels, and every option that decides the result.

        Where the folder lies does not matter.
        """
        whole = hashlib.sha256()
        head = [VERSION, asdict(self.settings), self.shards, list(self.source.label_names)]
        whole.update(json.dumps(head).encode() + b"\n")
        for clip, state in zip(self.source.clips, self.states, strict=True):
            whole.update(json.dumps([clip.id, clip.labels, state]).encode() + b"\n")
        for pair in self.source.rejected:
            whole.update(json.dumps(pair).encode() + b"\n")
        return whole.hexdigest()

    @property
    def description(self) -> dict:
        """What was asked for, as JSON data; kept with the clips."""
        return {
            **self.source.description,
            "recordings": len(self.source.clips),
            **asdict(self.settings),
            "shards": self.shards,
            "notes": list(self.source.notes),
            "plan": self.hash,
        }

    def jobs(self, output: Path, parts: Path) -> list[ShardJob]:
        """The shards; recordings are ordered by the hash of their id, so neighbours are unrelated.

        Args:
            output: the folder of the shards, absolute.
            parts: the folder of the part files, absolute.
        """
        clips = sorted(self.source.clips, key=_place_in_order)
        bounds = [index * len(clips) // self.shards for index in range(self.shards + 1)]
        return [
            ShardJob(
                number,
                output / shard_name(number, self.shards),
                parts / f"{number}.json",
                self.hash,
                tuple(clips[bounds[number] : bounds[number + 1]]),
                self.settings,
            )
            for number in range(self.shards)
        ]


def _place_in_order(clip: ClipSource) -> bytes:
    return hashlib.sha256(clip.id.encode("utf-8")).digest()


def make_plan(source: Source, settings: Settings, shards: int | None = None) -> Plan:
    """A plan; looks at the size and time of every file.

    Raises:
        DataError: settings or a number of shards that cannot be.
    """
    _check_settings(settings)
    if not source.clips:
        raise DataError(f"{source.name}: there is nothing to prepare. {first_reasons(source)}")
    ids = {clip.id for clip in source.clips}
    if len(ids) < len(source.clips):
        raise DataError(f"{source.name}: {len(source.clips) - len(ids)} ids are there twice")
    states: dict[str, os.stat_result | None] = {}
    for clip in source.clips:
        container = clip.sound.container
        if container not in states:
            states[container] = _state(container)
    if shards is None:
        size = sum(state.st_size for state in states.values() if state)
        shards = max(len(source.clips) // CLIPS_PER_SHARD, size // _FILE_BYTES_PER_SHARD, 1)
        shards = min(shards, len(source.clips), _MOST_SHARDS)
    elif not 1 <= shards <= min(len(source.clips), _MOST_SHARDS):
        raise DataError(
            f"--shards={shards}: must be a number from 1 to {min(len(source.clips), _MOST_SHARDS)}"
            f" for {len(source.clips)} recordings"
        )
    texts = {
        container: f"{state.st_size} {state.st_mtime_ns}" if state else "unreadable"
        for container, state in states.items()
    }
    return Plan(source, settings, shards, tuple(texts[c.sound.container] for c in source.clips))


def _check_settings(settings: Settings) -> None:
    for name, value, least, most in (
        ("sample_rate", settings.sample_rate, 1_000, 4_000_000),
        ("piece_seconds", settings.piece_seconds, 1, 86_400),
    ):
        if not isinstance(value, int) or not least <= value <= most:
            raise DataError(
                f"--{name} must be a whole number from {least} to {most}, not {value!r}"
            )
    if not 0 <= settings.min_seconds <= settings.piece_seconds:
        raise DataError(
            f"--min_seconds must be from 0 to --piece_seconds={settings.piece_seconds}, not "
            f"{settings.min_seconds!r}"
        )


def _state(path: str) -> os.stat_result | None:
    """None where it cannot be looked at: decoding will say why."""
    try:
        return os.stat(path)
    except OSError:
        return None


def first_reasons(source: Source, rejected: list | None = None, shown: int = 3) -> str:
    """The first reasons why recordings were rejected, as a sentence."""
    rejected = list(source.rejected if rejected is None else rejected)
    if not rejected:
        return "No recordings are listed."
    some = "; ".join(f"{name}: {reason}".rstrip(".") for name, reason in rejected[:shown])
    more = ", and so on" if len(rejected) > shown else ""
    return f"All {len(rejected)} recordings are rejected ({some}{more})."
