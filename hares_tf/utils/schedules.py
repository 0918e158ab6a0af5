"""The learning-rate schedule of pretraining and fine-tuning."""

import keras

# Share of the peak that is left at the last step.
_LEFT = {"cosine": 0.0, "constant": 1.0}


def warmup_schedule(
    peak: float, warmup_steps: int, steps: int, decay: str = "cosine"
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up from 0 to the peak, then a cosine to 0 at the last step (paper, Appendix C).

    Args:
        peak: the learning rate at the end of the warm-up.
        warmup_steps: number of steps that rise to it; the rate of step 0 is 0.
        steps: number of all steps.
        decay: "cosine", or "constant" to stay at the peak.
    """
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        warmup_target=peak,
        warmup_steps=warmup_steps,
        decay_steps=steps - warmup_steps,
        alpha=_LEFT[decay],
    )
