"""`hares-export --format=tflite`: a module that exists already -> one file for LiteRT."""

from pathlib import Path

from hares_tf.hub.errors import HubError
from hares_tf.hub.loader import locate
from hares_tf.runtimes.errors import ConversionError
from hares_tf.utils.files import atomic_file

FORMAT = "tflite"
# Recordings that a module is compared on where it does not say its sample rate.
_USUAL_SAMPLE_RATE = 16_000


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
        raise HubError(f"--output={output}: the name of a LiteRT model ends in .tflite.")
    if output.exists() and not (overwrite and output.is_file()):
        raise HubError(f"{output} exists already; choose another --output, or add --overwrite.")
    module = locate(handle)
    if module.kind != "saved_model":
        raise HubError(f"{handle} is no SavedModel, so it cannot be converted for LiteRT.")
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
