"""SimCLR on thousands of short recordings, on a few CPU cores: benchmarks/recordings.py.

Not of the paper: a small network on crops of half a second, for clips of which most last a second.
With 128 clips a step instead of 4096 there are few negatives; a larger learning rate makes up for
the few steps that a CPU can do.
"""

from hares_tf.pretrain import defaults


def get_config():
    """The small network, 128 clips a step: about 40 minutes on two cores."""
    config = defaults.simclr()
    config.model.name = "slowfast_nfnet_small"
    config.objective.update({"hidden": 512, "layers": 1, "size": 128})
    config.crops.update({"seconds": 0.5, "fraction": 0.6})
    config.batch = 128
    config.steps = 4_500
    config.learning_rate = 1e-3
    config.warmup_steps = 200
    config.precision = "float32"
    config.block_clips = 1
    config.steps_per_call = 20
    config.log_every = 100
    config.checkpoint_every = 500
    return config
