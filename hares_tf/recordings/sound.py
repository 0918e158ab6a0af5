"""Sounds: where the audio of a clip lies, and how to get it.

A clip's audio is a file, a member of an archive that is read in place, or a stretch of either.
Every kind has

* `where`: a text that names it, for messages and for the cache of digests;
* `container`: the file on disk whose size and times tell whether the audio may have changed;
* `content_digest()`: the hash of what is heard, whatever the place it lies in;
* `load(sample_rate)`: the waveform.

Objects are small: a task holds hundreds of thousands of them.
"""

import hashlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hares_tf.audio import AudioError, load_audio
from hares_tf.utils.files import sha256_file


class Sound(Protocol):
    """What every kind of sound offers."""

    @property
    def where(self) -> str:
        """Names the sound uniquely, for people and for caches."""

    @property
    def container(self) -> str:
        """Path of the file that the audio lies in."""

    def content_digest(self) -> str:
        """SHA-256 of the encoded audio (for a stretch: of the whole file's and its bounds)."""

    def load(self, sample_rate: int) -> np.ndarray:
        """Waveform `[samples]`, float32 in [-1, 1], mono; raises AudioError."""

    def decoded_bytes(self, sample_rate: int) -> int:
        """Roughly what decoding holds in memory, without decoding; 0 where that is unknown."""


def digest_of_unreadable(sound: Sound, error: Exception) -> str:
    """A name for what cannot be read: loading it will fail and be counted, not end the run."""
    return hashlib.sha256(f"unreadable {sound.where} {error}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class FileSound:
    """An audio file.

    Attributes:
        path: absolute, as text.
    """

    path: str

    @property
    def where(self) -> str:
        return self.path

    @property
    def container(self) -> str:
        return self.path

    def content_digest(self) -> str:
        try:
            return sha256_file(self.path)
        except OSError as error:
            return digest_of_unreadable(self, error)

    def load(self, sample_rate: int) -> np.ndarray:
        return load_audio(self.path, sample_rate)

    def decoded_bytes(self, sample_rate: int) -> int:
        import soundfile

        try:
            info = soundfile.info(self.path)
        except (soundfile.SoundFileError, OSError, TypeError, ValueError):
            # By a path, soundfile believes the ending: TypeError for .raw. `load` has the word.
            return 0
        return 4 * round(info.frames * (info.channels + sample_rate / max(1, info.samplerate)))


@dataclass(frozen=True, slots=True)
class Stretch:
    """Part of another sound, in seconds; for example the silence cut from a long noise recording.

    Attributes:
        sound: the whole.
        start, stop: seconds.
    """

    sound: Sound
    start: float
    stop: float

    @property
    def where(self) -> str:
        return f"{self.sound.where}[{self.start:g}:{self.stop:g}]"

    @property
    def container(self) -> str:
        return self.sound.container

    def content_digest(self) -> str:
        text = f"{self.sound.content_digest()} {self.start!r} {self.stop!r}"
        return hashlib.sha256(text.encode()).hexdigest()

    def load(self, sample_rate: int) -> np.ndarray:
        waveform = self.sound.load(sample_rate)
        part = waveform[round(self.start * sample_rate) : round(self.stop * sample_rate)]
        if not len(part):
            raise AudioError(f"{self.where} lies behind the end of the recording; fetch it again.")
        return part.copy()

    def decoded_bytes(self, sample_rate: int) -> int:
        return self.sound.decoded_bytes(sample_rate)
