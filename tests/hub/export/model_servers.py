"""Servers for the tests: TensorFlow Serving itself where there is one, else a stand-in.

The stand-in loads a version as a server does, with the Session loader of TensorFlow 1, and answers
the two protocols as their documentation says. It shows that client and module fit together. It is
no evidence of what the real server does.
"""

import base64
import contextlib
import json
import socket
import subprocess
import threading
import time
import urllib.request
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import tensorflow as tf


class SessionModule:
    """A SavedModel in one Session, run by the names of its signatures.

    Attributes:
        signatures: `SignatureDef` by name.
    """

    def __init__(self, directory: Path):
        self._graph = tf.Graph()
        with self._graph.as_default():
            self._session = tf.compat.v1.Session()
            meta = tf.compat.v1.saved_model.load(self._session, ["serve"], str(directory))
        self.signatures = {
            name: signature
            for name, signature in meta.signature_def.items()
            if not name.startswith("__saved_model")
        }

    def run(self, name: str, inputs: dict) -> dict[str, np.ndarray]:
        """Outputs by name; the inputs must be exactly those of the signature, as in a server."""
        signature = self.signatures[name]
        assert set(inputs) == set(signature.inputs)
        feed = {signature.inputs[key].name: value for key, value in inputs.items()}
        return self._session.run({k: out.name for k, out in signature.outputs.items()}, feed)


@contextlib.contextmanager
def stand_in(root: Path):
    """Serves the newest version of a serving root; yields the REST address and that of gRPC."""
    import grpc
    from tensorflow_serving.apis import predict_pb2
    from tensorflow_serving.apis import prediction_service_pb2_grpc as service

    newest = max(
        (path for path in root.iterdir() if path.name.isdigit()), key=lambda p: int(p.name)
    )
    module = SessionModule(newest)

    class Rest(BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.path == f"/v1/models/{root.name}:predict"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = body.get("signature_name", "serving_default")
            inputs = {key: _from_json(value) for key, value in body["inputs"].items()}
            found = {key: value.tolist() for key, value in module.run(name, inputs).items()}
            # The name of a single output is left out.
            answer = found if len(found) > 1 else next(iter(found.values()))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"outputs": answer}).encode())

        def log_message(self, *_):
            pass

    class Prediction(service.PredictionServiceServicer):
        def Predict(self, request, context):
            assert request.model_spec.name == root.name
            inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
            found = module.run(request.model_spec.signature_name, inputs)
            outputs = {key: tf.make_tensor_proto(value) for key, value in found.items()}
            return predict_pb2.PredictResponse(outputs=outputs)

    rest = ThreadingHTTPServer(("127.0.0.1", 0), Rest)
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    service.add_PredictionServiceServicer_to_server(Prediction(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{rest.server_port}", f"127.0.0.1:{port}"
    finally:
        server.stop(None)
        rest.shutdown()
        rest.server_close()


def _from_json(value: list) -> np.ndarray:
    if isinstance(value[0], dict):
        return np.array([base64.b64decode(row["b64"]) for row in value], object)
    return np.array(value, np.float32)


@contextlib.contextmanager
def tensorflow_model_server(binary: str, root: Path, batching: Path, log: Path):
    """Runs the real server; yields its REST address and that of gRPC when it is ready."""
    ports = [_free_port(), _free_port()]
    arguments = [
        binary,
        f"--rest_api_port={ports[0]}",
        f"--port={ports[1]}",
        f"--model_name={root.name}",
        f"--model_base_path={root}",
        "--enable_batching",
        f"--batching_parameters_file={batching}",
    ]
    with open(log, "wb") as file, subprocess.Popen(arguments, stdout=file, stderr=file) as process:
        try:
            address = f"http://127.0.0.1:{ports[0]}"
            _wait_until_ready(process, f"{address}/v1/models/{root.name}", log)
            yield address, f"127.0.0.1:{ports[1]}"
        finally:
            process.terminate()


def _wait_until_ready(process, address: str, log: Path, seconds: float = 120) -> None:
    for _ in range(int(seconds)):
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5) as answer:
            states = [one["state"] for one in json.load(answer)["model_version_status"]]
            if "AVAILABLE" in states:
                return
        time.sleep(1)
    raise AssertionError(log.read_text(errors="replace")[-2000:])


def _free_port() -> int:
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        return some.getsockname()[1]
