"""The classical floor that every encoder should beat."""

import keras
from keras import ops

from hares_tf.audio.precision import full_precision_policy
from hares_tf.models.waveform_encoder import log_mel_encoder


@keras.saving.register_keras_serializable(package="hares_tf")
class LogMelStatistics(keras.layers.Layer):
    """Mean and standard deviation over time: `[batch, time, freq, 1]` -> `[batch, 2 * freq]`.

    First the means of all bins, then the (population) standard deviations. No parameters. Takes the
    log-mel spectrogram before standardization, whose mean and level are what it describes.
    """

    #: Frames of the spectrogram from one step of `embedding_and_frames` to the next.
    frame_stride = 1

    def __init__(self, *, dtype=None, **kwargs):
        super().__init__(dtype=full_precision_policy(dtype), **kwargs)

    def call(self, log_mel, training=None):
        bins = ops.squeeze(log_mel, axis=-1)
        mean = ops.mean(bins, axis=1, keepdims=True)
        variance = ops.mean(ops.square(bins - mean), axis=1)
        # A floor below any real deviation keeps the root's gradient finite on silence.
        deviation = ops.sqrt(ops.maximum(variance, 1e-12))
        return ops.concatenate([ops.squeeze(mean, axis=1), deviation], axis=-1)

    def embedding_and_frames(self, log_mel, training=None):
        """The embedding, and the bins that it describes: `[batch, time, freq]`."""
        return self(log_mel), ops.squeeze(log_mel, axis=-1)

    def compute_output_shape(self, input_shape, **_):
        return (input_shape[0], 2 * input_shape[2])


def create(name, dtype=None):
    """Factory of the registry: the statistics behind the log-mel frontend of the paper."""
    network = LogMelStatistics(dtype=dtype, name="network")
    return log_mel_encoder(name, network, dtype, standardize=False)
