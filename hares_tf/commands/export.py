"""The command `hares-export` (also `python export_hub.py`): weights to a Hub module."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from hares_tf.checkpoints.run_files import KERAS_WEIGHTS
from hares_tf.commands import flags
from hares_tf.commands.declaration import (
    SWITCH,
    Exclusive,
    Flag,
    NumberOr,
    UsageError,
    equals,
    given,
)
from hares_tf.commands.program import Command
from hares_tf.hub.archive import check_archive, pack
from hares_tf.hub.export.litert import FORMAT as TFLITE
from hares_tf.hub.export.serving_root import add_version, check_serving_root
from hares_tf.hub.flavors import FLAVORS, FLOAT32, PRECISIONS, REUSABLE, check_flavor
from hares_tf.models.registry import get_spec, list_models
from hares_tf.utils.files import sha256_file
from hares_tf.utils.keras import require_tensorflow_backend
from hares_tf.utils.tensorflow import import_tensorflow
from hares_tf.utils.user_code import import_user_code

DESCRIPTION = """
exports an encoder and its weights as a TF-Hub module: a SavedModel folder that can be called,
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

    # an encoder without parameters needs no weights; --archive packs the exported module
    hares-export --model=log_mel_statistics --output=exports/log_mel --archive=log_mel.tar.gz

    # one file for phones and small devices, of any module that exists already
    hares-export --format=tflite --handle=exports/f0 --quantize=int8 --output=f0.tflite

The folder appears only after a fresh process without Keras has loaded the module and checked that
it equals the model in memory (1 sample to 60 s, several batch sizes), trains, and uses plain
TensorFlow operations only. The model card in it, assets/model_card.json, describes the module and
the origin of its weights. Modules of a classification run also return logits;
assets/class_map.csv names their classes.
"""

SOURCES = ("checkpoint", "weights", "haiku_parameters", "random_weights")
_SAVED_MODEL = equals("format", "saved_model")
_TFLITE = equals("format", TFLITE)
FLAGS = {
    "Encoder and weights": (
        Flag(
            "model",
            f"The encoder: {', '.join(list_models())}. A checkpoint knows its own.",
            goes_with=(_SAVED_MODEL,),
        ),
        Flag(
            "checkpoint",
            "The folder of a run of hares-pretrain, or one of its checkpoint files.",
            goes_with=(_SAVED_MODEL,),
        ),
        Flag(
            "step",
            "The checkpoint of the folder: a number of steps, or best. Default: the newest that "
            "can be read.",
            parser=NumberOr("best"),
            goes_with=(given("checkpoint"),),
        ),
        replace(flags.PLUGIN, goes_with=(_SAVED_MODEL,)),
        Flag("weights", "A Keras .weights.h5 file.", goes_with=(_SAVED_MODEL,)),
        Flag(
            "haiku_parameters",
            "An npz file whose keys are module/parameter of the official implementation.",
            goes_with=(_SAVED_MODEL,),
        ),
        Flag(
            "random_weights",
            "Export a freshly initialized network.",
            False,
            SWITCH,
            goes_with=(_SAVED_MODEL,),
        ),
        flags.integer(
            "seed",
            0,
            "Seed of the random weights.",
            lowest=0,
            highest=2**32 - 1,
            goes_with=(given("random_weights"),),
        ),
    ),
    "Module": (
        Flag("output", "The folder to create; with --format=tflite the file."),
        Flag(
            "serving_root",
            "Instead of --output: a folder of numbered versions, as TensorFlow Serving watches it. "
            "The module becomes the next version, with warm-up requests.",
            goes_with=(_SAVED_MODEL,),
        ),
        flags.OVERWRITE,
        Flag(
            "archive",
            "Also pack the module into this .tar.gz, with a .sha256 beside it. For modules that "
            "exist already see hares-share.",
            goes_with=(_SAVED_MODEL,),
        ),
        Flag(
            "name",
            "The module's name, shown in results. Default: that of the model, and for a checkpoint "
            "also of the objective.",
            goes_with=(_SAVED_MODEL,),
        ),
        flags.choice(
            "flavor",
            REUSABLE,
            FLAVORS,
            "reusable: can be trained. serving: inference only, with all constants folded.",
            goes_with=(_SAVED_MODEL,),
        ),
        flags.choice(
            "precision",
            FLOAT32,
            PRECISIONS,
            "With --flavor=serving: bfloat16 is fast on processors that have it (AMX, AVX512_BF16) "
            "and rounds to 8 bits.",
            goes_with=(_SAVED_MODEL,),
        ),
    ),
    "LiteRT": (
        flags.choice(
            "format",
            "saved_model",
            ("saved_model", TFLITE),
            "tflite: convert the module at --handle, anybody's, to a file for LiteRT.",
        ),
        Flag("handle", "The module to convert.", required=_TFLITE, goes_with=(_TFLITE,)),
        flags.choice(
            "quantize",
            "none",
            ("none", "int8", "float16"),
            "How kernels are stored. float16 takes half the space of float32, int8 a quarter.",
            goes_with=(_TFLITE,),
        ),
    ),
}
EXCLUSIVE = (
    Exclusive(SOURCES),
    Exclusive(("output", "serving_root"), required=True),
    Exclusive(("archive", "serving_root")),
    Exclusive(("overwrite", "serving_root")),
)


def _run(values: Any) -> None:
    for plugin in values.plugin:
        import_user_code(plugin, f"--plugin={plugin}")
    if values.format == TFLITE:
        from hares_tf.hub.export.litert import export

        export(values.handle, Path(values.output), values.quantize, values.overwrite)
        return
    source = next((name for name in SOURCES if values[name].value), None)
    _check_paths(values, source)
    check_flavor(values.flavor, values.precision)
    checkpoint = _open_checkpoint(values) if source == "checkpoint" else None
    spec = get_spec(checkpoint.run.model if checkpoint else values.model)

    import_tensorflow()
    require_tensorflow_backend("The export of SavedModels")
    import keras

    from hares_tf.hub.export.exporter import check_destination, export_module
    from hares_tf.models import create_model

    if values.output:
        check_destination(Path(values.output), values.overwrite)
    else:
        check_serving_root(Path(values.serving_root))
    keras.utils.set_random_seed(values.seed)
    model = create_model(spec.name)
    classifier, name = None, values.name
    if checkpoint:
        from hares_tf.checkpoints.runs import load_classifier, load_encoder

        load_encoder(model, checkpoint)
        classifier = load_classifier(checkpoint, model.embedding_size)
        weights = checkpoint.provenance()
        name = name or f"{spec.name}_{checkpoint.run.objective}"
    else:
        weights = _load_weights(model, values, source)
    print(f"exporting {spec.name} to {values.output or values.serving_root} ...", file=sys.stderr)

    def say(line: str) -> None:
        print(f"  checked: {line}", flush=True)

    def export_to(folder):
        return export_module(
            model,
            folder,
            weights=weights,
            name=name,
            description=spec.description,
            classifier=classifier,
            overwrite=values.overwrite,
            flavor=values.flavor,
            precision=values.precision,
            say=say,
        )

    if values.output:
        output, _ = export_to(values.output)
    else:
        output, checks = add_version(values.serving_root, export_to, model.sample_rate)
        say(checks[-1])
    logits = f" and {len(classifier.classes)} logits" if classifier else ""
    print(f"{output}: {model.embedding_size} features{logits} at {model.sample_rate} Hz")
    if values.archive:
        print(f"{values.archive}: {pack(output, values.archive)}")


def _check_paths(values: Any, source: str | None) -> None:
    """Finds mistakes before TensorFlow starts."""
    if not values.model and source != "checkpoint":
        raise UsageError(f"--model is required without --checkpoint: {', '.join(list_models())}.")
    if source in ("weights", "haiku_parameters") and not Path(values[source].value).is_file():
        raise UsageError(f"--{source}={values[source].value}: there is no such file.")
    if values.archive:
        check_archive(values.output, values.archive)
        if not Path(values.archive).parent.is_dir():
            raise UsageError(f"--archive={values.archive}: there is no such folder.")
        if Path(values.archive).exists() and not values.overwrite:
            raise UsageError(f"{values.archive} exists already; choose another or add --overwrite.")


def _open_checkpoint(values: Any):
    from hares_tf.checkpoints.runs import open_checkpoint

    checkpoint = open_checkpoint(values.checkpoint, values.step)
    if values.model not in (None, checkpoint.run.model):
        raise UsageError(
            f"--model={values.model}: {values.checkpoint} is a run of {checkpoint.run.model}; "
            "leave --model out."
        )
    print(f"{checkpoint.path}: step {checkpoint.step}", file=sys.stderr)
    return checkpoint


def _load_weights(model, values: Any, source: str | None) -> dict:
    """Loads the weights into the model; returns their provenance for the card."""
    if model.weights and not source:
        raise UsageError(
            f"{model.name} has parameters: give --checkpoint, --weights, --haiku_parameters or "
            "--random_weights."
        )
    if not model.weights and source:
        raise UsageError(f"{model.name} has no parameters; leave --{source} out.")
    if source is None:
        return {"source": "none: the encoder has no parameters"}
    if source == "random_weights":
        return {"source": "random", "seed": values.seed}
    path = Path(values[source].value)
    if source == "weights" and not path.name.endswith(KERAS_WEIGHTS):
        raise UsageError(f"--weights={path}: a Keras weights file ends in {KERAS_WEIGHTS}.")
    from hares_tf.checkpoints import load_checkpoint

    load_checkpoint(model, path)
    return {"source": source, "file": path.name, "sha256": sha256_file(path)}


COMMAND = Command(
    "hares-export", DESCRIPTION, FLAGS, _run, EXCLUSIVE, interrupted="nothing was written"
)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
