"""Periodic evaluation: what the encoder has learned so far, as HARES tasks see it."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from hares_tf.evaluation import evaluate
from hares_tf.evaluation.suites import resolve
from hares_tf.evaluation.tasks import Places
from hares_tf.evaluation.tasks.preparing import prepare
from hares_tf.utils.cache import cache_dir
from hares_tf.utils.files import DigestCache
from hares_tf.utils.progress import Progress


class Probe:
    """Scores the encoder of a run on a few tasks.

    The tasks are looked up, and their clips read and hashed, when the probe is made: what is
    missing is found before the training and not in the midst of it. The embeddings are kept only
    while they are used. All weights are read as they are at that moment, also those of a strategy;
    call it outside of the replicas.

    Args:
        tasks: suite names ("mini"), task ids, or paths of task files.
        output: folder of the results: `step-00001000/PROTOCOL/...` as `hares-evaluate` has them.
        protocol: a key of `evaluation.protocols.PROTOCOLS`.
        data_dir: where the data sets are; see `evaluation.evaluate`.
        store: folder that remembers the digests of the clips; default: that of `evaluate`.

    Raises:
        EvaluationError: a task is unknown, or its data are not there.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        output: str | os.PathLike,
        *,
        protocol: str = "fast",
        data_dir: str | os.PathLike | None = None,
        store: str | os.PathLike | None = None,
    ):
        self._tasks = resolve(tasks, data_dir)
        self._output, self._protocol = Path(output), protocol
        self._data_dir = Path(data_dir) if data_dir is not None else None
        self._store = Path(store) if store is not None else cache_dir() / "embeddings"
        self._encoder: _Encoder | None = None
        with DigestCache(self._store / "digests.sqlite") as digests:
            for task in self._tasks:
                places = Places(self._data_dir)
                prepare(task, places, digests, subset=False, progress=Progress("none"))

    def run(self, model, step: int) -> dict[str, float]:
        """Evaluates the encoder as it is now.

        Args:
            model: a built `WaveformEncoder`; the same one every time is traced once.
            step: number of training steps done; names the folder of the results.

        Returns:
            Scores in percent by task id, and their "mean".

        Raises:
            EvaluationError: the encoder gives NaN or infinite embeddings, or the data have changed.
        """
        if self._encoder is None or self._encoder.model is not model:
            self._encoder = _Encoder(model)
        results = evaluate(
            self._encoder,
            self._tasks,
            protocol=self._protocol,
            output=self._output / f"step-{step:08d}",
            store=self._store,
            data_dir=self._data_dir,
        )
        scores = {result.task_id: float(result.score) for result in results}
        return {**scores, "mean": float(np.mean(list(scores.values())))}


class _Encoder:
    """A network in training as `evaluation` takes encoders: waveforms in, embeddings out.

    It states no `fingerprint`: its weights change, so nothing of it may be reused.
    """

    def __init__(self, model):
        self.model = model
        self.name, self.sample_rate = model.name, model.sample_rate

        # One graph for all lengths: tracing takes longer than a batch, and tasks have many windows.
        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32)])
        def embed(waveform):
            return tf.cast(model(waveform, training=False), tf.float32)

        self._embed = embed

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        return self._embed(tf.convert_to_tensor(waveform, tf.float32)).numpy()
