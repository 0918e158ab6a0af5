"""Slowfast NFNet: the two-path, normalizer-free encoder of the paper."""

import math

import keras
from keras import ops

from hares_tf.layers import FastToSlowFusion
from hares_tf.models.draws import KeepMask
from hares_tf.models.nfnet_path import NFNetPath, check_residual_masks, skip_gains_at_one
from hares_tf.models.nfnet_variants import (
    SLOW_TIME_STRIDE,
    STAGE_STRIDES,
    STEM_STRIDES,
    get_variant,
)
from hares_tf.models.waveform_encoder import log_mel_encoder


def pooled_embedding(maps, dtype):
    """Means of feature maps over time and frequency, side by side.

    Args:
        maps: of `[batch, time, freq, features]` each.
        dtype: of the means: over hundreds of positions they lose digits in half precision.

    Returns:
        `[batch, all features]`.
    """
    pooled = [ops.mean(ops.cast(m, dtype), axis=(1, 2)) for m in maps]
    return ops.concatenate(pooled, axis=-1)


def frame_features(maps, dtype):
    """Means of both feature maps over frequency, at the rate of the fast one.

    Args:
        maps: `(fast, slow)`, `[batch, time, freq, features]` with time a quarter (rounded up) in
            the slow one.
        dtype: of the means.

    Returns:
        `[batch, fast time, all features]`; a slow step is repeated for the fast steps it covers.
    """
    fast, slow = (ops.mean(ops.cast(m, dtype), axis=2) for m in maps)
    slow = ops.repeat(slow, SLOW_TIME_STRIDE, axis=1)[:, : ops.shape(fast)[1]]
    return ops.concatenate([fast, slow], axis=-1)


@keras.saving.register_keras_serializable(package="hares_tf")
class SlowFastNFNet(keras.Model):
    """Slowfast NFNet: log-mel spectrogram to one embedding per example.

    The slow path sees the maximum over every four frames, the fast path all frames with a fraction
    of the channels. Before each of the four stages fast features join the slow path. The embedding
    is the mean of both final feature maps over time and frequency, fast features first: 3456
    features for `f0` (paper, Section 3.1 and Table 5; details: official JAX code). Any number of
    frames and bins is accepted, down to one of each.

    A new network has `skip_gain` 0 everywhere: residual branches contribute nothing yet, so
    training and inference agree and the branches' own gradients are zero. Initial weights follow
    Keras' global seed (`keras.utils.set_random_seed`).

    Args:
        variant: name of a row of `hares_tf.models.nfnet_variants.VARIANTS`.
        gradient_checkpointing: whether training computes every block again for its gradient
            instead of keeping its activations.
        **kwargs: of `keras.Model`; `dtype` may be a policy such as `"mixed_bfloat16"` (weight
            standardization, gates and pooling stay float32) or `"float64"`.

    Call arguments:
        log_mel: `[batch, time, freq, 1]`, float, standardized log-mel spectrogram.
        training: whether stochastic depth draws which residual branches to keep.
        residual_masks: `[rows, batch]` of 0 and 1; decides instead of a draw which residual
            branches are kept. Rows are ordered as `residual_mask_rows`.

    Returns `[batch, embedding_size]`, in the variable dtype (float32 under mixed_bfloat16).

    Raises:
        ModelError: if there is no such variant, or `residual_masks` has the wrong number of rows.
    """

    #: New skip gains are 0.
    has_silent_branches = True
    #: Frames of the spectrogram from one step of `embedding_and_frames` to the next.
    frame_stride = math.prod(time for time, _ in (*STEM_STRIDES, *STAGE_STRIDES))

    def __init__(self, variant="f0", gradient_checkpointing=False, **kwargs):
        super().__init__(**kwargs)
        row = get_variant(variant)
        self.variant = variant
        self.gradient_checkpointing = gradient_checkpointing
        self.embedding_size = row.fast.features + row.slow.features
        settings = {"gradient_checkpointing": gradient_checkpointing, "dtype": self.dtype_policy}
        self.slow = NFNetPath(variant, "slow", fused=True, name="slow", **settings)
        self.fast = NFNetPath(variant, "fast", name="fast", **settings)
        self.fusions = [
            FastToSlowFusion(channels, name=f"fusion{stage}", dtype=self.dtype_policy)
            for stage, channels in enumerate(row.fusion_channels)
        ]
        # Padding never wins the maximum, so that the last window may be incomplete.
        self.data_layer = keras.layers.MaxPooling2D(
            (SLOW_TIME_STRIDE, 1),
            padding="same",
            data_format="channels_last",
            name="data_layer",
            dtype=self.dtype_policy,
        )

    @property
    def residual_mask_rows(self):
        """Names of the rows of `residual_masks`: slow blocks first, then fast blocks."""
        return [
            f"{path.path_name}/block{block}"
            for path in (self.slow, self.fast)
            for block in path.dropped_blocks
        ]

    @property
    def training_draws(self):
        """The masks of stochastic depth; rows as in `residual_mask_rows`."""
        rates = tuple(rate for path in (self.slow, self.fast) for rate in path.drop_rates)
        return {"residual_masks": KeepMask(rates)}

    def awake(self):
        """Context manager: all skip gains are 1; yields them."""
        return skip_gains_at_one(self)

    def folded(self, precision):
        """The inference form, see `hares_tf.models.folded_nfnet`; TensorFlow only."""
        from hares_tf.models.folded_nfnet import FoldedSlowFastNFNet

        return FoldedSlowFastNFNet(self, precision)

    def build(self, input_shape):
        self.slow.build(input_shape)
        self.fast.build(input_shape)
        row = get_variant(self.variant)
        fast_channels = (row.fast.stem_channels[-1], *row.fast.stage_channels)
        slow_channels = (row.slow.stem_channels[-1], *row.slow.stage_channels)
        for fusion, slow, fast in zip(self.fusions, slow_channels, fast_channels, strict=False):
            fusion.build((None, None, None, slow), (None, None, None, fast))

    def feature_maps(self, log_mel, training=None, residual_masks=None):
        """Both final feature maps, before pooling.

        Args:
            log_mel: `[batch, time, freq, 1]`, float.
            training: as in the call.
            residual_masks: as in the call.

        Returns:
            `(fast, slow)`: `[batch, ceil(time / 4), ceil(freq / 32), fast features]` and
            `[batch, ceil(time / 16), ceil(freq / 32), slow features]`, in the compute dtype.
        """
        check_residual_masks(residual_masks, self.residual_mask_rows)
        slow_masks = fast_masks = None
        if residual_masks is not None:
            slow_rows = len(self.slow.dropped_blocks)
            slow_masks, fast_masks = residual_masks[:slow_rows], residual_masks[slow_rows:]

        slow = self.slow.stem(self.data_layer(log_mel), training=training)
        fast = self.fast.stem(log_mel, training=training)
        for stage, fusion in enumerate(self.fusions):
            slow = fusion(slow, fast, training=training)
            fast = self.fast.stage(stage, fast, training=training, residual_masks=fast_masks)
            slow = self.slow.stage(stage, slow, training=training, residual_masks=slow_masks)
        return self.fast.head(fast, training=training), self.slow.head(slow, training=training)

    def call(self, log_mel, training=None, residual_masks=None):
        maps = self.feature_maps(log_mel, training=training, residual_masks=residual_masks)
        return pooled_embedding(maps, self.variable_dtype)

    def embedding_and_frames(self, log_mel, training=None):
        """The embedding, and its features before they are pooled over time.

        Returns:
            `[batch, embedding_size]` and `[batch, ceil(time / 4), embedding_size]`: means over
            frequency, the slow features held for the four steps that they stand for.
        """
        maps = self.feature_maps(log_mel, training=training)
        return pooled_embedding(maps, self.variable_dtype), frame_features(
            maps, self.variable_dtype
        )

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.embedding_size)

    def compute_output_spec(self, log_mel, **_):
        return keras.KerasTensor((log_mel.shape[0], self.embedding_size), self.variable_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "variant": self.variant,
            "gradient_checkpointing": self.gradient_checkpointing,
        }


def create(name, dtype=None, *, variant, gradient_checkpointing=False):
    """Factory of the registry: the network behind the log-mel frontend of the paper."""
    network = SlowFastNFNet(variant, gradient_checkpointing, dtype=dtype, name="network")
    return log_mel_encoder(name, network, dtype)
