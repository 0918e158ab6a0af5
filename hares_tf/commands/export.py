"""The command `hares-export` (also `python export_hub.py`)."""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from hares_tf.commands import program as command
from hares_tf.hub.archive import check_archive, pack
from hares_tf.hub.errors import HubError
from hares_tf.hub.export import litert as tflite
from hares_tf.hub.export.serving_root import add_version, check_serving_root
from hares_tf.hub.flavors import FLAVOURS, FLOAT32, PRECISIONS, REUSABLE, check_flavour
from hares_tf.models.registry import get_spec, list_models
from hares_tf.utils.files import sha256_file
from hares_tf.utils.quiet import quiet_import

NAME = "hares-export"
DESCRIPTION = """
turns an encoder and its weights into a TF-Hub module: a SavedModel folder that can be called,
retrained (hub.KerasLayer), served, and scored (hares-evaluate).

    # a run of hares-pretrain: the newest checkpoint, or --step=best, or --step=20000
    hares-export --checkpoint=runs/simclr --output=exports/simclr

    # weights that were trained with this package
    hares-export --model=slowfast_nfnet_f0 --weights=run.weights.h5 --output=exports/f0

    # weights of the official JAX implementation, flattened to an npz
    hares-export --model=slowfast_nfnet_f0 --haiku_parameters=f0.npz --output=exports/f0

    # an untrained network, to try things out or as a baseline
    hares-export --model=slowfast_nfnet_tiny --random_weights --seed=0 --output=exports/tiny

    # for servers: cannot be trained any more, but is faster; --precision=bfloat16 even more
    hares-export --checkpoint=runs/simclr --flavor=serving --output=exports/simclr_serving

    # the next version in the folder that TensorFlow Serving watches (docs/serving.md)
    hares-export --checkpoint=runs/simclr --flavor=serving --serving_root=models/hares

    # an encoder without parameters needs no weights; --archive packs what was exported
    hares-export --model=log_mel_statistics --output=exports/log_mel --archive=log_mel.tar.gz

    # one file for phones and small devices, of any module that exists already
    hares-export --format=tflite --handle=exports/f0 --quantize=int8 --output=f0.tflite

The folder appears only after a fresh process without Keras has loaded the module and found that it
equals the model in memory (1 sample to 60 s, several batch sizes), trains, and needs nothing but
plain TensorFlow. Its card, assets/model_card.json, says what it is and where its weights come from.
Of a classification run the module also gives logits; assets/class_map.csv names their classes.
"""

SOURCES = ("checkpoint", "weights", "haiku_parameters", "random_weights")


def define_flags() -> flags.FlagValues:
    """The flags of the command."""
    values = flags.FlagValues()
    flags.DEFINE_string(
        "model",
        None,
        f"The encoder: {', '.join(list_models())}. A checkpoint knows its own.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "checkpoint",
        None,
        "The folder of a run of hares-pretrain, or one of its checkpoint files.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "step",
        None,
        "Which checkpoint of the folder: a number of steps, or best. Default: the newest that can "
        "be read.",
        flag_values=values,
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
        "serving_root",
        None,
        "Instead of --output: a folder of numbered versions, as TensorFlow Serving watches it. The "
        "module becomes the next version, with warm-up requests.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "archive",
        None,
        "Also pack the module at --output into this .tar.gz, with a .sha256 beside it; hares-share "
        "does so with modules that exist already, and writes a page about them.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "name",
        None,
        "The module's name, shown in results. Default: the model's, and of a checkpoint also what "
        "it was trained for.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "flavor",
        REUSABLE,
        FLAVOURS,
        "reusable: can be trained. serving: inference only, everything constant computed before.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "precision",
        FLOAT32,
        PRECISIONS,
        "Of --flavor=serving. bfloat16 is fast where the processor has it (AMX, AVX512_BF16), "
        "and rounds to 8 bits.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "overwrite", False, "Replace a module that stands at --output.", flag_values=values
    )
    tflite.define_flags(values)
    return values


def _main(values: flags.FlagValues) -> None:
    tflite.check_flags(values)
    if values.format == tflite.FORMAT:
        tflite.main(values)
        return
    sources = _check_flags(values)
    checkpoint = _open_checkpoint(values) if sources == ["checkpoint"] else None
    spec = get_spec(checkpoint.run.model if checkpoint else values.model)

    with quiet_import():
        import keras

        from hares_tf.hub.export.exporter import check_destination, export_module
        from hares_tf.models import create_model

    if values.output:
        check_destination(Path(values.output), values.overwrite)
    else:
        check_serving_root(Path(values.serving_root))
    if keras.backend.backend() != "tensorflow":
        raise HubError(
            f"SavedModels are TensorFlow's; KERAS_BACKEND is {keras.backend.backend()!r}: unset it"
        )
    keras.utils.set_random_seed(values.seed or 0)
    model = create_model(spec.name)
    classifier, name = None, values.name
    if checkpoint:
        from hares_tf.checkpoints.runs import load_classifier, load_encoder

        load_encoder(model, checkpoint)
        classifier = load_classifier(checkpoint, model.embedding_size)
        weights = checkpoint.provenance()
        name = name or f"{spec.name}_{checkpoint.run.objective}"
    else:
        weights = _load_weights(model, values, sources)
    print(f"exporting {spec.name} to {values.output or values.serving_root} ...", file=sys.stderr)

    def export(folder):
        return export_module(
            model,
            folder,
            weights=weights,
            name=name,
            description=spec.description,
            classifier=classifier,
            overwrite=values.overwrite,
            flavour=values.flavor,
            precision=values.precision,
        )

    if values.output:
        output, checks = export(values.output)
    else:
        output, checks = add_version(values.serving_root, export, model.sample_rate)
    for line in checks:
        print(f"  checked: {line}")
    logits = f" and {len(classifier.classes)} logits" if classifier else ""
    print(f"{output}: {model.embedding_size} features{logits} at {model.sample_rate} Hz")
    if values.archive:
        print(f"{values.archive}: {pack(output, values.archive)}")


def _check_flags(values: flags.FlagValues) -> list[str]:
    """Which of `SOURCES` was given: none or one."""
    sources = [name for name in SOURCES if values[name].value]
    if len(sources) > 1:
        raise HubError(f"--{sources[0]} and --{sources[1]} exclude each other; give one")
    if not values.model and sources != ["checkpoint"]:
        raise HubError(f"name the encoder with --model: {', '.join(list_models())}")
    if not values.output and not values.serving_root:
        raise HubError("name the folder to create with --output, or with --serving_root")
    if values.output and values.serving_root:
        raise HubError("--output and --serving_root exclude each other; give one")
    if values.archive:
        if not values.output:
            raise HubError("--archive goes with --output")
        check_archive(values.output, values.archive)
        if not Path(values.archive).parent.is_dir():
            raise HubError(f"--archive={values.archive}: there is no such folder")
        if Path(values.archive).exists() and not values.overwrite:
            raise HubError(f"{values.archive} exists already; choose another, or add --overwrite")
    if values.serving_root and values.overwrite:
        raise HubError("--overwrite goes with --output; a serving root gets a new version")
    if values.seed is not None and sources != ["random_weights"]:
        raise HubError("--seed goes with --random_weights")
    if values.step is not None and sources != ["checkpoint"]:
        raise HubError("--step goes with --checkpoint")
    check_flavour(values.flavor, values.precision)
    for source in ("weights", "haiku_parameters"):
        if values[source].value and not Path(values[source].value).is_file():
            raise HubError(f"--{source}={values[source].value}: there is no such file")
    return sources


def _open_checkpoint(values: flags.FlagValues):
    from hares_tf.checkpoints.runs import BEST, open_checkpoint

    step = values.step
    if step is not None and step != BEST:
        if not (step.isascii() and step.isdecimal()):
            raise HubError(f"--step={step}: give a number of training steps, or {BEST}")
        step = int(step)
    checkpoint = open_checkpoint(values.checkpoint, step)
    if values.model not in (None, checkpoint.run.model):
        raise HubError(
            f"--model={values.model}: {values.checkpoint} is a run of {checkpoint.run.model}; "
            "leave --model out"
        )
    print(f"{checkpoint.path}: step {checkpoint.step}", file=sys.stderr)
    return checkpoint


def _load_weights(model, values: flags.FlagValues, sources: list[str]) -> dict:
    """Fills the model; gives the weights' provenance for the card."""
    if model.weights and not sources:
        raise HubError(
            f"{model.name} has parameters: give --checkpoint, --weights, --haiku_parameters or "
            "--random_weights"
        )
    if not model.weights and sources:
        raise HubError(f"{model.name} has no parameters, so it takes no --{sources[0]}")
    if not sources:
        return {"source": "none: the encoder has no parameters"}
    if sources == ["random_weights"]:
        return {"source": "random", "seed": values.seed or 0}
    path = Path(values[sources[0]].value)
    if sources == ["haiku_parameters"]:
        from hares_tf.checkpoints.haiku import load_haiku_parameters

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


if __name__ == "__main__":
    sys.exit(main())
