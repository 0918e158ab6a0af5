"""Decoded recordings: every recording is decoded once, into a file of 16-bit samples.

The file has no name, so it is deleted when the process ends, however it ends. Training reads crops
from it in every epoch; the memory in use does not grow with the data.
"""

import collections
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hares_tf.audio import AudioError
from hares_tf.audio.pcm16 import FULL_SCALE, to_int16
from hares_tf.finetune.errors import FinetuneError
from hares_tf.finetune.recordings import Recording, Recordings
from hares_tf.recordings.decoding import decoded_ahead

# Recordings of a class: one each to train, validate and test.
_FEWEST = 3


@dataclass(frozen=True, slots=True)
class Clip:
    """A decoded recording.

    Attributes:
        id: see `Recording`.
        label: index into the classes.
        part: one of `recordings.PARTS`, or "" before the split.
        digest: SHA-256 of the encoded audio; copies have the same.
        start, samples: its first sample and number of samples in the file.
    """

    id: str
    label: int
    part: str
    digest: str
    start: int
    samples: int

    def in_part(self, part: str) -> "Clip":
        """The same clip in another part."""
        return replace(self, part=part)


class Audio:
    """The decoded clips.

    Args:
        file: int16 samples, mono.
        samples: how many.
        sample_rate: in hertz.
    """

    def __init__(self, file, samples: int, sample_rate: int):
        self._samples = np.memmap(file, np.int16, "r", shape=(samples,))
        self.sample_rate = sample_rate

    def cut(self, clip: Clip, start: int, window: int) -> np.ndarray:
        """Samples float32 `[window]` in [-1, 1] of a clip from `start` on; zeros after its end."""
        piece = np.zeros(window, np.float32)
        stop = min(clip.samples, start + window)
        piece[: stop - start] = self._samples[clip.start + start : clip.start + stop]
        piece /= FULL_SCALE
        return piece


def decode(
    recordings: Recordings, sample_rate: int, folder: Path, progress
) -> tuple[Audio, list[Clip], list[tuple[str, str]]]:
    """Decodes recordings to mono at one rate.

    Args:
        recordings: the recordings.
        sample_rate: in hertz.
        folder: where the file is: 2 bytes for each sample, 115 MB for an hour at 16 kHz.
        progress: a `hares_tf.utils.progress.Progress`.

    Returns:
        The audio, the clips in the order of the recordings, and (id, reason) of the recordings that
        are left out: unreadable ones, and copies of one recording under different labels.

    Raises:
        FinetuneError: a class with fewer than three readable recordings.
    """
    clips: list[Clip] = []
    rejected: list[tuple[str, str]] = list(recordings.rejected)
    reasons: dict[int, str] = {}
    position = 0
    total = len(recordings.recordings)
    with tempfile.TemporaryFile(dir=folder) as file:
        with progress.phase("recordings", "decode", total, "file") as bar:
            for recording, digest, samples in _decoded(recordings.recordings, sample_rate):
                bar.update(1)
                if isinstance(samples, str):
                    rejected.append((recording.id, samples))
                    reasons.setdefault(recording.label, samples)
                    continue
                file.write(samples.tobytes())
                clips.append(
                    Clip(
                        recording.id,
                        recording.label,
                        recording.part,
                        digest,
                        position,
                        len(samples),
                    )
                )
                position += len(samples)
        clips, ambiguous = _without_ambiguous(clips, recordings.classes)
        _check_classes(recordings, clips, reasons, ambiguous)
        file.flush()
        return Audio(file, position, sample_rate), clips, rejected + ambiguous


def _decoded(
    recordings: Sequence[Recording], sample_rate: int
) -> Iterator[tuple[Recording, str, np.ndarray | str]]:
    """Yields (recording, digest, int16 samples or the reason why there are none), in order."""

    def read(recording: Recording) -> tuple[str, np.ndarray | str]:
        try:
            waveform = recording.sound.load(sample_rate)
        except AudioError as error:
            return "", str(error)
        return recording.sound.content_digest(), to_int16(waveform)

    def size_of(recording: Recording) -> int:
        return recording.sound.decoded_bytes(sample_rate)

    for recording, (digest, samples) in decoded_ahead(recordings, read, size_of):
        yield recording, digest, samples


def _without_ambiguous(
    clips: list[Clip], classes: Sequence[str]
) -> tuple[list[Clip], list[tuple[str, str]]]:
    """Leaves out recordings with copies under another label, since one of the labels is wrong."""
    labels: dict[str, dict[int, str]] = collections.defaultdict(dict)
    for clip in clips:
        labels[clip.digest].setdefault(clip.label, clip.id)
    kept, left_out = [], []
    for clip in clips:
        other = next((i for label, i in labels[clip.digest].items() if label != clip.label), None)
        if other is None:
            kept.append(clip)
        else:
            left_out.append((clip.id, f"has the same content as {other}, which has another label"))
    return kept, left_out


def _check_classes(
    recordings: Recordings,
    clips: Sequence[Clip],
    reasons: dict[int, str],
    ambiguous: Sequence[tuple[str, str]],
) -> None:
    listed = collections.Counter(recording.label for recording in recordings.recordings)
    usable = collections.Counter(clip.label for clip in clips)
    label_of = {recording.id: recording.label for recording in recordings.recordings}
    for id, reason in ambiguous:
        reasons.setdefault(label_of[id], f"{id} {reason}")
    for label, name in enumerate(recordings.classes):
        if usable[label] >= _FEWEST:
            continue
        first = f" ({reasons[label]})" if label in reasons else ""
        if not usable[label]:
            raise FinetuneError(
                f"None of the {listed[label]} recordings of the class {name!r} can be used{first}."
            )
        raise FinetuneError(
            f"The class {name!r} has {usable[label]} usable recording(s) of {listed[label]}{first}."
            f" At least {_FEWEST} are needed, one each to train, validate and test."
        )


def window_batches(
    audio: Audio,
    clips: Sequence[Clip],
    window: int,
    batch: int,
    on_done: Callable[[int], None] = lambda windows: None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cuts clips into tiles, from sample 0, the last one zero-padded.

    Args:
        audio, clips: the clips.
        window: samples of a tile.
        batch: tiles in a batch.
        on_done: called with the number of tiles after each batch was used.

    Yields:
        Tiles float32 `[batch, window]`, always in the same array, and for the tiles in use the
        number of their clip, `[filled]`; the other tiles are silent.
    """
    tiles = np.zeros((batch, window), np.float32)
    owners: list[int] = []
    for number, clip in enumerate(clips):
        for start in range(0, n_tiles(clip, window) * window, window):
            tiles[len(owners)] = audio.cut(clip, start, window)
            owners.append(number)
            if len(owners) == batch:
                yield tiles, np.array(owners)
                on_done(batch)
                owners = []
    if owners:
        tiles[len(owners) :] = 0
        yield tiles, np.array(owners)
        on_done(len(owners))


def n_tiles(clip: Clip, window: int) -> int:
    """Number of windows that a clip is scored on."""
    return -(-clip.samples // window)
