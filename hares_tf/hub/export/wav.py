"""16-bit PCM WAV in a graph, for requests that hold whole files.

TensorFlow's own decoder does not know the byte behind chunks of an odd size, which programs that
write tags make, and none of its messages says which file of a request it is about.

Source of the layout: Multimedia Programming Interface and Data Specifications 1.0 (IBM and
Microsoft, 1991), RIFF and WAVE.
"""

import tensorflow as tf

from hares_tf.audio.containers import HEADER_BYTES, UNKNOWN_SIZES

_HEADER = 12  # "RIFF", size, "WAVE"
# As many chunks before its samples no recording has.
_MAX_CHUNKS = 1000
_ADVICE = "; send whole files of 16-bit PCM WAV"


def decode(contents, row, sample_rate: int):
    """A file's contents, a string -> its mono waveform `[samples]`; `row` is for messages.

    Raises:
        tf.errors.InvalidArgumentError: when it runs, a sentence that says which entry it was.
    """
    begin, frames, channels = _checked(contents, row, sample_rate)
    samples = tf.io.decode_raw(tf.strings.substr(contents, begin, 2 * channels * frames), tf.int16)
    samples = tf.cast(tf.reshape(samples, [frames, channels]), tf.float32) / 2.0**15
    return tf.reduce_mean(samples, axis=1)


def length(contents, row, sample_rate: int):
    """The number of samples that `decode` gives, int32, by the file's header."""
    return _checked(contents, row, sample_rate)[1]


def _checked(contents, row, sample_rate: int):
    """Returns the offset of the samples of a file, its frames and its channels; int32 each."""
    total = tf.cast(tf.strings.length(contents), tf.int64)
    riff = _bytes(contents, tf.constant(0, tf.int64), _HEADER)
    is_wav = _says(riff[:4], b"RIFF") & _says(riff[8:], b"WAVE")
    with tf.control_dependencies(
        [tf.debugging.Assert(is_wav, ["wav_bytes: entry", row, "is not a WAV file" + _ADVICE])]
    ):
        form, data = _chunks(contents, total)
    complete = (form >= 0) & (data >= 0)
    with tf.control_dependencies(
        [
            tf.debugging.Assert(
                complete,
                ["wav_bytes: entry", row, "has no format or no samples, or is cut off" + _ADVICE],
            )
        ]
    ):
        fields = _bytes(contents, tf.maximum(form, 0) + 8, 16)
        promised = _number(_bytes(contents, tf.maximum(data, 0) + 4, 4))
    code, channels, bits = (_number(fields[at : at + 2]) for at in (0, 2, 14))
    rate = _number(fields[4:8])
    begin = data + 8
    # Written to a pipe: rounded down to whole frames, or less the header (see UNKNOWN_SIZES).
    sizes = tf.constant(UNKNOWN_SIZES, tf.int64)
    unknown = tf.reduce_any(
        (promised <= sizes) & (promised > sizes - HEADER_BYTES - 2 * channels)
    ) & (begin + promised > total)
    # ffmpeg and others leave both sizes at 0.
    unknown |= (promised == 0) & (_number(riff[4:8]) <= 36)
    size = tf.where(unknown, total - begin, promised)
    frames = size // tf.maximum(2 * channels, 1)
    checks = [
        tf.debugging.Assert(
            (code == 1) & (bits == 16) & (channels > 0),
            [
                "wav_bytes: entry", row, "has the format code", code, "(PCM is 1),", channels,
                "channel(s) and", bits, "bits a sample" + _ADVICE,
            ],
        ),
        tf.debugging.Assert(
            rate == sample_rate,
            ["wav_bytes: the sample rate must be", sample_rate, "Hz; in entry", row, "it is", rate],
        ),
        tf.debugging.Assert(
            begin + size <= total,
            [
                "wav_bytes: entry", row, "is cut off: of", size, "bytes of samples it holds",
                total - begin,
            ],
        ),
        tf.debugging.Assert(frames > 0, ["wav_bytes: no samples in entry", row]),
    ]  # fmt: skip
    with tf.control_dependencies(checks):
        return tuple(tf.cast(value, tf.int32) for value in (begin, frames, channels))


def _chunks(contents, total):
    """Returns the offsets of the chunks "fmt " and "data", int64; -1 if a chunk is missing."""

    def body(at, form, data):
        head = _bytes(contents, at, 8)
        size = _number(head[4:])
        form = tf.where(_says(head[:4], b"fmt "), at, form)
        data = tf.where(_says(head[:4], b"data"), at, data)
        return at + 8 + size + size % 2, form, data  # chunks begin at even places

    start = tf.constant(_HEADER, tf.int64)
    missing = tf.constant(-1, tf.int64)
    _, form, data = tf.while_loop(
        lambda at, form, data: (data < 0) & (at + 8 <= total),
        body,
        (start, missing, missing),
        maximum_iterations=_MAX_CHUNKS,
    )
    return form, data


def _bytes(contents, at, count: int):
    """`count` bytes as int64, zeros behind the end of the file."""
    text = tf.strings.substr(contents, at, tf.constant(count, at.dtype))
    return tf.cast(tf.io.decode_raw(text, tf.uint8, fixed_length=count), tf.int64)


def _number(some):
    """Little-endian, without a sign."""
    return tf.reduce_sum(some * [256**place for place in range(some.shape[0])])


def _says(some, text: bytes):
    return tf.reduce_all(some == list(text))
