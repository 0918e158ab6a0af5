"""Heads trained by Adam, as the protocol `paper` asks (Appendix A of the paper).

Several heads are trained in one pass over the embeddings: all see the same batches and differ in
initial weights, peak learning rate and L2 strength. The loop over steps runs inside TensorFlow.

The loss of a head is the mean over the batch of the clip's negative log-likelihood: one softmax
cross-entropy per group of labels, summed over the groups; for tags one sigmoid cross-entropy per
tag, summed over the tags (targets may lie between 0 and 1). The paper does not say whether it sums
or averages over tags; Adam does not see the difference, except through its epsilon and through L2.
"""

import contextlib
import hashlib
import json
import os
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.heads.adam_loop import AdamConfig, AdamLoop
from hares_tf.evaluation.heads.sampling import Feed, prefetched
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.utils.files import atomic_file

# Raised whenever the same configuration would lead to other weights.
VERSION = 1
# A chunk is gathered while the one before is trained on. Below 32 MiB the allocator reuses memory;
# larger arrays are returned to the system and cost a page fault per page, every time.
CHUNK_BYTES = 24 * 2**20
# Progress and checkpoints come between chunks, also where embeddings are tiny.
CHUNK_STEPS = 1000
CHECKPOINT_SECONDS = 60.0
LOGITS_BYTES = 64 * 2**20
# Standard deviations per feature for which the learning rate is made, and the share of features
# that may lie outside.
SCALE_RANGE = (0.05, 20.0)
SCALE_SHARE = 0.25


class AdamHeads:
    """Trained heads.

    Attributes:
        parameters: float32 arrays. `weights` `[heads, dim or hidden, width]` and `bias`
            `[heads, width]`; with a hidden layer also `hidden_weights` `[heads, dim, hidden]` and
            `hidden_bias` `[heads, hidden]`.
    """

    def __init__(self, parameters: dict[str, np.ndarray]):
        self.parameters = parameters

    def logits(self, embeddings: np.ndarray) -> np.ndarray:
        """float32 `[heads, rows, width]` of embeddings `[rows, dim]` (also a memory map)."""
        weights, bias = self.parameters["weights"], self.parameters["bias"]
        heads, inner, width = weights.shape
        result = np.empty((heads, len(embeddings), width), np.float32)
        block = max(1, LOGITS_BYTES // (4 * max(embeddings.shape[1], inner, width)))
        for start in range(0, len(embeddings), block):
            rows = np.asarray(embeddings[start : start + block], np.float32)
            for head in range(heads):
                features = self._features(rows, head)
                result[head, start : start + block] = features @ weights[head] + bias[head]
        return result

    def _features(self, rows: np.ndarray, head: int) -> np.ndarray:
        if "hidden_weights" not in self.parameters:
            return rows
        hidden = rows @ self.parameters["hidden_weights"][head]
        hidden += self.parameters["hidden_bias"][head]
        return np.maximum(hidden, 0, out=hidden)


def train_heads(
    feed: Feed,
    labels: Labels,
    dim: int,
    config: AdamConfig,
    checkpoint: str | os.PathLike | None = None,
    identity: str = "",
    progress: Callable[[int], None] | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    chunk_bytes: int = CHUNK_BYTES,
) -> AdamHeads:
    """Trains heads from scratch, or from where a checkpoint left off.

    How steps are divided into chunks does not change the weights. On one machine neither does an
    interruption: the heads are those of an undisturbed run, bit for bit.

    Args:
        feed: gives the batches of steps: `(first_step, n_steps)` -> float32
            `[n_steps, batch, dim]`, targets `[n_steps, batch, groups]` (for tags
            `[n_steps, batch, tags]`). A function of its arguments alone; it is called in a thread
            while the chunk before is trained on. Usually an `EmbeddingFeed`.
        labels: the label space of the targets.
        dim: of the embeddings.
        config: how to train.
        checkpoint: where the state is kept, so that the same call can go on after a kill. A file
            of another configuration or identity is replaced. It stays when training ends: whoever
            stores the result removes it then.
        identity: names what the feed gives, for example `EmbeddingFeed.identity`.
        progress: called with the number of steps done, after every chunk.
        checkpoint_seconds: time between checkpoints.
        chunk_bytes: of the embeddings in a chunk; up to three are in memory at a time.

    Raises:
        EvaluationError: the embeddings are not finite, or the checkpoint is not a file of heads.
        Exception: whatever the feed or `progress` raises.
    """
    loop = AdamLoop(labels, dim, config)
    kept = None
    if checkpoint is not None:
        about = {"version": VERSION, "labels": labels.as_data(), "dim": dim, **asdict(config)}
        text = json.dumps([about, identity], sort_keys=True)
        kept = _Checkpoint(Path(checkpoint), hashlib.sha256(text.encode()).hexdigest())
    step = kept.restore(loop) if kept else 0
    chunk = max(1, min(CHUNK_STEPS, chunk_bytes // (4 * config.batch * dim)))
    saved = time.monotonic()
    with contextlib.closing(prefetched(feed, step, config.steps, chunk)) as chunks:
        for embeddings, targets in chunks:
            loop.run(step, embeddings, targets)
            step += len(embeddings)
            if not loop.is_finite():
                raise EvaluationError(
                    f"Training a head gave numbers that are not finite by step {step}: the "
                    "embeddings hold NaN or infinity, or their scale is extreme; standardize them "
                    "(--standardize) or check the handle with hares-check-handle."
                )
            if kept and step < config.steps and time.monotonic() - saved >= checkpoint_seconds:
                kept.save(step, loop)
                saved = time.monotonic()
            if progress:
                progress(step)
    return AdamHeads(loop.parameters())


def scale_warning(embeddings: np.ndarray) -> str | None:
    """Says when embeddings are of a scale for which Adam at 2e-4 is not made.

    Adam moves every weight by about the learning rate a step, whatever the scale of its feature:
    of tiny features it learns nothing in the given steps, on huge ones it overshoots.

    Args:
        embeddings: `[rows, dim]`, also a memory map; at most 2,048 evenly spaced rows are read.

    Returns:
        A sentence, if the median over features of the standard deviation, or that of at least a
        quarter of the features, is outside 0.05 to 20 (features that never change do not count);
        else None.
    """
    rows = np.linspace(0, len(embeddings) - 1, min(len(embeddings), 2048)).astype(np.int64)
    deviations = np.asarray(embeddings[rows], np.float64).std(axis=0)
    changing = deviations[deviations > 0]
    if not len(changing):
        return None
    low, high = SCALE_RANGE
    outside = np.mean((changing < low) | (changing > high))
    median = np.median(changing)
    if low <= median <= high and outside < SCALE_SHARE:
        return None
    return (
        f"the embeddings' standard deviation per feature has the median {median:.3g}, and "
        f"{100 * outside:.0f}% of the features are outside {low} to {high}: Adam with a learning "
        "rate of 2e-4 does not fit this scale, and the scores may be far too low; --standardize "
        "gives every feature a deviation of 1"
    )


class _Checkpoint:
    """The state of one training run in a file."""

    def __init__(self, path: Path, configuration: str):
        self._path, self._configuration = path, configuration

    def save(self, step: int, loop: AdamLoop) -> None:
        with atomic_file(self._path) as path, open(path, "wb") as file:
            state: dict[str, Any] = loop.state()
            np.savez(file, step=step, configuration=self._configuration, **state)

    def restore(self, loop: AdamLoop) -> int:
        """Takes over the state, if there is one of this configuration; returns the steps done."""
        if not self._path.exists():
            return 0
        try:
            with np.load(self._path, allow_pickle=False) as file:
                if file["configuration"] != self._configuration:
                    return 0
                loop.set_state(file)
                return int(file["step"])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise EvaluationError(
                f"The checkpoint {self._path} cannot be read ({error}): delete it to train from "
                "the start."
            ) from error
