"""Pretraining objectives, written with `keras.ops` for every Keras backend.

Attributes load on first use, so that listing the objectives loads no Keras.
"""

from hares_tf.utils.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Classification": "classification",
        "Forward": "objective",
        "Gather": "objective",
        "Inputs": "objective",
        "Losses": "objective",
        "MixingObjective": "mixing",
        "Objective": "objective",
        "ObjectiveError": "errors",
        "SimCLR": "simclr",
        "beta_5_2": "mixing",
        "create_objective": "registry",
        "list_objectives": "registry",
        "mix": "mixing",
        "register": "registry",
    },
)
