"""Modules with the interfaces of public ones; the embedding of a waveform is (mean, maximum)."""

import numpy as np
import tensorflow as tf

from hares_tf.evaluation.encoders.handle import open_encoder, stated_interface
from hares_tf.evaluation.encoders.interface import Interface
from hares_tf.hub import locate

SAMPLES = 800


def pair(x):
    return tf.stack([tf.reduce_mean(x, -1), tf.reduce_max(x, -1)], -1)


def waveform_spec(*shape):
    return tf.TensorSpec(shape, tf.float32, name="waveform")


def save_module(folder, function, *specs, signature=False, name="__call__"):
    """Saves a module whose function `name` (or only its signature) is `function`."""
    module = tf.Module()
    traced = tf.function(function, input_signature=list(specs))
    if signature:
        tf.saved_model.save(module, str(folder), signatures=traced.get_concrete_function())
    else:
        setattr(module, name, traced)
        # TensorFlow makes a signature of an only function by itself; not here.
        tf.saved_model.save(module, str(folder), signatures={})
    return locate(folder)


def waveforms(samples=SAMPLES, batch=3):
    return np.random.default_rng(0).uniform(-1, 1, (batch, samples)).astype(np.float32)


def statistics_of(waveform):
    return np.stack([waveform.mean(axis=1), waveform.max(axis=1)], axis=1)


def open_module(module, **flags):
    stated, _ = stated_interface(module, Interface(**{"sample_rate": 16_000, **flags}))
    return open_encoder(module, stated)


def check(module, **flags):
    """Opens, embeds, compares; gives what the adapter chose."""
    encoder, waveform = open_module(module, **flags), waveforms()
    np.testing.assert_allclose(encoder.embed(waveform), statistics_of(waveform), atol=1e-5)
    assert encoder.interface["embedding_size"] == 2 and "2 features" in encoder.description
    return encoder.interface
