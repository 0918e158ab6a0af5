"""Data sets on disk: recordings, tables and small archives at the real data set's paths."""

import io
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from hares_tf.evaluation.mini.synthesis import SAMPLE_RATE, generator

# Raised whenever a sample, a label or a path changes.
VERSION = 2


@dataclass(frozen=True)
class Recording:
    """A sound file to be written.

    Attributes:
        path: below the data folder; "ARCHIVE.tgz!MEMBER" for one inside an archive.
        make: draws the waveform `[samples]` at 16 kHz.
        stereo_decoy: draws a second waveform, which is added to the first channel of a stereo
            recording at 48 kHz and subtracted from the second, so that only their mean lacks it.
    """

    path: str
    make: Callable[[np.random.Generator], np.ndarray]
    stereo_decoy: Callable[[np.random.Generator], np.ndarray] | None = None

    def waveform(self) -> tuple[np.ndarray, int]:
        """Returns `[samples]` or `[samples, 2]`, seeded by version and path, and the rate."""
        random = generator(f"mini-{VERSION}", self.path)
        waveform = self.make(random)
        if self.stereo_decoy is None:
            return waveform, SAMPLE_RATE
        import soxr

        decoy = self.stereo_decoy(random)
        channels = np.stack([waveform + decoy, waveform - decoy], axis=1)
        return soxr.resample(channels, SAMPLE_RATE, 3 * SAMPLE_RATE), 3 * SAMPLE_RATE


@dataclass(frozen=True)
class Tree:
    """The files of a data set.

    Attributes:
        recordings: its sound files.
        tables: path below the data folder -> text.
    """

    recordings: tuple[Recording, ...]
    tables: Mapping[str, str]


def write(tree: Tree, folder: Path) -> None:
    """Writes a data set below `folder`."""
    for path, text in tree.tables.items():
        _place(folder, path).write_text(text, encoding="utf-8")
    members: dict[str, dict[str, bytes]] = {}
    for recording in tree.recordings:
        archive, _, member = recording.path.rpartition("!")
        content = encoded(recording)
        if archive:
            members.setdefault(archive, {})[member] = content
        else:
            _place(folder, recording.path).write_bytes(content)
    for archive, contents in members.items():
        with tarfile.open(_place(folder, archive), "w:gz", compresslevel=1) as tar:
            for name, content in contents.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def encoded(recording: Recording) -> bytes:
    """Returns the bytes of a sound file: MP3 if its name ends so, otherwise WAV of 16 bits."""
    import soundfile

    waveform, rate = recording.waveform()
    file = io.BytesIO()
    if recording.path.endswith(".mp3"):
        soundfile.write(file, waveform, rate, format="MP3")
    else:
        # Not `audio.pcm16`: every byte of the suite belongs to its version.
        integers = np.round(32767 * np.clip(waveform, -1, 1)).astype(np.int16)
        soundfile.write(file, integers, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def table(columns: Iterable[str], rows: Iterable[Iterable[object]], delimiter: str = ",") -> str:
    """Returns a table with a header as text; no cell may need quotes."""
    lines = [delimiter.join(map(str, row)) for row in (columns, *rows)]
    return "\n".join(lines) + "\n"


def parts(train: int, validation: int, test: int) -> Iterator[tuple[int, str]]:
    """Yields (number, split) of the clips of a label."""
    names = ["train"] * train + ["validation"] * validation + ["test"] * test
    return enumerate(names)


def _place(folder: Path, path: str) -> Path:
    place = folder / PurePosixPath(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    return place
