"""Minutes on two CPU cores: shows that everything works, and that it learns something."""

from hares_tf.pretrain import defaults


def get_config():
    """SimCLR with the scaled-down network on short crops."""
    config = defaults.simclr()
    config.model.name = "slowfast_nfnet_tiny"
    config.objective.update({"hidden": 256, "layers": 1, "size": 64})
    config.crops.update({"seconds": 0.5, "fraction": 0.6})
    config.batch = 32
    config.steps = 300
    config.learning_rate = 1e-3
    config.warmup_steps = 30
    config.precision = "float32"
    config.block_clips = 1
    config.steps_per_call = 10
    config.log_every = 20
    config.checkpoint_every = 100
    return config
