"""Two small modules for other runtimes: on frames of samples, and on log power spectra."""

import functools
import json

import numpy as np
import tensorflow as tf

RATE = 8000


class Network(tf.Module):
    """Frames of 80 samples -> two dense layers -> mean over time; normalized, with a floor."""

    def __init__(self):
        super().__init__()
        random = np.random.default_rng(0)
        self.first = tf.Variable(random.normal(0, 0.1, (80, 256)).astype(np.float32))
        self.second = tf.Variable(random.normal(0, 0.1, (256, 32)).astype(np.float32))

    def embed(self, waveform):
        frames = tf.signal.frame(waveform, 80, 80, pad_end=True)
        # A floor that float16 cannot hold: without it, silence would be 0 / 0.
        power = tf.reduce_mean(frames**2, axis=[1, 2], keepdims=True)
        frames = frames / tf.sqrt(tf.maximum(power, 1e-10))
        hidden = tf.nn.relu(tf.einsum("btf,fh->bth", frames, self.first))
        return tf.reduce_mean(tf.einsum("bth,hd->btd", hidden, self.second), axis=1)


def save(folder, shape=(None, None), function=None, card=True, network=Network.embed):
    """Saves a module that computes `function`, or `network(variables, waveform)`."""
    module = Network()
    if function is None:
        function = functools.partial(network, module)
    spec = tf.TensorSpec(shape, tf.float32, name="waveform")
    module.__call__ = tf.function(function, input_signature=[spec])
    serve = tf.function(lambda waveform: {"embedding": function(waveform)}, input_signature=[spec])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})
    if card:
        (folder / "model_card.json").write_text(json.dumps({"sample_rate": RATE, "name": "two"}))
    return folder


def log_spectrum(network, waveform):
    frames = tf.signal.frame(waveform, 80, 80, pad_end=True)
    bins = tf.signal.rfft(frames, [128])  # [batch, time, 65]; LiteRT knows powers of two
    power = tf.math.real(bins) ** 2 + tf.math.imag(bins) ** 2
    averaging = tf.constant(np.eye(65, 80, dtype=np.float32) + 1e-9)
    bands = tf.math.log(tf.einsum("btf,fg->btg", power, averaging) + 1e-9)
    hidden = tf.nn.relu(tf.einsum("btf,fh->bth", bands, network.first))
    return tf.reduce_mean(tf.einsum("bth,hd->btd", hidden, network.second), axis=1)


def noise(batch, samples):
    return np.random.default_rng(1).normal(0, 0.1, (batch, samples)).astype(np.float32)


def tone(samples):
    time = np.arange(samples, dtype=np.float32) / RATE
    return 0.1 * np.sin(2 * np.pi * 1000 * time, dtype=np.float32)[np.newaxis]
