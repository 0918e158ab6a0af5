"""A network of the same construction in milliseconds, for tests of everything around it.

Also a configuration file: `hares-pretrain --config=tests/micro.py`.
"""

from hares_tf.models import EncoderSpec, register
from hares_tf.models.nfnet_variants import VARIANTS, PathVariant, SlowFastVariant

NAME = "slowfast_nfnet_micro"
FEATURES = 24
#: Variables that are trained.
PARAMETERS = 116

VARIANTS["micro"] = SlowFastVariant(
    depths=(1, 1),
    slow=PathVariant(
        stem_channels=(2, 2, 2, 4),
        stem_kernels=((1, 3), (1, 3), (1, 3), (3, 3)),
        stage_channels=(8, 8),
        kernel_times=(1, 3),
        group_size=2,
    ),
    fast=PathVariant(
        stem_channels=(2, 2, 2, 2),
        stem_kernels=((3, 3), (1, 3), (1, 3), (3, 3)),
        stage_channels=(4, 4),
        kernel_times=(3, 3),
        group_size=2,
    ),
    fusion_channels=(2, 2),
)
register(
    EncoderSpec(
        name=NAME,
        factory="hares_tf.models.slowfast_nfnet:create",
        arguments={"variant": "micro"},
        description="For tests.",
    )
)


def get_config():
    """SimCLR on crops of a tenth of a second, every step recorded."""
    from hares_tf.pretrain import defaults

    config = defaults.simclr()
    config.model.name = NAME
    config.objective.update({"hidden": 16, "layers": 1, "size": 8})
    config.crops.update({"seconds": 0.1, "fraction": 0.6})
    config.batch = 8
    config.steps = 12
    config.warmup_steps = 3
    config.learning_rate = 1e-2
    config.precision = "float32"
    config.block_clips = 2
    config.steps_per_call = 2
    config.log_every = 1
    config.checkpoint_every = 4
    return config


def classification():
    """The same for classification."""
    from hares_tf.pretrain import defaults

    config = get_config()
    config.objective = defaults.classification().objective
    return config


def awake_learner(config, classes=0):
    """A learner whose residual branches take part: new ones have a gain of 0."""
    from hares_tf.pretrain.learner import create_learner

    learner = create_learner(config, classes)
    with learner.encoder.awake() as gains:
        pass
    for gain in gains:
        gain.assign(1.0)
    return learner
