"""Single examples of tensorflow-datasets' record files, read at random.

A record is a protocol buffer of type tf.train.Example: a map from the name of a feature ("label",
"instrument/family") to a list of bytes, floats or integers. Only as much of the format is read
here as it takes to find where the values lie, which the library's own parsers do not tell: an
index of a TFRecord file is made without reading the samples, and a clip is a range of bytes.
"""

import hashlib
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from hares_tf.audio import AudioError
from hares_tf.audio.pcm16 import FULL_SCALE
from hares_tf.recordings.errors import RecordingsError

# The fields of tf.train.Feature: what kind of values it holds.
BYTES, FLOATS, INTEGERS = 1, 2, 3
AGAIN = "the file may be damaged: prepare the data set again"
# As in hares_tf.audio: a float peak of 32 means integers that were stored as floats.
_PEAK_LIMIT = 32.0
_RANDOM_ACCESS = "readahead_buffer_size:0,max_parallelism:0"


@dataclass(frozen=True, slots=True)
class TfdsSound:
    """The samples of an example in a record file.

    Attributes:
        path: the record file, absolute, as text.
        record: the record's number in an ArrayRecord file; -1 in a TFRecord file.
        offset, size: where the encoded samples lie: in the record, or in the TFRecord file.
        integers: whether the samples are integers (variable-length, full scale 32768) or float32.
        rate: their sample rate in Hz.
    """

    path: str
    record: int
    offset: int
    size: int
    integers: bool
    rate: int

    @property
    def where(self) -> str:
        return f"{self.path}!{self.offset if self.record < 0 else self.record}"

    @property
    def container(self) -> str:
        return self.path

    def content_digest(self) -> str:
        """SHA-256 of the samples as stored: equal recordings have equal ones, whatever they show
        otherwise (id, label)."""
        try:
            text = f"{self.rate} {'int' if self.integers else 'float'}\n"
            return hashlib.sha256(text.encode() + self._read()).hexdigest()
        except AudioError as error:
            # Loading it will fail and be counted; until then it needs a name.
            return hashlib.sha256(f"unreadable {self.where} {error}".encode()).hexdigest()

    def load(self, sample_rate: int) -> np.ndarray:
        waveform = self._waveform()
        if self.rate != sample_rate:
            import soxr

            resampled = soxr.resample(waveform, self.rate, sample_rate, quality="HQ")
            # A sample or two at a high rate last less than one at a low rate: keep their mean.
            waveform = resampled if resampled.size else waveform.mean(keepdims=True)
        return np.clip(waveform, -1.0, 1.0)

    def decoded_bytes(self, sample_rate: int) -> int:
        # A float takes four bytes in the file; integers about five, and 64 while they are decoded.
        return round(self.size * ((12 if self.integers else 1) + sample_rate / self.rate))

    def _read(self) -> bytes:
        try:
            if self.record < 0:
                with open(self.path, "rb") as file:
                    file.seek(self.offset)
                    content = file.read(self.size)
            else:
                whole = _array_records(self.path).read([self.record])[0]
                content = whole[self.offset : self.offset + self.size]
        except (OSError, RuntimeError, IndexError) as error:
            raise AudioError(f"{self.where} cannot be read ({error}); {AGAIN}.") from error
        if len(content) < self.size:
            raise AudioError(f"{self.where} ends too early; {AGAIN}.")
        return content

    def _waveform(self) -> np.ndarray:
        content = self._read()
        if self.integers:
            values = integers(content)
            if values.size and not -FULL_SCALE <= values.min() <= values.max() < FULL_SCALE:
                raise AudioError(f"{self.where} has samples of more than 16 bits; {AGAIN}.")
            waveform = values.astype(np.float32) / FULL_SCALE
        else:
            waveform = np.frombuffer(content, "<f4")
        if not waveform.size:
            raise AudioError(f"{self.where} has no samples; {AGAIN}.")
        if not np.isfinite(waveform).all():
            raise AudioError(f"{self.where} has NaN or infinite samples; {AGAIN}.")
        if max(-waveform.min(), waveform.max()) >= _PEAK_LIMIT:
            raise AudioError(f"{self.where} holds integers that were stored as floats.")
        return waveform


def integers(content: bytes) -> np.ndarray:
    """Variable-length integers of protocol buffers: 7 bits a byte, the lowest first, the top bit
    set in all bytes but a number's last; negative ones are two's complement of 64 bits."""
    data = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero(data < 0x80)
    starts = np.concatenate([np.zeros(min(1, ends.size), np.int64), ends[:-1] + 1])
    lengths = ends - starts + 1
    values = np.zeros(ends.size, np.uint64)
    for place in range(min(10, int(lengths.max(initial=0)))):
        longer = np.flatnonzero(lengths > place)
        bits = (data[starts[longer] + place] & 0x7F).astype(np.uint64)
        values[longer] |= bits << np.uint64(7 * place)
    return values.view(np.int64)


def _array_records(path: str):
    """A reader of an ArrayRecord file as it is now; safe for threads."""
    state = os.stat(path)
    return _opened(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _opened(path: str, mtime: int, size: int):
    """Kept open, since opening reads where all records lie. Clips are read in order: few do."""
    try:
        from array_record.python import array_record_module
    except ImportError as error:
        raise RecordingsError(
            f"{path} needs the package array_record ({error}): pip install array_record, or "
            "prepare the data set as tfrecord."
        ) from error
    return array_record_module.ArrayRecordReader(path, _RANDOM_ACCESS)


def records(path: Path) -> Iterator[tuple[int, bytes | mmap.mmap, int, int]]:
    """(record number or -1, bytes, start, stop) of every record; in an ArrayRecord file the bytes
    are the record's, in a TFRecord file all of the file's.

    Raises:
        RecordingsError: a format that cannot be read at random.
        OSError, RuntimeError, ValueError: a damaged file.
    """
    if ".array_record" in path.name:
        reader = _array_records(str(path))
        for number in range(reader.num_records()):
            (data,) = reader.read([number])
            yield number, data, 0, len(data)
    elif ".tfrecord" in path.name:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            position = 0
            # A record: its length (8 bytes), the length's checksum (4), the bytes, theirs (4).
            while position < len(data):
                length = int.from_bytes(data[position : position + 8], "little")
                start, position = position + 12, position + 16 + length
                if position > len(data):
                    raise ValueError("it ends within a record")
                yield -1, data, start, start + length
    else:
        raise RecordingsError(
            f"{path.name} cannot be read at random, only .tfrecord and .array_record files can: "
            "prepare the data set in one of these formats."
        )


def features(
    data: bytes | mmap.mmap, start: int, stop: int, wanted: set[str]
) -> dict[str, tuple[int, int, int]]:
    """name -> (kind, start, stop) of the values of the wanted features of a tf.train.Example.

    Numbers are stored in one piece; of bytes, there is one value.

    Raises:
        ValueError: the bytes are none.
    """
    found = {}
    for _, *whole in _fields(data, start, stop):
        for _, *entry in _fields(data, *whole):
            parts = {number: bounds for number, *bounds in _fields(data, *entry)}
            name = str(data[slice(*parts[1])], "utf-8")
            if name not in wanted:
                continue
            for kind, *values in _fields(data, *parts.get(2, (0, 0))):
                # A list without values is written as nothing.
                bounds = [bounds for _, *bounds in _fields(data, *values)] or [[stop, stop]]
                if len(bounds) > 1:
                    raise ValueError(f"its {name} is not one value, or not stored in one piece")
                found[name] = (kind, *bounds[0])
    return found


def _fields(data: bytes | mmap.mmap, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """(field number, start, stop) of a message whose fields all state their length, as all of
    tf.train.Example do when numbers are packed, which is how they are written."""
    while start < stop:
        key, start = varint(data, start)
        size, start = varint(data, start)
        if key & 7 != 2 or start + size > stop:
            raise ValueError("a record is no example of tensorflow-datasets")
        yield key >> 3, start, start + size
        start += size


def varint(data: bytes | mmap.mmap, position: int) -> tuple[int, int]:
    """A variable-length integer, and where it ends."""
    value, shift = 0, 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
