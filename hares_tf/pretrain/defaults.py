"""The paper's pretraining settings, of which every configuration is a variation.

Sources: paper, Section 3 (batch, steps, crops, optimizer, projector) and Appendix C (schedule,
temperature, mixing, standardization). What the paper leaves open is marked "ours".
"""

from ml_collections import ConfigDict

#: One of objectives.domains.DOMAINS: log_mel, mel, waveform, none.
MIXING = "log_mel"


def simclr() -> ConfigDict:
    """SimCLR as the paper trains it: 4096 clips, 200,000 steps."""
    config = _common()
    config.objective = ConfigDict(
        {
            "name": "simclr",
            "temperature": 0.1,
            # "a MLP with 3 hidden layers of size 4096"; the size of its output is ours.
            "hidden": 4096,
            "layers": 3,
            "size": 128,
            "mixing": MIXING,
        }
    )
    # SimCLR's loss is bounded: at temperature 0.1 it cannot reach ten times its first value.
    config.explosion = 2.0
    config.batch = 4096
    config.steps = 200_000
    return config


def classification() -> ConfigDict:
    """Classification as the paper trains it: 1024 clips, 100,000 steps."""
    config = _common()
    config.objective = ConfigDict({"name": "classification", "mixing": MIXING})
    config.batch = 1024
    config.steps = 100_000
    return config


def _common() -> ConfigDict:
    return ConfigDict(
        {
            "model": {
                "name": "slowfast_nfnet_f0",
                # Keep only the inputs of blocks and compute the rest again in the backward pass.
                "gradient_checkpointing": False,
            },
            "crops": {
                "seconds": 3.0,
                # A view is at most this share of its clip; below 1, two views of a clip that is
                # shorter than a crop differ.
                "fraction": 1.0,
                # How a view that is shorter than a crop is filled: "zeros" or "repeat".
                "pad": "zeros",
            },
            # Neighboring clips of a shard that are read in one piece. 1 is a perfect shuffle, for
            # small data on a local disk.
            "block_clips": 16,
            "learning_rate": 2e-4,
            "warmup_steps": 5_000,
            # After the warm-up: "cosine" (to 0 at the last step) or "constant".
            "decay": "cosine",
            # Any optimizer of Keras by its name in lower case, and its arguments. Ours: the moments
            # and epsilon that the authors of Adam propose.
            "optimizer": {"name": "adam", "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8},
            "precision": "mixed_bfloat16",
            # Views per chunk of gradient caching on each replica; 0: no caching.
            "chunk": 0,
            "jit_compile": False,
            "seed": 0,
            # Steps that run without coming back to Python.
            "steps_per_call": 100,
            "log_every": 100,
            "checkpoint_every": 1_000,
            "keep": 3,
            # Stop when the loss is this many times its first value. Ours.
            "explosion": 10.0,
            # HARES tasks (names or files) that are scored while training; every 0 steps: never.
            "probe": {"tasks": (), "every": 0, "protocol": "fast"},
        }
    )
