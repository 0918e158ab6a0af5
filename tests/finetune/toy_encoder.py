"""A tiny trainable module, and two tones that its frozen features do not tell apart."""

from pathlib import Path

import numpy as np
import soundfile
import tensorflow as tf

RATE = 8000
# Of these many samples; both have the same energy. A filter of length 5 can tell them apart.
PERIODS = {"high": 4, "low": 8}


class FilterBank(tf.Module):
    """Log energies after four filters, `[batch, samples] -> [batch, 4]`.

    The filters are impulses at first, so that the features give nothing but the loudness.
    `untouched` is not trainable, and the embedding does not depend on `shift`.
    """

    variables = None
    trainable_variables = None

    def __init__(self, trainable: bool = True, table: str = ""):
        super().__init__()
        impulses = np.zeros((5, 1, 4), np.float32)
        impulses[0, 0] = [0.5, 1.0, 1.5, -1.0]
        self.filters = tf.Variable(impulses, name="filters")
        self.shift = tf.Variable([1.0], name="shift")
        self.untouched = tf.Variable([1e-5], trainable=False, name="untouched")
        self.variables = [self.filters, self.shift, self.untouched]
        self.trainable_variables = [self.filters, self.shift] if trainable else []
        self.regularization_losses = [
            tf.function(lambda: 1e-6 * tf.reduce_sum(self.filters**2), input_signature=[])
        ]
        self.old_head = tf.Variable(tf.ones([4, 7]), name="old_head")
        self.head_variables = [self.old_head]
        if table:
            initializer = tf.lookup.TextFileInitializer(
                table, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER, tf.string, 0
            )
            self.table = tf.lookup.StaticHashTable(initializer, "none")

    @tf.function
    def __call__(self, waveform, training=False):
        batch = waveform if waveform.shape.rank == 2 else waveform[tf.newaxis]
        filtered = tf.nn.conv1d(batch[..., tf.newaxis], self.filters, 1, "SAME")
        energies = tf.math.log(tf.reduce_mean(filtered**2, axis=1) + self.untouched)
        return energies + 0.0 * tf.cast(training, tf.float32)


def save_filter_bank(folder: Path, trainable: bool = True, table: bool = False) -> Path:
    """Saves it with the signatures serving_default, `with_gain` and, with a table, `words`."""
    words = folder.parent / "words.txt"
    words.write_text("zero\none\n")
    module = FilterBank(trainable, str(words) if table else "")
    spec = tf.TensorSpec([None, None], tf.float32, name="waveform")
    for training in (False, True):
        for shape in ([None, None], [None]):
            module.__call__.get_concrete_function(
                tf.TensorSpec(shape, tf.float32, name="waveform"), training=training
            )

    @tf.function(input_signature=[spec])
    def serving_default(waveform):
        return {"embedding": module(waveform)}

    @tf.function(input_signature=[spec, tf.TensorSpec([None], tf.float32, name="gain")])
    def with_gain(waveform, gain):
        embedding = module(waveform * gain[:, tf.newaxis])
        return {"embedding": embedding, "logits": embedding @ module.old_head}

    signatures = {"serving_default": serving_default, "with_gain": with_gain}
    if table:

        @tf.function(input_signature=[spec])
        def words(waveform):
            embedding = module(waveform)
            rows = tf.zeros([tf.shape(embedding)[0]], tf.int64)
            return {"embedding": embedding, "word": module.table.lookup(rows)}

        signatures["words"] = words
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


def tone(period: int, random: np.random.Generator, samples: int) -> np.ndarray:
    """A sine of any loudness and phase in a little noise."""
    phase, loudness = random.uniform(0, 2 * np.pi), 10 ** random.uniform(-1.2, -0.1)
    wave = np.sin(2 * np.pi * np.arange(samples) / period + phase)
    return (loudness * wave + random.normal(0, 0.002, samples)).clip(-1, 1)


def write_tones(folder: Path, clips: int = 20, seconds: float = 0.1) -> Path:
    """A folder for each class of `PERIODS`."""
    random = np.random.default_rng(0)
    for name, period in PERIODS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(clips):
            samples = tone(period, random, round(seconds * RATE))
            soundfile.write(folder / name / f"{number}.wav", samples, RATE)
    return folder
