"""A small encoder with batch normalization, for tests of whatever treats batches.

Also a plugin and a configuration file: `hares-pretrain --config=tests/batch_norm_encoder.py`.
"""

import keras

from hares_tf.models import EncoderSpec, register
from hares_tf.models.waveform_encoder import log_mel_encoder

NAME = "batch_norm_encoder"


@keras.saving.register_keras_serializable(package="hares_tf_tests")
class BatchNormNetwork(keras.Model):
    """Log-mel `[batch, time, freq, 1]` -> `[batch, size]`: convolution, normalization, mean."""

    examples_independent = False

    def __init__(self, size=6, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        # Without a bias, which the normalization would take away again.
        self.conv = keras.layers.Conv2D(
            size, (3, 8), (2, 8), "same", use_bias=False, name="conv", dtype=self.dtype_policy
        )
        self.norm = keras.layers.BatchNormalization(
            momentum=0.5, synchronized=True, name="norm", dtype=self.dtype_policy
        )

    def build(self, input_shape):
        self.conv.build(input_shape)
        self.norm.build(self.conv.compute_output_shape(input_shape))
        self.built = True

    def call(self, log_mel, training=None):
        features = keras.ops.relu(self.norm(self.conv(log_mel), training=training))
        return keras.ops.mean(keras.ops.cast(features, self.variable_dtype), axis=(1, 2))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.size)

    def compute_output_spec(self, log_mel, **_):
        return keras.KerasTensor((log_mel.shape[0], self.size), self.variable_dtype)

    def get_config(self):
        return {**super().get_config(), "size": self.size}


def create(name, dtype=None, size=6):
    """Factory of the registry."""
    return log_mel_encoder(name, BatchNormNetwork(size, dtype=dtype, name="network"), dtype)


register(EncoderSpec(NAME, create, "Batch normalization, for tests.", parameters=3 * 8 * 6 + 2 * 6))


def get_config():
    """Classification with batch normalization on crops of a tenth of a second."""
    import micro

    config = micro.classification()
    config.model.name = NAME
    return config
