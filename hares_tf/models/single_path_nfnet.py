"""A single path of a Slowfast NFNet as a network of its own."""

import keras
from keras import ops

from hares_tf.layers import GELU_GAMMA
from hares_tf.models.draws import KeepMask
from hares_tf.models.nfnet_path import NFNetPath, check_residual_masks, skip_gains_at_one
from hares_tf.models.nfnet_variants import get_variant
from hares_tf.models.slowfast_nfnet import SlowFastNFNet, pooled_embedding


@keras.saving.register_keras_serializable(package="hares_tf")
class SinglePathNFNet(keras.Model):
    """The slow or the fast path alone: no fusion, no pooling of frames before it.

    The final activation carries the factor `GELU_GAMMA` here, unlike in the two-path network
    (official JAX code).

    Args:
        variant: name of a row of `hares_tf.models.nfnet_variants.VARIANTS`.
        path: `"slow"` (3072 features for `f0`) or `"fast"` (384).
        gradient_checkpointing: as in `SlowFastNFNet`.
        **kwargs: of `keras.Model`.

    Call arguments are those of `SlowFastNFNet`: `log_mel` `[batch, time, freq, 1]`, `training`,
    `residual_masks` `[rows, batch]`. Returns `[batch, embedding_size]` in the variable dtype.

    Raises:
        ModelError: if there is no such variant or path, or `residual_masks` has the wrong number
            of rows.
    """

    #: New skip gains are 0.
    has_silent_branches = True
    #: Frames of the spectrogram from one step of `embedding_and_frames` to the next.
    frame_stride = SlowFastNFNet.frame_stride

    def __init__(self, variant="f0", path="slow", gradient_checkpointing=False, **kwargs):
        super().__init__(**kwargs)
        self.variant = variant
        self.gradient_checkpointing = gradient_checkpointing
        self.trunk = NFNetPath(
            variant,
            path,
            gradient_checkpointing=gradient_checkpointing,
            name=path,
            dtype=self.dtype_policy,
        )
        self.path_name = path
        self.embedding_size = getattr(get_variant(variant), path).features

    @property
    def residual_mask_rows(self):
        """Names of the rows of `residual_masks`."""
        return [f"{self.path_name}/block{block}" for block in self.trunk.dropped_blocks]

    @property
    def training_draws(self):
        """The masks of stochastic depth; rows as in `residual_mask_rows`."""
        return {"residual_masks": KeepMask(tuple(self.trunk.drop_rates))}

    def awake(self):
        """Context manager: all skip gains are 1; yields them."""
        return skip_gains_at_one(self)

    def build(self, input_shape):
        self.trunk.build(input_shape)

    def feature_map(self, log_mel, training=None, residual_masks=None):
        """Feature map before pooling: `[batch, ceil(time / 4), ceil(freq / 32), features]`."""
        check_residual_masks(residual_masks, self.residual_mask_rows)
        features = self.trunk(log_mel, training=training, residual_masks=residual_masks)
        return features * GELU_GAMMA

    def call(self, log_mel, training=None, residual_masks=None):
        features = self.feature_map(log_mel, training=training, residual_masks=residual_masks)
        return pooled_embedding([features], self.variable_dtype)

    def embedding_and_frames(self, log_mel, training=None):
        """The embedding, and its features before they are pooled over time.

        Returns:
            `[batch, embedding_size]` and `[batch, ceil(time / 4), embedding_size]`, means over
            frequency.
        """
        features = self.feature_map(log_mel, training=training)
        frames = ops.mean(ops.cast(features, self.variable_dtype), axis=2)
        return pooled_embedding([features], self.variable_dtype), frames

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.embedding_size)

    def compute_output_spec(self, log_mel, **_):
        return keras.KerasTensor((log_mel.shape[0], self.embedding_size), self.variable_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "variant": self.variant,
            "path": self.path_name,
            "gradient_checkpointing": self.gradient_checkpointing,
        }
