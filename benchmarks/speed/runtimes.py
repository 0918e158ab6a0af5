"""Slowfast NFNet-F0 in OpenVINO: 3-second clips, and a whole embedding phase, beside TensorFlow.

pip install hares-tf[openvino]
"""

import importlib.util
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from evaluation import write_task
from modules import export_random
from timing import (
    F0_FLOPS_3S,
    MATMUL_SIZE,
    interleaved,
    matmul,
    median_ratio,
    milliseconds,
    share_of_peak,
    verdict,
)

SAMPLES, BATCH, CLIPS = 48_000, 8, 96
TENSORFLOW, FLOAT32, BFLOAT16 = "TensorFlow float32", "OpenVINO float32", "OpenVINO bfloat16"


def bfloat16_matmul():
    """A product of two 4096 x 4096 matrices in bfloat16."""
    import tensorflow as tf

    left, right = (
        tf.cast(tf.random.normal([MATMUL_SIZE, MATMUL_SIZE]), tf.bfloat16) for _ in range(2)
    )
    product = tf.function(lambda: tf.matmul(left, right))
    return lambda: product().numpy()[0, 0]


def open_encoders(handle: Path) -> dict:
    """The encoder in each runtime that this machine has."""
    from hares_tf.evaluation import Runtime, open_encoder
    from hares_tf.utils.errors import HaresError

    runtimes = {
        TENSORFLOW: Runtime(),
        FLOAT32: Runtime("openvino"),
        BFLOAT16: Runtime("openvino", "bfloat16"),
    }
    encoders = {}
    for name, runtime in runtimes.items():
        started = time.perf_counter()
        try:
            encoder = open_encoder(handle, runtime=runtime)
        except HaresError as error:
            print(f"     {name} is skipped: {error}")
            continue
        encoder.embed(np.zeros((BATCH, SAMPLES), np.float32))
        encoders[name] = encoder
        print(f"     {name}: opened and ready in {time.perf_counter() - started:.1f} s")
    return encoders


def shares_of_the_peak(encoders: dict) -> None:
    random = np.random.default_rng(0)
    for batch in (BATCH, 1):
        clips = random.uniform(-1, 1, (batch, SAMPLES)).astype(np.float32)
        calls = {
            name: lambda encoder=encoder, clips=clips: encoder.embed(clips)
            for name, encoder in encoders.items()
        }
        seconds = interleaved(
            {"float32 peak": matmul(), "bfloat16 peak": bfloat16_matmul(), **calls}, rounds=9
        )
        for name in encoders:
            peak = "bfloat16 peak" if name == BFLOAT16 else "float32 peak"
            share = 100 * share_of_peak(seconds[name], seconds[peak], batch * F0_FLOPS_3S)
            text = f"{name} at batch {batch}: {milliseconds(seconds[name], batch)} a clip"
            text += f", share of the {peak}"
            if name == BFLOAT16 and batch == BATCH:
                verdict(text, share, 50, "%")
            else:
                print(f"     {text}: {share:.1f}%")


def embedding_phase(encoder, task: Path, store: Path) -> float:
    """Seconds to decode, embed and store all clips, as an evaluation does it."""
    from hares_tf.evaluation import read_task_file
    from hares_tf.evaluation.embeddings.embedding import Item, embed_items
    from hares_tf.evaluation.embeddings.store import EmbeddingStore
    from hares_tf.evaluation.embeddings.windows import Plan
    from hares_tf.evaluation.tasks import Places

    manifest = read_task_file(task).read(Places())
    items = [Item(clip.id, clip.sound) for clip in manifest.clips]
    started = time.perf_counter()
    with EmbeddingStore(store).space({}).writer(notes={}) as writer:
        failures = embed_items(items, Plan("tiles", 3.0), encoder, writer)
    assert not failures
    return time.perf_counter() - started


def end_to_end(encoders: dict, folder: Path) -> None:
    """Embedding phases with the model open, in turn."""
    task = write_task(folder / "data", CLIPS)
    seconds: dict[str, list] = {name: [] for name in encoders}
    for turn in range(3):
        for name, encoder in encoders.items():
            store = folder / f"store {name} {turn}"
            seconds[name].append(embedding_phase(encoder, task, store))
    for name in encoders:
        print(f"     {name}: {CLIPS} clips in {statistics.median(seconds[name]):.1f} s")
    for name in (FLOAT32, BFLOAT16):
        if name in encoders:
            ratio = median_ratio(seconds[TENSORFLOW], seconds[name])
            text = f"decode + embed + store: {TENSORFLOW} over {name}"
            if name == BFLOAT16:
                verdict(text, ratio, 3.0, "x")
            else:
                print(f"     {text}: {ratio:.2f}x")


def main() -> None:
    if importlib.util.find_spec("openvino") is None:
        print("     runtimes: skipped, OpenVINO is not installed (pip install hares-tf[openvino])")
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        encoders = open_encoders(export_random("slowfast_nfnet_f0", folder / "export"))
        shares_of_the_peak(encoders)
        end_to_end(encoders, folder)


if __name__ == "__main__":
    main()
