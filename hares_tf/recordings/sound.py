"""Sounds: references to the audio of a recording, which load and hash it.

The audio is a file, a member of an archive that is read in place, an example of a tfds record
file, or a stretch of one of them. Every kind has

* `where`: a text that names it, for messages and for the cache of digests;
* `container`: the file on disk whose size and times show whether the audio may have changed;
* `content_digest()`: a hash of the audio that does not depend on its place;
* `load(sample_rate)`: the waveform.

Objects are small, because a task holds hundreds of thousands of them.
"""

import hashlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hares_tf.audio import AudioError, load_audio
from hares_tf.utils.files import sha256_file


class Sound(Protocol):
    """The interface of every kind of sound."""

    @property
    def where(self) -> str:
        """A unique name of the sound, for messages and caches."""

    @property
    def container(self) -> str:
        """The path of the file that holds the audio."""

    def content_digest(self) -> str:
        """Returns the SHA-256 of the encoded audio; a stretch hashes the whole and its bounds."""

    def load(self, sample_rate: int) -> np.ndarray:
        """Returns the waveform `[samples]`, float32 in [-1, 1], mono; raises AudioError."""

    def decoded_bytes(self, sample_rate: int) -> int:
        """Returns about how many bytes decoding needs, without decoding; 0 if unknown."""


def digest_of_unreadable(sound: Sound, error: Exception) -> str:
    """Returns a digest for unreadable audio, so that loading it later fails and is counted."""
    return hashlib.sha256(f"unreadable {sound.where} {error}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class FileSound:
    """An audio file.

    Attributes:
        path: absolute path.
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
            # soundfile trusts the ending of a path: TypeError for .raw. `load` decides.
            return 0
        return 4 * round(info.frames * (info.channels + sample_rate / max(1, info.samplerate)))


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of another sound, for example silence cut from a long recording of noise.

    Attributes:
        sound: the whole sound.
        start, stop: bounds of the part in seconds.
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
