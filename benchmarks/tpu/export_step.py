"""Writes the training step of one core as StableHLO: the first half of `make tpu-check`.

    python benchmarks/tpu/export_step.py --config=slowfast_nfnet_f0_simclr --clips=128 \
        --replicas=8 --output=step.mlir [--config.KEY=VALUE ...]

Runs in the project's own environment and needs no TPU. The program is a core's: the crops of its
clips come in, the parameters are updated from the gradients of all cores. Exit code 1: the step is
refused.
"""

import argparse
import math
import sys
import time
from pathlib import Path

from hares_tf.utils.errors import HaresError
from hares_tf.utils.tensorflow import import_tensorflow


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True)
    parser.add_argument("--clips", type=int, required=True, help="clips per core")
    parser.add_argument("--replicas", type=int, default=8)
    parser.add_argument("--classes", type=int, default=527, help="labels (AudioSet: 527)")
    parser.add_argument("--output", type=Path, required=True)
    arguments, rest = parser.parse_known_args()
    if unknown := [argument for argument in rest if not argument.startswith("--config.")]:
        parser.error(f"unknown: {unknown[0]}")

    import_tensorflow()
    from hares_tf.pretrain.config import load_config
    from hares_tf.pretrain.learner import create_learner
    from hares_tf.pretrain.lowering import step_stablehlo

    started = time.monotonic()
    try:
        overrides = [argument.removeprefix("--config.") for argument in rest]
        config = load_config(arguments.config, overrides)
        learner = create_learner(config, arguments.classes)
        text = step_stablehlo(learner, config, arguments.clips, arguments.replicas)
    except HaresError as error:
        print(f"refused: {error}")
        return 1
    arguments.output.write_text(text, encoding="utf-8")
    parameters = sum(math.prod(variable.shape) for variable in learner.trainable_variables)
    crops = learner.objective.crops
    print(
        f"{config.model.name}, {config.objective.name}, {config.precision}, crops of "
        f"{config.crops.seconds:g} s, chunk {config.chunk}, gradient_checkpointing "
        f"{config.model.gradient_checkpointing}\n"
        f"  {arguments.clips:,} clips x {crops} crops a core, {arguments.replicas} cores, "
        f"{parameters:,} parameters with the head\n"
        f"  lowered by TensorFlow in {time.monotonic() - started:.0f} s, "
        f"{len(text) / 1e6:.1f} MB of StableHLO"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
