"""The flags that say how a module is called, shared by the commands that load one."""

from absl import flags

from hares_tf.evaluation.encoders.interface import NORMALIZATIONS, POOLS, Interface


def define(values: flags.FlagValues) -> None:
    """Adds the flags to a command's."""
    flags.DEFINE_integer(
        "sample_rate",
        None,
        "Sample rate in hertz that the module expects, if neither its card nor a preset says so.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "entry_point",
        None,
        "What to call: __call__, a function's or a signature's name. Default: probed.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "output_key",
        None,
        "Which output holds the embedding: a name, or a position. Default: embedding, or the only "
        "one.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "window_samples",
        None,
        "The one length that the module takes; longer windows are tiled with it. Default: probed.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "pool", None, list(POOLS), "How a time axis is pooled. Default: mean.", flag_values=values
    )
    flags.DEFINE_integer(
        "input_rank",
        None,
        "1: one waveform at a time, 2: [batch, samples], 3: [batch, samples, 1]. Default: probed.",
        lower_bound=1,
        upper_bound=3,
        flag_values=values,
    )
    flags.DEFINE_enum(
        "normalise",
        None,
        list(NORMALIZATIONS),
        "What is done to each waveform first: zero mean and unit deviation, or a peak of 0.25. "
        "Default: none.",
        flag_values=values,
    )


def read(values: flags.FlagValues) -> Interface:
    """What the flags say; None for what they leave open."""
    return Interface(
        sample_rate=values.sample_rate,
        entry_point=values.entry_point,
        output_key=values.output_key,
        window_samples=values.window_samples,
        pool=values.pool,
        input_rank=values.input_rank,
        normalize=values.normalise,
    )
