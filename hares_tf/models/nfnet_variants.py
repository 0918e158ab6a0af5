"""The widths, depths and kernels of every (Slowfast) NFNet variant, as data.

The row `f0` is the network of the official JAX code, `SlowFastNFNet` variant F0 (62,970,654
parameters, 3456 features). Where that code and Table 5 of the paper differ, the code decides: the
published parameter count only comes out with it.
"""

from dataclasses import dataclass

from hares_tf.models.errors import ModelError

#: Strides `(time, freq)` of the four stem convolutions; both paths, every variant.
STEM_STRIDES = ((2, 2), (1, 1), (1, 1), (2, 2))

#: Strides `(time, freq)` of the first block of each stage. After the stem only frequency shrinks.
STAGE_STRIDES = ((1, 1), (1, 2), (1, 2), (1, 2))

#: The slow path sees one frame in four (paper, Table 5: data layer "stride 4, 1").
SLOW_TIME_STRIDE = 4

#: Drop rate that stochastic depth approaches linearly towards the last block (paper, appendix).
STOCHASTIC_DEPTH_RATE = 0.1


@dataclass(frozen=True)
class PathVariant:
    """One path, from spectrogram to feature map.

    Attributes:
        stem_channels: channels of the four stem convolutions.
        stem_kernels: their kernel sizes `(time, freq)`.
        stage_channels: output channels of the four stages; the final convolution doubles the last.
        kernel_times: length along time of `conv1` in the blocks of each stage.
        group_size: channels per group of the grouped convolutions.
    """

    stem_channels: tuple
    stem_kernels: tuple
    stage_channels: tuple
    kernel_times: tuple
    group_size: int

    @property
    def features(self):
        """Channels of the feature map that is pooled into the embedding."""
        return 2 * self.stage_channels[-1]


@dataclass(frozen=True)
class SlowFastVariant:
    """A two-path network.

    Attributes:
        depths: blocks per stage, the same in both paths.
        slow: the path at a quarter of the frame rate, with most of the channels.
        fast: the path at the full frame rate.
        fusion_channels: channels that each fusion (one before every stage) appends to the slow
            path.
    """

    depths: tuple
    slow: PathVariant
    fast: PathVariant
    fusion_channels: tuple


VARIANTS = {
    "f0": SlowFastVariant(
        depths=(1, 2, 6, 3),
        slow=PathVariant(
            stem_channels=(16, 32, 64, 128),
            stem_kernels=((1, 3), (1, 3), (1, 3), (3, 3)),
            stage_channels=(256, 512, 1536, 1536),
            kernel_times=(1, 1, 3, 3),
            group_size=128,
        ),
        fast=PathVariant(
            stem_channels=(2, 4, 8, 16),
            stem_kernels=((3, 3), (1, 3), (1, 3), (3, 3)),
            stage_channels=(32, 64, 192, 192),
            kernel_times=(3, 3, 3, 3),
            group_size=16,
        ),
        fusion_channels=(64, 256, 512, 1024),
    ),
    # Not of the paper: what a few CPU cores can pretrain within an hour on short recordings.
    "small": SlowFastVariant(
        depths=(1, 1, 2, 1),
        slow=PathVariant(
            stem_channels=(4, 8, 8, 16),
            stem_kernels=((1, 3), (1, 3), (1, 3), (3, 3)),
            stage_channels=(64, 128, 384, 384),
            kernel_times=(1, 1, 3, 3),
            group_size=32,
        ),
        fast=PathVariant(
            stem_channels=(2, 4, 4, 8),
            stem_kernels=((3, 3), (1, 3), (1, 3), (3, 3)),
            stage_channels=(16, 32, 64, 64),
            kernel_times=(3, 3, 3, 3),
            group_size=8,
        ),
        fusion_channels=(16, 32, 64, 128),
    ),
    # Not of the paper: the same code in seconds instead of minutes, for tests and demonstrations.
    "tiny": SlowFastVariant(
        depths=(1, 1, 2, 1),
        slow=PathVariant(
            stem_channels=(4, 8, 8, 16),
            stem_kernels=((1, 3), (1, 3), (1, 3), (3, 3)),
            stage_channels=(32, 64, 128, 128),
            kernel_times=(1, 1, 3, 3),
            group_size=16,
        ),
        fast=PathVariant(
            stem_channels=(2, 4, 4, 8),
            stem_kernels=((3, 3), (1, 3), (1, 3), (3, 3)),
            stage_channels=(8, 16, 24, 24),
            kernel_times=(3, 3, 3, 3),
            group_size=4,
        ),
        fusion_channels=(8, 16, 32, 32),
    ),
}


def get_variant(name):
    """The row of `VARIANTS` called `name`.

    Raises:
        ModelError: if there is none; the message lists the names.
    """
    if name not in VARIANTS:
        names = ", ".join(sorted(VARIANTS))
        raise ModelError(f"There is no Slowfast NFNet variant {name!r}; choose one of {names}.")
    return VARIANTS[name]


@dataclass(frozen=True)
class BlockSettings:
    """The settings that the position of a block in the network decides.

    Attributes:
        stage: index of its stage.
        strides: `(time, freq)`.
        beta: reciprocal of the standard deviation its input is expected to have.
        drop_rate: rate of stochastic depth.
    """

    stage: int
    strides: tuple
    beta: float
    drop_rate: float


def block_settings(depths, alpha):
    """Settings of all blocks of a path, in order.

    Every block adds a branch of variance `alpha^2`, which grows the expected variance; a projection
    shortcut (first block of a stage) resets it to 1, but only for the blocks after it, because it
    is the activated, already divided input that it projects (official JAX code). The drop rate
    grows linearly from 0: `STOCHASTIC_DEPTH_RATE * block / blocks`.

    Args:
        depths: blocks per stage.
        alpha: weight of the residual branch.

    Returns:
        List of `BlockSettings`.
    """
    settings = []
    expected_variance = 1.0
    for stage, depth in enumerate(depths):
        for position in range(depth):
            first = position == 0
            settings.append(
                BlockSettings(
                    stage=stage,
                    strides=STAGE_STRIDES[stage] if first else (1, 1),
                    beta=expected_variance**-0.5,
                    drop_rate=STOCHASTIC_DEPTH_RATE * len(settings) / sum(depths),
                )
            )
            expected_variance = (1.0 if first else expected_variance) + alpha**2
    return settings
