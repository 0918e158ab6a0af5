"""The plan of a preparation: which recording goes into which shard, and a hash of all of it."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from hares_tf.data.errors import DataError
from hares_tf.data.shard_writer import Settings, ShardJob
from hares_tf.data.sidecar import shard_name
from hares_tf.recordings.recording import Recording, Source

# To be raised when the same recordings would become other clips.
VERSION = 1
# The default size of a shard, which is lost when a worker dies and is read by one host: a number of
# recordings, or of bytes of their files. 1000 clips of 10 s are 320 MB.
CLIPS_PER_SHARD = 1000
_FILE_BYTES_PER_SHARD = 256 * 2**20
_MOST_SHARDS = 99_999  # five digits in their names


@dataclass(frozen=True)
class Plan:
    """Recordings, and how they become clips.

    Attributes:
        source: the recordings.
        settings: how they become clips.
        shards: number of shards.
        states: size and time of modification of each recording's file, as texts.
    """

    source: Source
    settings: Settings
    shards: int
    states: tuple[str, ...]

    @cached_property
    def hash(self) -> str:
        """SHA-256 over recordings, labels, and every option that affects the result.

        It does not depend on the place of the folder.
        """
        whole = hashlib.sha256()
        head = [VERSION, asdict(self.settings), self.shards, list(self.source.label_names)]
        whole.update(json.dumps(head).encode() + b"\n")
        for clip, state in zip(self.source.recordings, self.states, strict=True):
            whole.update(json.dumps([clip.id, clip.labels, state]).encode() + b"\n")
        for pair in self.source.rejected:
            whole.update(json.dumps(pair).encode() + b"\n")
        return whole.hexdigest()

    @property
    def description(self) -> dict:
        """Description of what was asked for, as JSON data; stored with the clips."""
        return {
            **self.source.description,
            "recordings": len(self.source.recordings),
            **asdict(self.settings),
            "shards": self.shards,
            "notes": list(self.source.notes),
            "plan": self.hash,
        }

    def jobs(self, output: Path, parts: Path) -> list[ShardJob]:
        """Returns the jobs; recordings are ordered by the hash of their id, so that neighbors are
        unrelated.

        Args:
            output: the folder of the shards, absolute.
            parts: the folder of the part files, absolute.
        """
        clips = sorted(self.source.recordings, key=_place_in_order)
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


def _place_in_order(recording: Recording) -> bytes:
    return hashlib.sha256(recording.id.encode("utf-8")).digest()


def make_plan(source: Source, settings: Settings, shards: int | None = None) -> Plan:
    """Plans shards; reads the size and the time of modification of every file.

    Args:
        source: the recordings.
        settings: how they become clips.
        shards: number of shards; default: one for about 1000 recordings or 256 MB.

    Raises:
        DataError: there are no recordings, or a setting or the number of shards is out of range.
    """
    _check_settings(settings)
    recordings = source.recordings
    if not recordings:
        hint = first_reasons(source)
        raise DataError(f"{source.name}: there is nothing to prepare. {hint}")
    n_ids = len({recording.id for recording in recordings})
    if n_ids < len(recordings):
        raise DataError(
            f"{source.name}: {len(recordings) - n_ids} ids are used twice; ids must be unique."
        )
    states: dict[str, os.stat_result | None] = {}
    for recording in recordings:
        container = recording.sound.container
        if container not in states:
            states[container] = _state(container)
    most = min(len(recordings), _MOST_SHARDS)
    if shards is None:
        size = sum(state.st_size for state in states.values() if state)
        shards = max(len(recordings) // CLIPS_PER_SHARD, size // _FILE_BYTES_PER_SHARD, 1)
        shards = min(shards, most)
    elif not 1 <= shards <= most:
        raise DataError(
            f"--shards={shards}: must be a number from 1 to {most} for {len(recordings)} "
            "recordings."
        )
    texts = {
        container: f"{state.st_size} {state.st_mtime_ns}" if state else "unreadable"
        for container, state in states.items()
    }
    return Plan(source, settings, shards, tuple(texts[r.sound.container] for r in recordings))


def _check_settings(settings: Settings) -> None:
    for name, value, least, most in (
        ("sample_rate", settings.sample_rate, 1_000, 4_000_000),
        ("piece_seconds", settings.piece_seconds, 1, 86_400),
    ):
        if not isinstance(value, int) or not least <= value <= most:
            raise DataError(
                f"--{name} must be a whole number from {least} to {most}, not {value!r}."
            )
    if not 0 <= settings.min_seconds <= settings.piece_seconds:
        raise DataError(
            f"--min_seconds must be from 0 to --piece_seconds={settings.piece_seconds}, not "
            f"{settings.min_seconds!r}."
        )


def _state(path: str) -> os.stat_result | None:
    """Returns the state of a file, or None if it cannot be read: decoding will report why."""
    try:
        return os.stat(path)
    except OSError:
        return None


def first_reasons(
    source: Source, rejected: Sequence[tuple[str, str]] | None = None, shown: int = 3
) -> str:
    """Returns a sentence with the first reasons why recordings were rejected."""
    rejected = source.rejected if rejected is None else rejected
    if not rejected:
        return "No recordings are listed."
    reasons = "; ".join(f"{name}: {reason}".rstrip(".") for name, reason in rejected[:shown])
    more = ", and so on" if len(rejected) > shown else ""
    return f"All {len(rejected)} recordings are rejected ({reasons}{more})."
