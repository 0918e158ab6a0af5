"""SimCLR on one GPU, for collections of thousands to some hundred thousand clips.

Not of the paper. Short clips are common in such collections, so a view is at most half a second and
60% of its clip; two views of a short clip would be the same otherwise. Where all clips are long,
--config.crops.seconds=3 is the paper's choice. Gradient caching makes the batch independent
of the memory: a chunk is what has to fit. With fewer negatives than the paper's 8190 a higher
temperature loses less.
"""

from hares_tf.pretrain import defaults


def get_config():
    """Slowfast NFNet-F0, 512 clips a step, 50,000 steps."""
    config = defaults.simclr()
    config.objective.temperature = 0.2
    config.crops.update({"seconds": 0.5, "fraction": 0.6})
    config.batch = 512
    config.chunk = 256
    config.steps = 50_000
    config.warmup_steps = 2_500
    config.steps_per_call = 20
    return config
