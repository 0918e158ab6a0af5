"""Single examples of tensorflow-datasets' record files, read at random.

A record is a protocol buffer of type tf.train.Example: a map from the name of a feature ("label",
"instrument/family") to a list of bytes, floats or integers. This module parses only as much of the
format as it takes to find the positions of the values, which the library's own parsers do not
return. A TFRecord file is indexed without reading the samples, and a clip is a range of bytes.
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
from hares_tf.recordings.sound import digest_of_unreadable

# The fields of tf.train.Feature, one per kind of values.
BYTES, FLOATS, INTEGERS = 1, 2, 3
AGAIN = "the file may be damaged: prepare the data set again"
# As in hares_tf.audio: a float peak of 32 means integers that were stored as floats.
_PEAK_LIMIT = 32.0
_RANDOM_ACCESS = "readahead_buffer_size:0,max_parallelism:0"


@dataclass(frozen=True, slots=True)
class TfdsSound:
    """The samples of an example in a record file.

    Attributes:
        path: absolute path of the record file.
        record: the record's number in an ArrayRecord file; -1 in a TFRecord file.
        offset, size: position of the encoded samples in the record, or in the TFRecord file.
        integers: whether the samples are integers (variable-length, full scale 32768) or float32.
        rate: their sample rate in hertz.
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
        """Returns the SHA-256 of the stored samples, which does not depend on id and label."""
        try:
            text = f"{self.rate} {'int' if self.integers else 'float'}\n"
            return hashlib.sha256(text.encode() + self._read()).hexdigest()
        except AudioError as error:
            return digest_of_unreadable(self, error)

    def load(self, sample_rate: int) -> np.ndarray:
        try:
            return self._resampled(sample_rate)
        except MemoryError as error:
            raise AudioError(f"{self.where} does not fit into memory.") from error

    def _resampled(self, sample_rate: int) -> np.ndarray:
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
    """Decodes variable-length integers of protocol buffers, as int64 `[values]`.

    Each byte holds 7 bits, the lowest first; the top bit is set in all bytes of a number but the
    last. Negative numbers are the two's complement of 64 bits.
    """
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
    """Returns a thread-safe reader of an ArrayRecord file in its present state."""
    state = os.stat(path)
    return _opened(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _opened(path: str, mtime: int, size: int):
    """Opens a reader; the last few are kept, because opening reads the index of the file."""
    try:
        from array_record.python import array_record_module
    except ImportError as error:
        raise RecordingsError(
            f"{path} needs the package array_record ({error}): pip install array_record, or "
            "prepare the data set as tfrecord."
        ) from error
    return array_record_module.ArrayRecordReader(path, _RANDOM_ACCESS)


def records(path: Path) -> Iterator[tuple[int, bytes | mmap.mmap, int, int]]:
    """Yields (record number or -1, bytes, start, stop) of every record.

    In an ArrayRecord file the bytes are those of the record, in a TFRecord file those of the whole
    file.

    Raises:
        RecordingsError: the format has no random access.
        OSError, RuntimeError, ValueError: the file is damaged.
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
    """Returns (kind, start, stop) of the values of features of a tf.train.Example, by name.

    Args:
        data: the bytes that hold the example.
        start, stop: its position in them.
        wanted: names of the features. Numbers must be stored in one piece; bytes must have one
            value.

    Raises:
        ValueError: the bytes are not such an example.
    """
    positions = {}
    for _, *whole in _fields(data, start, stop):
        for _, *entry in _fields(data, *whole):
            parts = {number: bounds for number, *bounds in _fields(data, *entry)}
            name = str(data[slice(*parts[1])], "utf-8")
            if name not in wanted:
                continue
            for kind, *values in _fields(data, *parts.get(2, (0, 0))):
                # An empty list is not written.
                bounds = [bounds for _, *bounds in _fields(data, *values)] or [[stop, stop]]
                if len(bounds) > 1:
                    raise ValueError(f"its {name} is not one value, or not stored in one piece")
                ((first, end),) = bounds
                positions[name] = (kind, first, end)
    return positions


def _fields(data: bytes | mmap.mmap, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Yields (field number, start, stop) of the fields of a message.

    All fields must state their length, as those of tf.train.Example do when numbers are packed,
    which is how they are written.
    """
    while start < stop:
        key, start = varint(data, start)
        size, start = varint(data, start)
        if key & 7 != 2 or start + size > stop:
            raise ValueError("a record is not an example of tensorflow-datasets")
        yield key >> 3, start, start + size
        start += size


def varint(data: bytes | mmap.mmap, position: int) -> tuple[int, int]:
    """Returns a variable-length integer and the position behind it."""
    value, shift = 0, 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
