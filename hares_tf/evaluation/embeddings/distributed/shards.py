"""Shards of the embedding phase, and what a worker does with one."""

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hares_tf.evaluation.embeddings.embedding import Item, embed_items
from hares_tf.evaluation.embeddings.store import ShardWriter
from hares_tf.evaluation.embeddings.windows import Plan
from hares_tf.evaluation.encoders import handle
from hares_tf.evaluation.encoders.interface import Interface
from hares_tf.evaluation.encoders.runtime import Runtime
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.hub import loader

# What a worker's death costs at most, and how often progress is heard of.
SHARD_ITEMS = 128
# One batch of windows of a second: in smaller shards much of what is embedded is filling.
_FEWEST_ITEMS = 48
# Shards per worker, so that all end at about the same time.
_SHARDS_PER_WORKER = 4


@dataclass(frozen=True)
class Target:
    """Where embeddings go, and all that they depend on besides the clip.

    It stands for an `EmbeddingSpace` that is only written to: opening one reads and checks all that
    is in it, which a worker has no use for.

    Attributes:
        handle: of the model, as a worker finds it.
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
    """Some items of one target: what is handed to a worker at once.

    Attributes:
        number: unique in the run.
        target: where their embeddings go.
        items: each key once.
    """

    number: int
    target: Target
    items: tuple[Item, ...]


def shard_size(items: int, workers: int) -> int:
    """Items per shard, so that a known number of workers gets about equal work."""
    return max(_FEWEST_ITEMS, min(SHARD_ITEMS, -(-items // (workers * _SHARDS_PER_WORKER))))


def cut(jobs: Sequence[tuple[Target, Sequence[Item]]], size: int) -> Iterator[Shard]:
    """Cuts the items of each target into shards of at most `size`, in order."""
    number = 0
    for target, items in jobs:
        for start in range(0, len(items), size):
            yield Shard(number, target, tuple(items[start : start + size]))
            number += 1


def handle_for_workers(module: loader.LocatedModule) -> str:
    """The handle by which a process in another folder finds the same module."""
    local = module.handle.removeprefix("file://")
    if module.kind == "python" or "://" in local:
        return module.handle
    return os.path.abspath(local)


# An encoder uses all cores by itself, and a user's function need not be safe for threads: where a
# runner has several threads in a process, they take turns.
_turn = threading.Lock()
_encoders: dict[tuple, handle.Encoder] = {}


def run_shard(shard: Shard) -> dict[str, str]:
    """Embeds a shard's items into the store; why items could not be read, by key.

    Raises:
        EvaluationError, HubError: the encoder fails or is not the one that was asked for; what was
            embedded before is kept.
    """
    with _turn:
        encoder = _encoder(shard.target)
        writer = ShardWriter(shard.target, {"interface": encoder.interface})
        try:
            return embed_items(shard.items, shard.target.plan, encoder, writer)
        finally:
            writer.flush()


def _encoder(target: Target) -> handle.Encoder:
    """Opened once per process."""
    interface = Interface(**target.description["interface"])
    # No other runtime takes its place here: the numbers are stored under this one's name.
    runtime = Runtime.of_description(target.description)
    key = (target.handle, target.description["model"], interface, runtime)
    if key not in _encoders:
        module = loader.locate(target.handle)
        # Numbers of another model under this one's name would be believed for ever.
        if module.content_hash() != target.description["model"]:
            raise EvaluationError(
                f"a worker finds another model at {target.handle} than the one to evaluate; all "
                "workers must reach the same module, and it must not change meanwhile"
            )
        _encoders[key] = handle.open_encoder(module, interface, runtime)
    return _encoders[key]
