"""The command `hares-pretrain`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from hares_tf.commands import program as command
from hares_tf.pretrain.errors import PretrainError
from hares_tf.pretrain.strategy import STRATEGIES
from hares_tf.utils.quiet import quiet_import

NAME = "hares-pretrain"
DESCRIPTION = """
trains an encoder on prepared clips, with or without labels.

    # a folder of recordings, on this machine's CPU or GPU
    hares-prepare --audio=recordings --output=clips
    hares-pretrain --config=small_simclr --data=clips --workdir=runs/first
    hares-export --checkpoint=runs/first --output=exports/first

    # the paper's run: AudioSet, 4096 clips a step, on a TPU
    hares-pretrain --config=slowfast_nfnet_f0_simclr --data=gs://bucket/audioset \\
        --workdir=runs/f0 --strategy=tpu

    # what it would take: parameters, memory and operations of a step
    hares-pretrain --config=slowfast_nfnet_f0_simclr --data=clips --workdir=runs/f0 --dry_run

    # other settings than those of the configuration
    hares-pretrain --config=small_simclr --config.batch=128 --config.crops.seconds=1 ...

A run that was stopped, by Ctrl-C, a preempted machine or a crash, goes on from its last checkpoint
when the same command is given again. What a step reads and draws follows from the seed and the
step's number alone, so it goes on as if nothing had happened; with --exact_resume to the last bit.
"""

_OVERRIDE = "--config."


def define_flags() -> flags.FlagValues:
    """The flags of the command."""
    from hares_tf.pretrain.config_names import list_configs

    values = flags.FlagValues()
    flags.DEFINE_string(
        "config",
        None,
        f"One of {', '.join(list_configs())}, or a Python file with a function get_config(). "
        "--config.KEY=VALUE changes one of its values.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "data",
        None,
        "A folder that hares-prepare wrote, or a folder of recordings, which is then prepared "
        "into the cache.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "labels",
        None,
        'Labels of a folder of recordings: "subfolder", or a CSV file with the columns file and '
        "label.",
        flag_values=values,
    )
    flags.DEFINE_string("workdir", None, "The run's folder.", flag_values=values)
    flags.DEFINE_enum(
        "strategy",
        "default",
        STRATEGIES,
        "One device, all GPUs of this machine, several machines (TF_CONFIG), or a TPU.",
        flag_values=values,
    )
    flags.DEFINE_string("tpu", None, "Name or address of the TPU.", flag_values=values)
    flags.DEFINE_bool(
        "exact_resume",
        False,
        "Compute in an order that does not vary, so that a resumed run equals an uninterrupted one "
        "bit for bit on this machine's CPU. Slower where a model has many small operations.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "dry_run",
        False,
        "Build everything, print what it takes, train nothing.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "probe_data_dir",
        None,
        "The folder with the data of the tasks in the configuration's probe.tasks.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "progress", "bar", ("bar", "json", "none"), "How progress is told.", flag_values=values
    )
    return values


def _main(values: flags.FlagValues, overrides: Sequence[str]) -> int:
    from hares_tf.pretrain.config import load_config

    if not values.config:
        raise PretrainError("name the configuration with --config (see --help)")
    config = load_config(values.config, overrides)
    for name in ("data", "workdir"):
        if not values[name].value:
            raise PretrainError(f"give --{name}")

    with quiet_import():
        import keras
        import tensorflow as tf

        from hares_tf.data.folder_cache import prepared
        from hares_tf.pretrain.learner import make_objective
        from hares_tf.pretrain.numerics import fix_threads
        from hares_tf.pretrain.strategy import make_strategy
        from hares_tf.pretrain.trainer import pretrain

    if keras.backend.backend() != "tensorflow":
        raise PretrainError(
            f"training is TensorFlow's; KERAS_BACKEND is {keras.backend.backend()!r}: unset it"
        )
    if values.labels and not make_objective(config).needs_labels:
        raise PretrainError(f"{config.objective.name} takes no --labels")
    if values.exact_resume:
        fix_threads()
    for device in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(device, True)
    strategy = make_strategy(values.strategy, values.tpu)
    data = prepared(values.data, labels=values.labels, progress=values.progress)
    if values.dry_run:
        from hares_tf.pretrain.dry_run import dry_run

        for line in dry_run(config, data, strategy):
            print(line)
        return 0
    status = pretrain(
        config,
        data,
        values.workdir,
        strategy=strategy,
        exact_resume=values.exact_resume,
        probe=_probe(config, values),
        progress=values.progress,
    )
    if status == 0:
        print(f"{values.workdir}: {config.steps:,} steps of {config.model.name} are done")
        print(f"next: hares-export --checkpoint={values.workdir} --output=DIR")
    return status


def _probe(config, values: flags.FlagValues):
    """What scores the encoder while it is trained; None if the configuration wants nothing."""
    if not config.probe.every or not config.probe.tasks:
        return None
    from hares_tf.pretrain.probe import Probe

    return Probe(
        list(config.probe.tasks),
        protocol=config.probe.protocol,
        data_dir=values.probe_data_dir,
        output=Path(values.workdir) / "probe",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; gives its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    # Changes of the configuration are no flags: which there are depends on the configuration.
    overrides = [a.removeprefix(_OVERRIDE) for a in argv if a.startswith(_OVERRIDE)]
    rest = [a for a in argv if not a.startswith(_OVERRIDE)]
    return command.run(
        NAME, DESCRIPTION, define_flags(), lambda values: _main(values, overrides), rest
    )


if __name__ == "__main__":
    sys.exit(main())
