"""The signatures of a module: what servers and programs without Python call by name.

Every input and output has the batch as its first axis, since servers merge and split requests along
it. A request that cannot be answered fails with a sentence; nothing is guessed.
"""

import tensorflow as tf

from hares_tf.hub.export import wav

WAVEFORM = tf.TensorSpec([None, None], tf.float32, name="waveform")


def make_signatures(infer, head, embedding_size: int, sample_rate: int, has_frames: bool) -> dict:
    """The signatures of one encoder.

    Args:
        infer: waveform `[batch, samples]` -> `{"embedding"}` and, if `has_frames`, `"frames"`.
        head: embedding -> the outputs that a classifier adds, `{"logits"}` or `{}`.
        embedding_size: number of features.
        sample_rate: in Hz, what `wav_bytes` insists on.
        has_frames: whether there is a signature `frames`.

    Returns:
        Traced functions by the signature's name:
        `serving_default(waveform [batch, samples])`;
        `frames(waveform)`, which adds `"frames"` `[batch, steps, features]`;
        `with_lengths(waveform, lengths [batch] int32)`, which looks at the first `lengths` samples
        of every example and at nothing behind them;
        `wav_bytes(bytes [batch] string)`, whole files of 16-bit PCM WAV of any lengths.
        Each gives `"embedding"` `[batch, dim]` and what `head` adds.
    """

    def embed(waveform):
        return infer(waveform)["embedding"]

    def outputs(embedding):
        return {"embedding": embedding, **head(embedding)}

    @tf.function(input_signature=[WAVEFORM])
    def serving_default(waveform):
        return outputs(embed(waveform))

    @tf.function(input_signature=[WAVEFORM])
    def frames(waveform):
        found = infer(waveform)
        return {**outputs(found["embedding"]), "frames": found["frames"]}

    @tf.function(input_signature=[WAVEFORM, tf.TensorSpec([None], tf.int32, name="lengths")])
    def with_lengths(waveform, lengths):
        with tf.control_dependencies(_check_lengths(waveform, lengths)):
            lengths = tf.identity(lengths)

        def clips(rows, length):
            return tf.gather(waveform, rows)[:, :length]

        return outputs(_embed_by_length(embed, clips, lengths, embedding_size))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="bytes")])
    def wav_bytes(contents):
        def decode(row):
            return wav.decode(contents[row], row, sample_rate)

        def length_of(row):
            return wav.length(contents[row], row, sample_rate)

        def clips(rows, length):
            waveforms = tf.map_fn(decode, rows, tf.TensorSpec([None], tf.float32))
            return tf.reshape(waveforms, [tf.size(rows), length])

        # All clips at once, padded to the longest, need not fit in memory.
        lengths = tf.map_fn(length_of, tf.range(tf.size(contents)), tf.TensorSpec([], tf.int32))
        return outputs(_embed_by_length(embed, clips, lengths, embedding_size))

    made = {"serving_default": serving_default, "with_lengths": with_lengths}
    made |= {"wav_bytes": wav_bytes} | ({"frames": frames} if has_frames else {})
    return made


def _embed_by_length(embed, clips, lengths, embedding_size: int):
    """Embeds clips of many lengths, all of the same length together.

    Masking what was padded would not do: the phase of strided windows with SAME padding depends on
    the length, so every example has to be seen in its own.

    Args:
        embed: `[batch, samples]` -> `[batch, embedding_size]`.
        clips: `(rows [n], length)` -> the clips of these rows, `[n, length]`.
        lengths: `[batch]` int32.
        embedding_size: number of features.
    """
    distinct, group = tf.unique(lengths)

    def body(index, embeddings):
        rows = tf.where(group == index)[:, 0]
        found = embed(clips(tf.cast(rows, tf.int32), distinct[index]))
        return index + 1, tf.tensor_scatter_nd_update(embeddings, rows[:, tf.newaxis], found)

    _, embeddings = tf.while_loop(
        lambda index, _: index < tf.size(distinct),
        body,
        (0, tf.zeros([tf.size(lengths), embedding_size])),
        parallel_iterations=1,  # one after the other: each already uses all cores
    )
    return embeddings


def _check_lengths(waveform, lengths) -> list:
    rows, samples = tf.unstack(tf.shape(waveform))
    return [
        tf.debugging.Assert(
            tf.size(lengths) == rows,
            [
                "with_lengths needs one length for each waveform; there are",
                tf.size(lengths),
                "lengths and this many waveforms:",
                rows,
            ],
        ),
        tf.debugging.Assert(
            tf.reduce_all((lengths >= 1) & (lengths <= samples)),
            [
                "with_lengths: every length must be from 1 to the number of samples, which is",
                samples,
                "; the lengths are",
                lengths,
            ],
            summarize=20,
        ),
    ]
