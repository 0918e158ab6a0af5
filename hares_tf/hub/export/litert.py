"""Export of a SavedModel as one file for LiteRT (`hares-export --format=tflite`)."""

from pathlib import Path

from hares_tf.hub.errors import HubError
from hares_tf.hub.loader import locate
from hares_tf.hub.model_card import typed
from hares_tf.runtimes.errors import ConversionError
from hares_tf.utils.files import atomic_file

FORMAT = "tflite"
# Sample rate of the recordings for the comparison if the module states none.
_USUAL_SAMPLE_RATE = 16_000


def export(handle: str, output: Path, quantize: str = "none", overwrite: bool = False) -> Path:
    """Converts a module into one `.tflite` file, written only if it computes the same.

    Args:
        handle: a SavedModel with a signature of one waveform.
        output: the file, ending in .tflite.
        quantize: see `runtimes.litert.convert`.
        overwrite: replace a file that is there already.

    Raises:
        HubError: the module cannot be converted, or the result deviates from it.
    """
    if output.suffix != ".tflite":
        raise HubError(f"--output={output}: the name of a LiteRT model ends in .tflite.")
    if output.exists() and not (overwrite and output.is_file()):
        raise HubError(f"{output} exists already; choose another --output, or add --overwrite.")
    module = locate(handle)
    if module.kind != "saved_model":
        raise HubError(f"{handle} is no SavedModel, so it cannot be converted for LiteRT.")
    rate = typed(module.card, "sample_rate", int)
    sample_rate = rate if 1000 <= rate <= 384_000 else _USUAL_SAMPLE_RATE
    from hares_tf.runtimes import litert

    try:
        model = litert.convert(module.location, quantize)
        finding = litert.check(model, module.location, sample_rate, quantize)
    except ConversionError as error:
        raise HubError(str(error)) from error
    with atomic_file(output) as temporary:
        temporary.write_bytes(model)
    print(f"  checked: {finding}")
    print(f"{output}: {len(model) / 1e6:.1f} MB")
    return output
