"""Asks TensorFlow Serving for the embedding of a recording: a WAV file, 16-bit PCM, 16 kHz.

    python client.py speech.wav http://localhost:8501/v1/models/hares
    python client.py speech.wav localhost:8500        # gRPC: pip install tensorflow-serving-api

Over REST the file is sent as it is, over gRPC its samples. Prints (numbers depend on the weights):

    embedding: 304 values, the first 0.4873 0.3908 0.2710
"""

import base64
import json
from pathlib import Path
import sys
import urllib.request

import numpy as np
import soundfile


def rest_body(contents: bytes) -> bytes:
    """The body of a POST to MODEL_URL:predict. A batch of one file, bytes as base64."""
    files = [{"b64": base64.b64encode(contents).decode()}]
    return json.dumps({"signature_name": "wav_bytes", "inputs": {"bytes": files}}).encode()


def ask_rest(model_url: str, contents: bytes) -> dict[str, np.ndarray]:
    with urllib.request.urlopen(f"{model_url}:predict", rest_body(contents), timeout=60) as answer:
        outputs = json.load(answer)["outputs"]
    return outputs if isinstance(outputs, dict) else {"embedding": outputs}  # one has no name


def grpc_request(waveform: np.ndarray, model: str = "hares"):
    """A `PredictRequest` of a batch of waveforms `[batch, samples]`, float32 in [-1, 1]."""
    import tensorflow as tf
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    request = PredictRequest(inputs={"waveform": tf.make_tensor_proto(waveform)})
    request.model_spec.name, request.model_spec.signature_name = model, "serving_default"
    return request


def ask_grpc(address: str, waveform: np.ndarray) -> dict[str, np.ndarray]:
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

    with grpc.insecure_channel(address) as channel:
        answer = PredictionServiceStub(channel).Predict(grpc_request(waveform), timeout=60)
    return {key: tf.make_ndarray(value) for key, value in answer.outputs.items()}


if __name__ == "__main__":
    path, server = sys.argv[1:]
    samples = soundfile.read(path, dtype="float32", always_2d=True)[0].mean(1)
    rest = server.startswith("http")
    found = ask_rest(server, Path(path).read_bytes()) if rest else ask_grpc(server, samples[None])
    for name, (value,) in found.items():
        print(f"{name}: {len(value)} values, the first", *(f"{number:.4f}" for number in value[:3]))
