"""A module as a function that can be trained."""

import tensorflow as tf

from hares_tf.evaluation import Interface
from hares_tf.evaluation.encoders.probe import probe
from hares_tf.finetune.encoder import TrainableEncoder


class Averaging(tf.Module):
    """`[batch, samples] -> [batch, 2]`, by an average that training moves."""

    def __init__(self):
        super().__init__()
        self.average = tf.Variable(0.5, trainable=False)
        self.scale = tf.Variable(2.0)

    @tf.function
    def __call__(self, waveform, training=False):
        energy = tf.reduce_mean(waveform**2, axis=1)
        if training:
            self.average.assign(0.9 * self.average + 0.1 * tf.reduce_mean(energy))
        return self.scale * tf.stack([energy - self.average, energy], axis=1)


def test_opening_a_module_does_not_change_it(tmp_path):
    module = Averaging()
    for training in (False, True):
        spec = tf.TensorSpec([None, None], tf.float32, name="waveform")
        module.__call__.get_concrete_function(spec, training=training)
    tf.saved_model.save(module, str(tmp_path / "averaging"))
    loaded = tf.saved_model.load(str(tmp_path / "averaging"))
    *_, interface, _ = probe("averaging", loaded, Interface(sample_rate=8000))
    encoder = TrainableEncoder("averaging", loaded, interface)
    assert encoder.has_training_mode and loaded.average.numpy() == 0.5
    encoder(tf.ones([1, 80]), training=True)
    assert loaded.average.numpy() > 0.5
