"""Any sound file -> one mono waveform at the wanted sample rate."""

import io
import os
import stat
from contextlib import contextmanager

import numpy as np
import soundfile
import soxr

from hares_tf.audio.containers import examine
from hares_tf.audio.errors import AudioError

# Full scale is 1. Lossy codecs and float masters overshoot it a little, which is clipped; a peak
# 30 dB above it means integers that were stored as floats, and clipping would leave square waves.
_PEAK_LIMIT = 32.0
# Samples (of all channels) decoded at once: 64 MB. Longer files are averaged to mono in pieces.
_BLOCK_SAMPLES = 1 << 24
# Outside these a header is damaged rather than unusual, and resampling would run out of memory.
_LOWEST_RATE, _HIGHEST_RATE = 1_000, 4_000_000
# libsndfile's names of the formats whose containers are examined.
_FORMATS = frozenset(
    ("WAV", "WAVEX", "RF64", "AIFF", "AU", "CAF", "W64", "FLAC", "OGG", "MP3", "NIST")
)
# 8 kbit/s are 1000 bytes per second. Silence takes fewer: 14 bytes for 65535 samples in FLAC, one
# or two for 120 ms in Opus.
_LEAST_BYTES_PER_SECOND = {"FLAC": 10, "OGG": 10, "CAF": 50}
# Some MP3 encoders count the frame that holds the Xing tag, so two frames may be missing.
_MP3_SLACK = 2 * 1152


def load_audio(path_or_bytes, sample_rate: int = 16_000) -> np.ndarray:
    """Decodes a sound file to mono at `sample_rate`.

    Reads WAV (8 to 32 bit integers, floats, A-law, mu-law, ADPCM; also RF64 and Wave64), FLAC,
    Ogg (Vorbis, Opus), MP3, AIFF, AU, CAF and SPHERE files at any sample rate from 1 kHz and with
    any number of channels. Channels are averaged, then resampled (soxr, high quality), then values
    beyond full scale are clipped: float files and lossy codecs exceed it a little, and resampling
    overshoots. At an unchanged rate nothing is resampled. Threads may call this together, and
    decode in parallel when given paths.

    Every sample of a file comes out, or an error says why not: streams that follow each other
    (chained Ogg, joined MP3, FLAC, WAV or AIFF files, also at other rates) are read one after the
    other, and wrong counts in headers are corrected by what is there. An MP3 file that states no
    number of frames may lack some at its end without notice.

    Args:
        path_or_bytes: a path (`str` or `os.PathLike`), or a whole file's contents (`bytes`,
            `bytearray` or `memoryview`).
        sample_rate: the rate of the result in Hz, a whole number up to 4 MHz.

    Returns:
        Waveform `[samples]`, float32, finite, in [-1, 1], at least one sample.

    Raises:
        AudioError: the file is missing, unreadable, a directory, empty, not sound, truncated or
            damaged, without samples, with NaN or infinite samples, or with a peak of 32 or more
            times full scale, or it does not fit into memory; the message names it. Also when an
            argument is unusable.
    """
    whole = isinstance(sample_rate, int | np.integer) and not isinstance(sample_rate, bool)
    if not whole or not 1 <= sample_rate <= _HIGHEST_RATE:
        raise AudioError(
            f"The sample rate must be a whole number of hertz from 1 to {_HIGHEST_RATE}, "
            f"not {sample_rate!r}."
        )
    with _opened(path_or_bytes) as (stream, size, name):
        if size == 0:
            raise AudioError(f"{name} is empty (0 bytes); fetch or record it again.")
        container = examine(stream, size)
        if container.problem:
            raise AudioError(f"{name} {container.problem}; fetch it again.")
        parts = []
        for item in container.streams:
            source = stream if item.content is None else _Memory(item.content)
            waveform, file_rate = _decode(source, name, size, item.samples)
            parts.append(_resampled(waveform, file_rate, sample_rate))
        waveform = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return np.clip(waveform, -1.0, 1.0, out=waveform)


def _resampled(waveform: np.ndarray, file_rate: int, sample_rate: int) -> np.ndarray:
    if file_rate == sample_rate:
        return waveform
    resampled = soxr.resample(waveform, file_rate, sample_rate, quality="HQ")
    # A sample or two at a high rate last less than one at a low rate: keep their mean.
    return resampled if resampled.size else waveform.mean(keepdims=True)


class _Memory(io.BytesIO):
    """Bytes that libsndfile reads through callbacks, which must not raise in damaged files."""

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):  # before the beginning: stay, as lseek does
            return self.tell()


@contextmanager
def _memory_checked(name: str):
    """Raises AudioError instead of MemoryError."""
    try:
        yield
    except MemoryError as error:
        raise AudioError(
            f"{name} does not fit into memory; cut it into shorter recordings."
        ) from error


@contextmanager
def _opened(path_or_bytes):
    """Yields (binary stream, size in bytes, name for messages)."""
    if isinstance(path_or_bytes, bytes | bytearray | memoryview):
        content = bytes(path_or_bytes)
        name = f"The sound in memory ({len(content)} bytes)"
        with _memory_checked(name):
            yield _Memory(content), len(content), name
        return
    try:
        path = os.fspath(path_or_bytes)
    except TypeError:
        raise AudioError(
            "A sound must be given as a path or as a file's bytes, "
            f"not as {type(path_or_bytes).__name__}."
        ) from None
    name = f"The sound file {os.fsdecode(path)!r}"
    try:
        # Opening a named pipe would block until somebody writes to it, so look first.
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise AudioError(f"{name} is a directory; give the path of one file.")
        if not stat.S_ISREG(mode):
            raise AudioError(f"{name} is not a regular file; save the sound to a file first.")
        # Unbuffered: libsndfile reads from the same descriptor.
        stream = open(path, "rb", buffering=0)  # noqa: SIM115 (closed below)
    except FileNotFoundError:
        raise AudioError(f"{name} does not exist; check the path.") from None
    except PermissionError:
        raise AudioError(f"{name} may not be read; check its permissions.") from None
    except (OSError, ValueError) as error:
        raise AudioError(f"{name} cannot be opened: {error}.") from error
    with stream, _memory_checked(name):
        try:
            yield stream, os.fstat(stream.fileno()).st_size, name
        except OSError as error:
            raise AudioError(f"{name} cannot be read: {error}.") from error


def _decode(stream, name: str, size: int, samples: int | None) -> tuple[np.ndarray, int]:
    """Returns the mono waveform `[samples]` float32 and its sample rate in Hz.

    Raises:
        AudioError: also when fewer than `samples` samples come out.
    """
    stream.seek(0)
    source = stream if isinstance(stream, _Memory) else stream.fileno()
    try:
        # A descriptor and not the path, so that the file name's ending does not choose the format.
        sound = soundfile.SoundFile(source, closefd=False)
    except soundfile.SoundFileRuntimeError as error:
        raise AudioError(
            f"{name} is not a sound that can be decoded ({_reason(error)}); "
            "WAV, FLAC, Ogg and MP3 are."
        ) from error
    with sound:
        if not _LOWEST_RATE <= sound.samplerate <= _HIGHEST_RATE:
            raise AudioError(
                f"{name} states a sample rate of {sound.samplerate} Hz, outside "
                f"{_LOWEST_RATE} to {_HIGHEST_RATE} Hz; its header is probably damaged."
            )
        if sound.format not in _FORMATS:
            raise AudioError(
                f"{name} is a {sound.format} file, and whether such a file is complete cannot be "
                "checked; convert it to WAV or FLAC."
            )
        if sound.format == "MP3" and samples is None:
            raise AudioError(
                f"{name} is truncated or damaged: no MPEG audio frames follow each other; "
                "fetch it again."
            )
        _check_duration(sound, size, name)
        waveform = _mono(sound, name)
        frames = len(waveform)
        slack = _MP3_SLACK if sound.subtype.startswith("MPEG") else 0
        expected = max(samples or 0, sound.frames - slack)
        if frames < expected:
            raise AudioError(
                f"{name} is truncated or damaged: it holds {expected} samples, "
                f"{frames} could be decoded; fetch it again."
            )
        if not frames:
            raise AudioError(f"{name} holds no samples (only a header); record it again.")
        return waveform, sound.samplerate


def _check_duration(sound: soundfile.SoundFile, size: int, name: str) -> None:
    """Raises AudioError for a file of `size` bytes that states more sound than it can hold."""
    seconds = sound.frames / sound.samplerate
    if seconds > 60 and size < seconds * _LEAST_BYTES_PER_SECOND.get(sound.format, 500):
        raise AudioError(
            f"{name} states {seconds:.0f} seconds of sound in {size} bytes, which no codec "
            "reaches; its header is damaged."
        )


def _mono(sound: soundfile.SoundFile, name: str) -> np.ndarray:
    """The mean over channels `[samples]` float32 of all that can be decoded."""
    blocks, frames = [], 0
    block_frames = max(1, _BLOCK_SAMPLES // sound.channels)
    if sound.subtype.startswith("MPEG"):
        # soundfile seeks after every block, which loses the place in MP3 files: one block.
        block_frames = sound.frames
    while frames < sound.frames:
        wanted = min(block_frames, sound.frames - frames)
        block = _read_block(sound, wanted, name)
        if not len(block):
            break
        frames += len(block)
        # Minimum and maximum are NaN when any sample is: two passes, no temporary array.
        lowest, highest = float(block.min()), float(block.max())
        if not (np.isfinite(lowest) and np.isfinite(highest)):
            raise AudioError(f"{name} has NaN or infinite samples; repair or drop it.")
        if max(-lowest, highest) >= _PEAK_LIMIT:
            raise AudioError(
                f"{name} has a peak of {max(-lowest, highest):g} where 1 is full scale: integers "
                "stored as floats? Divide them by their full scale (32768 for 16 bit) first."
            )
        if sound.channels > 1:
            blocks.append(block.mean(axis=1))
        else:  # a short block is a view of a buffer of the wanted size
            blocks.append(block[:, 0] if len(block) == wanted else block[:, 0].copy())
        if len(block) < wanted:
            break
    return blocks[0] if len(blocks) == 1 else np.concatenate([np.zeros(0, np.float32), *blocks])


def _read_block(sound: soundfile.SoundFile, frames: int, name: str) -> np.ndarray:
    """Up to `frames` samples `[samples, channels]` float32; fewer at the end of the file."""
    try:
        return sound.read(frames, dtype="float32", always_2d=True)
    except (soundfile.SoundFileRuntimeError, MemoryError) as error:
        raise AudioError(
            f"{name} is truncated or damaged: decoding stopped ({_reason(error)}); fetch it again."
        ) from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).strip().rstrip(".") or type(error).__name__
