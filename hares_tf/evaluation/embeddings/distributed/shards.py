"""Shards of the embedding phase, and the function that embeds one on a worker."""

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hares_tf.evaluation.embeddings.embedding import Item, embed_items
from hares_tf.evaluation.embeddings.store import ShardWriter
from hares_tf.evaluation.embeddings.windows import Plan
from hares_tf.evaluation.encoders.encoder import Encoder
from hares_tf.evaluation.encoders.handle import open_encoder
from hares_tf.evaluation.encoders.interface import Interface
from hares_tf.evaluation.encoders.runtime import Runtime
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.hub import loader

# Bounds the work that a killed worker loses, and the time between reports of progress.
SHARD_ITEMS = 128
# One batch of windows of a second; smaller shards would embed mostly padding.
_FEWEST_ITEMS = 48
# Shards per worker, so that all workers end at about the same time.
_SHARDS_PER_WORKER = 4


@dataclass(frozen=True)
class Target:
    """The destination of embeddings, and everything but the clip that they depend on.

    Workers get it instead of an `EmbeddingSpace`, because opening one reads and checks all shards.

    Attributes:
        handle: names the model for workers.
        plan: the windows.
        directory: the space's folder in the store.
        description: see `EmbeddingStore.space`.
    """

    handle: str
    plan: Plan
    directory: Path
    description: dict


@dataclass(frozen=True)
class Shard:
    """Some items of one target, embedded by one worker.

    Attributes:
        number: unique in the run.
        target: the destination of their embeddings.
        items: each key once.
    """

    number: int
    target: Target
    items: tuple[Item, ...]


def shard_size(items: int, workers: int) -> int:
    """Returns the number of items per shard that gives all workers about equal work."""
    return max(_FEWEST_ITEMS, min(SHARD_ITEMS, -(-items // (workers * _SHARDS_PER_WORKER))))


def cut(jobs: Sequence[tuple[Target, Sequence[Item]]], size: int) -> Iterator[Shard]:
    """Cuts the items of each target into shards of at most `size`, in order."""
    number = 0
    for target, items in jobs:
        for start in range(0, len(items), size):
            yield Shard(number, target, tuple(items[start : start + size]))
            number += 1


def handle_for_workers(module: loader.LocatedModule) -> str:
    """Returns the handle by which a process in another folder finds the same module."""
    local = module.handle.removeprefix("file://")
    if module.kind == "python" or "://" in local:
        return module.handle
    return os.path.abspath(local)


# Threads of a runner take turns, because an encoder uses all cores by itself, and a user's function
# may not be thread-safe.
_turn = threading.Lock()
_encoders: dict[tuple, Encoder] = {}


def run_shard(shard: Shard) -> dict[str, str]:
    """Embeds the items of a shard into the store.

    Returns:
        Why items could not be read, by key.

    Raises:
        EvaluationError, HubError: the encoder fails, or is another one than the target's; what was
            embedded before is kept.
    """
    with _turn:
        encoder = _encoder(shard.target)
        notes = {"interface": encoder.interface}
        writer = ShardWriter(shard.target.directory, shard.target.description, notes)
        try:
            return embed_items(shard.items, shard.target.plan, encoder, writer)
        finally:
            writer.flush()


def _encoder(target: Target) -> Encoder:
    """Returns the target's encoder, opened once per process."""
    interface = Interface.from_data(target.description["interface"])
    # Without fallback, because the embeddings are stored under the name of this runtime.
    runtime = Runtime.of_description(target.description)
    key = (target.handle, target.description["model"], interface, runtime)
    if key not in _encoders:
        module = loader.locate(target.handle)
        # Embeddings of another model must not be stored under the name of this one.
        if module.content_hash() != target.description["model"]:
            raise EvaluationError(
                f"A worker finds another model at {target.handle} than the one to evaluate; all "
                "workers must reach the same module, and it must not change meanwhile."
            )
        _encoders[key] = open_encoder(module, interface, runtime)
    return _encoders[key]
