"""`hares-export --format=tflite`: a module that exists already -> one file for LiteRT."""

from pathlib import Path

from absl import flags

from hares_tf.hub.errors import HubError
from hares_tf.hub.loader import locate
from hares_tf.runtimes.errors import ConversionError
from hares_tf.utils.files import atomic_file

FORMAT = "tflite"
# Recordings that a module is compared on where it does not say its sample rate.
_USUAL_SAMPLE_RATE = 16_000


def define_flags(values: flags.FlagValues) -> None:
    """Adds the flags of the conversion to those of `hares-export`."""
    flags.DEFINE_enum(
        "format",
        "saved_model",
        ["saved_model", FORMAT],
        "tflite: converts the module at --handle, anybody's, into the file --output for LiteRT.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "handle", None, "--format=tflite: the module to convert.", flag_values=values
    )
    flags.DEFINE_enum(
        "quantize",
        "none",
        ["none", "int8", "float16"],
        "--format=tflite: how kernels are stored. float16 is half as large, int8 a quarter.",
        flag_values=values,
    )


def check_flags(values: flags.FlagValues) -> None:
    """Raises HubError where flags of the two formats are mixed."""
    if values.format != FORMAT:
        for name in ("handle", "quantize"):
            if values[name].present:
                raise HubError(f"--{name} goes with --format=tflite")
        return
    mine = {"format", "handle", "quantize", "output", "overwrite"}
    for name in values:
        if values[name].present and name not in mine:
            raise HubError(
                f"--{name} does not go with --format=tflite, which converts a module: export it "
                "first, then name its folder with --handle"
            )
    if not values.handle:
        raise HubError("name the module to convert with --handle")
    if not values.output:
        raise HubError("name the file to write with --output")


def main(values: flags.FlagValues) -> None:
    """Converts, compares with the module, writes the file."""
    export(values.handle, Path(values.output), values.quantize, values.overwrite)


def export(handle: str, output: Path, quantize: str = "none", overwrite: bool = False) -> Path:
    """Converts a module into one `.tflite` file, which appears only when it equals the module.

    Args:
        handle: of a SavedModel with a signature of one waveform.
        output: the file, ending in .tflite.
        quantize: see `runtimes.tflite.convert`.
        overwrite: replace a file that is there already.

    Raises:
        HubError: it cannot be converted, or what was converted computes something else.
    """
    if output.suffix != ".tflite":
        raise HubError(f"--output={output}: the name of a LiteRT model ends in .tflite")
    if output.exists() and not (overwrite and output.is_file()):
        raise HubError(f"{output} exists already; choose another --output, or add --overwrite")
    module = locate(handle)
    if module.kind != "saved_model":
        raise HubError(f"{handle} is no SavedModel, so it cannot be converted for LiteRT")
    sample_rate = (module.card or {}).get("sample_rate") or _USUAL_SAMPLE_RATE
    from hares_tf.runtimes import litert as tflite

    try:
        model = tflite.convert(module.path, quantize)
        found = tflite.check(model, module.path, sample_rate, quantize)
    except ConversionError as error:
        raise HubError(str(error)) from error
    with atomic_file(output) as temporary:
        temporary.write_bytes(model)
    print(f"  checked: {found}")
    print(f"{output}: {len(model) / 1e6:.1f} MB")
    return output
