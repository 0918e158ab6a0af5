"""Classification of thousands of short recordings on a few CPU cores: benchmarks/recordings.py."""

from hares_tf.pretrain import defaults


def get_config():
    """The small network, 128 clips a step: less than 40 minutes on two cores."""
    config = defaults.classification()
    config.model.name = "slowfast_nfnet_small"
    config.crops.update({"seconds": 1.0})
    config.batch = 128
    config.steps = 3_000
    config.learning_rate = 1e-3
    config.warmup_steps = 200
    config.precision = "float32"
    config.block_clips = 1
    config.steps_per_call = 20
    config.log_every = 100
    config.checkpoint_every = 500
    return config
