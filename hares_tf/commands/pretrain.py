"""The command `hares-pretrain`: trains an encoder on prepared clips."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hares_tf.commands import flags
from hares_tf.commands.declaration import SWITCH, Flag, equals
from hares_tf.commands.program import Command
from hares_tf.pretrain.config_names import list_configs
from hares_tf.pretrain.errors import PretrainError
from hares_tf.pretrain.strategy import STRATEGIES
from hares_tf.utils.keras import require_tensorflow_backend
from hares_tf.utils.tensorflow import import_tensorflow
from hares_tf.utils.user_code import import_user_code

DESCRIPTION = """
trains an encoder on prepared clips, with or without labels.

    # a folder of recordings, on this machine's CPU or GPU
    hares-prepare --audio=recordings --output=clips
    hares-pretrain --config=small_simclr --data=clips --workdir=runs/first
    hares-export --checkpoint=runs/first --output=exports/first

    # the paper's run: AudioSet, 4096 clips a step, on a TPU
    hares-pretrain --config=slowfast_nfnet_f0_simclr --data=gs://bucket/audioset \\
        --workdir=runs/f0 --strategy=tpu

    # what a run would take: parameters, memory and operations of a step
    hares-pretrain --config=slowfast_nfnet_f0_simclr --data=clips --workdir=runs/f0 --dry_run

    # other settings than those of the configuration
    hares-pretrain --config=small_simclr --config.batch=128 --config.crops.seconds=1 ...

A run that was stopped, by Ctrl-C, a preempted machine or a crash, continues from its last
checkpoint when the same command is given again. What a step reads and draws is a function of the
seed and the step's number alone, so a resumed run equals an uninterrupted one; with --exact_resume
bit for bit.
"""

# Changes of the configuration are not flags: the configuration decides which there are. They are
# set by `load_config`, which checks names and types in sentences; ml_collections.config_flags runs
# the configuration's file while flags are parsed, and shows whatever goes wrong as a traceback.
_OVERRIDE = "--config."

FLAGS = {
    "Run": (
        Flag(
            "config",
            f"One of {', '.join(list_configs())}, or a Python file with a function get_config(). "
            "--config.KEY=VALUE changes one of its values.",
            required=True,
        ),
        Flag(
            "data",
            "A folder that hares-prepare wrote, or a folder of recordings, which is then prepared "
            "into the cache.",
            required=True,
        ),
        Flag("workdir", "The run's folder.", required=True),
        flags.PLUGIN,
        Flag(
            "labels",
            'Labels of a folder of recordings: "subfolder", or a CSV file with the columns file '
            "and label.",
        ),
        Flag("dry_run", "Build everything, print what it takes, train nothing.", False, SWITCH),
        Flag(
            "probe_data_dir",
            "The folder with the data of the tasks in the configuration's probe.tasks.",
        ),
        flags.PROGRESS,
    ),
    "Devices": (
        flags.choice(
            "strategy",
            "default",
            STRATEGIES,
            "One device, all GPUs of this machine, several machines (TF_CONFIG), or a TPU.",
        ),
        Flag("tpu", "Name or address of the TPU.", goes_with=(equals("strategy", "tpu"),)),
        Flag(
            "exact_resume",
            "Compute in a fixed order, so that a resumed run equals an uninterrupted one bit for "
            "bit on this machine's CPU. Slower where a model has many small operations.",
            False,
            SWITCH,
        ),
    ),
}


def _run(values: Any, overrides: Sequence[str]) -> int:
    from hares_tf.pretrain.config import load_config

    for plugin in values.plugin:
        import_user_code(plugin, f"--plugin={plugin}")
    config = load_config(values.config, overrides)
    tf = import_tensorflow()
    require_tensorflow_backend("Pretraining")

    from hares_tf.data.folder_cache import prepared
    from hares_tf.pretrain.learner import make_objective
    from hares_tf.pretrain.numerics import fix_threads
    from hares_tf.pretrain.strategy import make_strategy
    from hares_tf.pretrain.trainer import pretrain

    if values.labels and not make_objective(config).needs_labels:
        raise PretrainError(f"{config.objective.name} takes no --labels.")
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


def _probe(config, values: Any):
    """Returns the evaluation of the encoder while it trains; None if none is configured."""
    if not config.probe.every or not config.probe.tasks:
        return None
    from hares_tf.pretrain.probe import Probe

    return Probe(
        list(config.probe.tasks),
        protocol=config.probe.protocol,
        data_dir=values.probe_data_dir,
        output=Path(values.workdir) / "probe",
    )


COMMAND = Command("hares-pretrain", DESCRIPTION, FLAGS, lambda values: _run(values, ()))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    overrides = [a.removeprefix(_OVERRIDE) for a in argv if a.startswith(_OVERRIDE)]
    rest = [a for a in argv if not a.startswith(_OVERRIDE)]
    return replace(COMMAND, run=lambda values: _run(values, overrides)).main(rest)


if __name__ == "__main__":
    sys.exit(main())
