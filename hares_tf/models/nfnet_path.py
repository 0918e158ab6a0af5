"""A path of a Slowfast NFNet: stem, blocks, final convolution."""

import contextlib

import keras
import numpy as np

from hares_tf.layers import ALPHA, GELU_GAMMA, NFBlock, ScaledWSConv2D, gelu_tanh
from hares_tf.models.errors import ModelError
from hares_tf.models.nfnet_variants import STEM_STRIDES, block_settings, get_variant


@keras.saving.register_keras_serializable(package="hares_tf")
class NFNetPath(keras.layers.Layer):
    """Spectrogram to feature map along one path; calling it runs the path on its own.

    A two-path network calls `stem`, `stage` and `head` itself, to feed the fusions in between.

    Args:
        variant: name of a row of `hares_tf.models.nfnet_variants.VARIANTS`.
        path: `"slow"` or `"fast"`.
        fused: whether the stages receive the variant's fusion channels beside their own.
        gradient_checkpointing: as in `NFBlock`, for every block.
        **kwargs: of `keras.layers.Layer`.

    Input `[batch, time, freq, channel]`, output
    `[batch, ceil(time / 4), ceil(freq / 32), features]`.

    Raises:
        ModelError: if there is no such variant or path.
    """

    def __init__(self, variant, path, fused=False, gradient_checkpointing=False, **kwargs):
        super().__init__(**kwargs)
        if path not in ("slow", "fast"):
            raise ModelError(f"A Slowfast NFNet has no path {path!r}; choose 'slow' or 'fast'.")
        self.variant = variant
        self.path_name = path
        self.fused = fused
        self.gradient_checkpointing = gradient_checkpointing
        row = get_variant(variant)
        widths = getattr(row, path)
        self.fusion_channels = row.fusion_channels if fused else (0,) * len(row.depths)

        self.stem_convs = [
            ScaledWSConv2D(
                channels,
                kernel,
                strides,
                # The first convolution sees the spectrogram, the others follow an activation.
                input_scale=1.0 if index == 0 else GELU_GAMMA,
                name=f"stem_conv{index}",
                dtype=self.dtype_policy,
            )
            for index, (channels, kernel, strides) in enumerate(
                zip(widths.stem_channels, widths.stem_kernels, STEM_STRIDES, strict=True)
            )
        ]
        self.settings = block_settings(row.depths, ALPHA)
        self.blocks = [
            NFBlock(
                widths.stage_channels[block.stage],
                widths.kernel_times[block.stage],
                block.strides,
                widths.group_size,
                block.beta,
                block.drop_rate,
                gradient_checkpointing,
                name=f"block{index}",
                dtype=self.dtype_policy,
            )
            for index, block in enumerate(self.settings)
        ]
        self.final_conv = ScaledWSConv2D(
            widths.features, (1, 1), name="final_conv", dtype=self.dtype_policy
        )

    @property
    def dropped_blocks(self):
        """Indices of the blocks that have stochastic depth, in order."""
        return [i for i, block in enumerate(self.settings) if block.drop_rate > 0.0]

    @property
    def drop_rates(self):
        """Rates of stochastic depth of `dropped_blocks`."""
        return [self.settings[i].drop_rate for i in self.dropped_blocks]

    def build(self, input_shape):
        shape = input_shape
        for conv in self.stem_convs:
            conv.build(shape)
            shape = conv.compute_output_shape(shape)
        stage = None
        for settings, block in zip(self.settings, self.blocks, strict=True):
            if settings.stage != stage:
                stage = settings.stage
                shape = (*shape[:-1], shape[-1] + self.fusion_channels[stage])
            block.build(shape)
            shape = block.compute_output_shape(shape)
        self.final_conv.build(shape)

    def stem(self, x, training=None):
        """`[batch, time, freq, channel]` -> `[batch, ceil(time / 4), ceil(freq / 4), stem]`."""
        for index, conv in enumerate(self.stem_convs):
            x = conv(x if index == 0 else gelu_tanh(x), training=training)
        return x

    def stage(self, stage, x, training=None, residual_masks=None):
        """The blocks of one stage.

        Args:
            stage: index of the stage.
            x: `[batch, time, freq, channel]`, fusion channels included.
            training: whether to draw stochastic depth.
            residual_masks: `[rows, batch]` of 0 and 1, one row per entry of `dropped_blocks`.

        Returns:
            `[batch, time, ceil(freq / stride), filters]`.
        """
        for index, block in enumerate(self.blocks):
            if self.settings[index].stage != stage:
                continue
            keep = None
            if residual_masks is not None and index in self.dropped_blocks:
                keep = residual_masks[self.dropped_blocks.index(index)]
            x = block(x, training=training, keep=keep)
        return x

    def head(self, x, training=None):
        """Final convolution and plain gelu: `[..., channel]` -> `[..., features]`."""
        # The final convolution sees the blocks' output as it is, without an activation.
        return gelu_tanh(self.final_conv(x, training=training))

    def call(self, x, training=None, residual_masks=None):
        x = self.stem(x, training=training)
        for stage in range(len(self.fusion_channels)):
            x = self.stage(stage, x, training=training, residual_masks=residual_masks)
        return self.head(x, training=training)

    def get_config(self):
        return {
            **super().get_config(),
            "variant": self.variant,
            "path": self.path_name,
            "fused": self.fused,
            "gradient_checkpointing": self.gradient_checkpointing,
        }


@contextlib.contextmanager
def skip_gains_at_one(network):
    """All skip gains of a network are 1 within the context; yields their variables.

    A new network has skip gains of 0, which would hide mistakes in its residual branches.
    """
    gains = [v for v in network.trainable_variables if v.name == "skip_gain"]
    before = [np.asarray(gain) for gain in gains]
    try:
        for gain in gains:
            gain.assign(np.ones(gain.shape))
        yield gains
    finally:
        for gain, value in zip(gains, before, strict=True):
            gain.assign(value)


def check_residual_masks(residual_masks, rows):
    """Refuses masks whose number of rows is not the number of blocks with stochastic depth.

    Args:
        residual_masks: `[rows, batch]` of 0 and 1, or None.
        rows: names of the expected rows.

    Raises:
        ModelError: if the number of rows differs.
    """
    # Inside a tf.function the number may be unknown, that is None.
    if residual_masks is not None and residual_masks.shape[0] not in (None, len(rows)):
        raise ModelError(
            f"residual_masks has {residual_masks.shape[0]} rows; this network needs {len(rows)}, "
            f"one per block with stochastic depth, in the order {', '.join(rows)}."
        )
