"""Warm-up requests: what TensorFlow Serving answers to itself before it offers a new version.

The first request to a graph is slow, because the graph is optimized and memory allocated. A server
reads `assets.extra/tf_serving_warmup_requests`, a TFRecord file of `PredictionLog` messages, and
replays them. The messages are those of tensorflow-serving-api, whose few fields that are needed are
written here by hand: exporting a module should not need the package, which is pinned to one
TensorFlow. A test reads them back with it.
"""

import io
import wave
from pathlib import Path

import numpy as np

from hares_tf.audio.pcm16 import to_int16
from hares_tf.hub import saved_model
from hares_tf.hub.errors import HubError

#: Where a server looks for them, below the version's folder.
PATH = Path("assets.extra", "tf_serving_warmup_requests")

# A quarter of a second: what is slow the first time does not depend on the length.
_SECONDS = 0.25

# Numbers of fields: tensorflow_serving/apis/prediction_log.proto, predict.proto and model.proto.
_PREDICT_LOG = 6  # of PredictionLog
_REQUEST = 1  # of PredictLog
_MODEL_SPEC, _INPUTS = 1, 2  # of PredictRequest
_MODEL_NAME, _SIGNATURE_NAME = 1, 3  # of ModelSpec
_KEY, _VALUE = 1, 2  # of an entry of a map


def write_warmup(directory: Path, model_name: str, sample_rate: int) -> list[str]:
    """Writes a request of one short clip for each signature of a module.

    Args:
        directory: the folder of the SavedModel.
        model_name: that the server is told.
        sample_rate: of the module, in Hz.

    Returns:
        The names of the signatures.

    Raises:
        HubError: a signature has an input that is neither a waveform, a length nor a file.
    """
    import tensorflow as tf

    signatures = saved_model.signatures(directory)
    (directory / PATH).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(directory / PATH)) as writer:
        for name, signature in signatures.items():
            inputs = example_inputs(name, signature, sample_rate)
            writer.write(_prediction_log(model_name, name, inputs))
    return list(signatures)


def example_inputs(name: str, signature, sample_rate: int) -> dict[str, np.ndarray]:
    """A batch of one clip of noise for every input of a `SignatureDef`.

    Inputs are told by type and rank: float32 `[batch, samples]` is a waveform, integers `[batch]`
    are lengths in samples, strings `[batch]` whole WAV files.

    Raises:
        HubError: there is another kind of input.
    """
    import tensorflow as tf

    samples = _samples(signature, round(_SECONDS * sample_rate))
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, (1, samples)).astype(np.float32)
    found = {}
    for key, tensor in signature.inputs.items():
        dtype, rank = tf.as_dtype(tensor.dtype), len(tensor.tensor_shape.dim)
        if (dtype, rank) == (tf.float32, 2):
            found[key] = waveform
        elif dtype in (tf.int32, tf.int64) and rank == 1:
            found[key] = np.array([samples], dtype.as_numpy_dtype)
        elif (dtype, rank) == (tf.string, 1):
            found[key] = np.array([_wav(waveform[0], sample_rate)], object)
        else:
            raise HubError(
                f"The signature {name} takes {key}, {dtype.name} of rank {rank}; warm-up requests "
                "are made of waveforms, lengths and WAV files only."
            )
    return found


def _samples(signature, default: int) -> int:
    """The length that a waveform input asks for, else the default."""
    lengths = [t.tensor_shape.dim[1].size for t in signature.inputs.values() if _is_matrix(t)]
    return next((length for length in lengths if length > 0), default)


def _is_matrix(tensor) -> bool:
    return len(tensor.tensor_shape.dim) == 2


def _wav(waveform: np.ndarray, sample_rate: int) -> bytes:
    """A file of 16-bit PCM, one channel."""
    contents = io.BytesIO()
    with wave.open(contents, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(to_int16(waveform).tobytes())
    return contents.getvalue()


def _prediction_log(model_name: str, signature_name: str, inputs: dict[str, np.ndarray]) -> bytes:
    """A serialized `PredictionLog` that holds one `PredictRequest`."""
    import tensorflow as tf

    spec = _field(_MODEL_NAME, model_name.encode()) + _field(
        _SIGNATURE_NAME, signature_name.encode()
    )
    request = _field(_MODEL_SPEC, spec)
    for key in sorted(inputs):
        tensor = tf.make_tensor_proto(inputs[key]).SerializeToString(deterministic=True)
        request += _field(_INPUTS, _field(_KEY, key.encode()) + _field(_VALUE, tensor))
    return _field(_PREDICT_LOG, _field(_REQUEST, request))


def _field(number: int, content: bytes) -> bytes:
    """A text, a message or an entry of a map: tag, length, content (protobuf's wire type 2)."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])
