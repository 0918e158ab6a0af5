"""WAV files decoded in a graph, beside libsndfile."""

import io
import struct

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from hares_tf.hub.export import wav

RATE = 16_000


@tf.function(input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int32)])
def decode(contents, row):
    return wav.decode(contents, row, RATE), wav.length(contents, row, RATE)


def made(frames, channels=1, rate=RATE, subtype="PCM_16", container="WAV"):
    content = io.BytesIO()
    random = np.random.default_rng(frames)
    samples = random.uniform(-1, 1, (frames, channels))
    soundfile.write(content, samples, rate, subtype=subtype, format=container)
    return content.getvalue()


def read(file):
    samples, rate = soundfile.read(io.BytesIO(file), dtype="float32", always_2d=True)
    assert rate == RATE
    return samples.mean(axis=1)


def chunk(name, content):
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


FILE = made(100)
HEAD, FORMAT, DATA = FILE[:12], FILE[12:36], FILE[36:]


def same(file, wanted=None):
    found, length = decode(tf.constant(file), 0)
    wanted = read(file) if wanted is None else wanted
    assert length == len(wanted)
    np.testing.assert_allclose(found, wanted, atol=1e-7)


def refused(file, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        decode(tf.constant(file), 3)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("frames", [1, 2, 4001])
def test_equals_libsndfile(frames, channels):
    same(made(frames, channels))


def test_extremes_and_silence():
    samples = np.array([-32768, 32767, 0, 1, -1], np.int16)
    content = io.BytesIO()
    soundfile.write(content, samples, RATE, format="WAV")
    same(content.getvalue(), samples / np.float32(2**15))


@pytest.mark.parametrize("size", [0, 1, 4, 5])
@pytest.mark.parametrize("place", ["before the format", "before the samples", "behind"])
def test_other_chunks(size, place):
    """Those of an odd size are followed by a byte that no size counts."""
    other = chunk(b"LIST", b"data!"[:size])
    parts = {
        "before the format": (HEAD, other, FORMAT, DATA),
        "before the samples": (HEAD, FORMAT, other, DATA),
        "behind": (HEAD, FORMAT, DATA, other),
    }
    same(b"".join(parts[place]), read(FILE))


def test_longer_formats_and_unknown_sizes():
    longer = chunk(b"fmt ", FORMAT[8:] + b"\0\0")
    same(HEAD + longer + DATA, read(FILE))
    streamed = HEAD[:4] + b"\xff" * 4 + HEAD[8:] + FORMAT + b"data" + b"\xff" * 4 + DATA[8:]
    same(streamed, read(FILE))
    same(streamed + b"\0", read(FILE))  # half a sample


REFUSED = [
    (b"", r"entry\] \[3\] \[is not a WAV file"),
    (b"RIFF", r"entry\] \[3\] \[is not a WAV file"),
    (made(10, container="FLAC"), r"entry\] \[3\] \[is not a WAV file"),
    (HEAD, r"entry\] \[3\] \[has no format or no samples"),
    (HEAD + FORMAT, r"entry\] \[3\] \[has no format or no samples"),
    (HEAD + DATA, r"entry\] \[3\] \[has no format or no samples"),
    (HEAD + DATA + FORMAT, r"entry\] \[3\] \[has no format or no samples"),
    (HEAD + b"JUNK" + b"\xff" * 4, r"entry\] \[3\] \[has no format or no samples"),
    (HEAD + 1001 * b"junk\0\0\0\0" + FORMAT + DATA, r"\[has no format or no samples"),
    (FILE[:-7], r"entry\] \[3\] \[is cut off: of\] \[200\] .* \[193\]"),
    (made(0), r"no samples in entry\] \[3\]"),
    (made(10, rate=8000), r"\[16000\] \[Hz; in entry\] \[3\] \[it is\] \[8000\]"),
    (made(10, subtype="PCM_24"), r"entry\] \[3\] .* \[24\] \[bits a sample"),
    (made(10, subtype="FLOAT"), r"entry\] \[3\] \[has the format code\] \[3\]"),
    (made(10, container="WAVEX"), r"\[has the format code\] \[65534\]"),
    (HEAD + FORMAT[:10] + b"\0\0" + FORMAT[12:] + DATA, r"\[0\] \[channel"),
]


@pytest.mark.parametrize(("file", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_refused(file, message):
    refused(file, message)


def test_every_beginning_of_a_file_is_refused():
    for size in range(len(FILE)):
        refused(FILE[:size], r"entry\] \[3\]")


def test_random_bytes_are_decoded_or_refused():
    """Nothing but a sentence, whatever stands where a size or a format should be."""
    random = np.random.default_rng(0)
    for _ in range(300):
        file = np.frombuffer(FILE, np.uint8).copy()
        places = random.integers(0, 48, 3)
        file[places] = random.integers(0, 256, 3)
        try:
            found, length = decode(tf.constant(file.tobytes()), 3)
        except tf.errors.InvalidArgumentError as error:
            assert "entry] [3]" in str(error)
        else:
            assert len(found) == length > 0 and np.isfinite(found).all()


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(
    "size", [0, 0x7FFFF000, 0x7FFFFF00, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF - 36, 0xFFFFFFFF]
)
def test_sizes_written_to_a_pipe(size, channels):
    content = bytearray(made(500, channels))
    stated = size // (2 * channels) * 2 * channels if size < 0xF0000000 else size
    content[40:44] = struct.pack("<I", stated)
    content[4:8] = struct.pack("<I", min(stated + 36, 0xFFFFFFFF))
    same(bytes(content), read(made(500, channels)))
