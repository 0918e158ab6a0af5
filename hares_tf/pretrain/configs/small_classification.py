"""Classification on one GPU, for collections of thousands to some hundred thousand labeled clips.

Not from the paper: a smaller batch and fewer steps; labeled collections are overfitted
sooner than AudioSet.
"""

from hares_tf.pretrain import defaults


def get_config():
    """Slowfast NFNet-F0, 256 clips a step, 20,000 steps."""
    config = defaults.classification()
    config.batch = 256
    config.chunk = 128
    config.steps = 20_000
    config.warmup_steps = 1_000
    config.steps_per_call = 20
    return config
