"""The command `hares-export` (also `python export_hub.py`)."""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from hares_tf import command
from hares_tf.files import sha256_file
from hares_tf.hub.errors import HubError
from hares_tf.models.registry import get_spec, list_models
from hares_tf.quiet import quiet_import

NAME = "hares-export"
DESCRIPTION = """
turns an encoder and its weights into a TF-Hub module: a SavedModel folder that can be called,
retrained (hub.KerasLayer), served, and scored (hares-evaluate).

    # weights that were trained with this package
    hares-export --model=slowfast_nfnet_f0 --weights=run.weights.h5 --output=exports/f0

    # weights of the official JAX implementation, flattened to an npz
    hares-export --model=slowfast_nfnet_f0 --haiku_parameters=f0.npz --output=exports/f0

    # an untrained network, to try things out or as a baseline
    hares-export --model=slowfast_nfnet_tiny --random_weights --seed=0 --output=exports/tiny

    # an encoder without parameters needs no weights
    hares-export --model=log_mel_statistics --output=exports/log_mel_statistics

The folder appears only after a fresh process without Keras has loaded the module and found that it
equals the model in memory (1 sample to 60 s, several batch sizes), trains, and needs nothing but
plain TensorFlow. Its card, assets/model_card.json, says what it is and where its weights come from.
"""


def define_flags() -> flags.FlagValues:
    """The flags of the command."""
    values = flags.FlagValues()
    flags.DEFINE_string(
        "model", None, f"The encoder: {', '.join(list_models())}.", flag_values=values
    )
    flags.DEFINE_string("weights", None, "A Keras .weights.h5 file.", flag_values=values)
    flags.DEFINE_string(
        "haiku_parameters",
        None,
        "An npz whose keys are module/parameter of the official implementation.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "random_weights", False, "Export a freshly initialised network.", flag_values=values
    )
    flags.DEFINE_integer(
        "seed",
        None,
        "Seed of the random weights (with --random_weights; default 0).",
        lower_bound=0,
        upper_bound=2**32 - 1,
        flag_values=values,
    )
    flags.DEFINE_string("output", None, "The folder to create.", flag_values=values)
    flags.DEFINE_string(
        "name",
        None,
        "The module's name, shown in results. Default: the model's.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "overwrite", False, "Replace a module that stands at --output.", flag_values=values
    )
    return values


def _main(values: flags.FlagValues) -> None:
    if not values.model:
        raise HubError(f"name the encoder with --model: {', '.join(list_models())}")
    if not values.output:
        raise HubError("name the folder to create with --output")
    spec = get_spec(values.model)
    sources = [
        name for name in ("weights", "haiku_parameters", "random_weights") if values[name].value
    ]
    if len(sources) > 1:
        raise HubError(f"--{sources[0]} and --{sources[1]} exclude each other; give one")
    if values.seed is not None and sources != ["random_weights"]:
        raise HubError("--seed goes with --random_weights")
    for source in ("weights", "haiku_parameters"):
        if values[source].value and not Path(values[source].value).is_file():
            raise HubError(f"--{source}={values[source].value}: there is no such file")

    with quiet_import():
        import keras

        from hares_tf.hub.export import check_destination, export_module
        from hares_tf.models import create_model

    check_destination(Path(values.output), values.overwrite)
    if keras.backend.backend() != "tensorflow":
        raise HubError(
            f"SavedModels are TensorFlow's; KERAS_BACKEND is {keras.backend.backend()!r}: unset it"
        )
    keras.utils.set_random_seed(values.seed or 0)
    model = create_model(spec.name)
    if model.weights and not sources:
        raise HubError(
            f"{spec.name} has parameters: give --weights, --haiku_parameters or --random_weights"
        )
    if not model.weights and sources:
        raise HubError(f"{spec.name} has no parameters, so it takes no --{sources[0]}")
    print(f"exporting {spec.name} to {values.output} ...", file=sys.stderr)
    output, checks = export_module(
        model,
        values.output,
        weights=_load_weights(model, values, sources),
        name=values.name,
        description=spec.description,
        overwrite=values.overwrite,
    )
    for line in checks:
        print(f"  checked: {line}")
    print(f"{output}: {model.embedding_size} features at {model.sample_rate} Hz")


def _load_weights(model, values: flags.FlagValues, sources: list[str]) -> dict:
    """Fills the model; gives the weights' provenance for the card."""
    if not sources:
        return {"source": "none: the encoder has no parameters"}
    if sources == ["random_weights"]:
        return {"source": "random", "seed": values.seed or 0}
    path = Path(values[sources[0]].value)
    if sources == ["haiku_parameters"]:
        from hares_tf.hub.haiku import load_haiku_parameters

        load_haiku_parameters(model, path)
    else:
        if not path.name.endswith(".weights.h5"):
            raise HubError(f"--weights={path}: a Keras weights file ends in .weights.h5")
        try:
            model.load_weights(path)
        except (OSError, ValueError, KeyError) as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            raise HubError(f"{path} holds no weights of {model.name}: {first}") from error
    return {"source": sources[0], "file": path.name, "sha256": sha256_file(path)}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; gives its exit code."""
    return command.run(NAME, DESCRIPTION, define_flags(), _main, argv)
