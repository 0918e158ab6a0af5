"""The embedding phase: decode in parallel, window, embed in fixed-shape batches, store."""

import collections
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hares_tf.audio import AudioError
from hares_tf.evaluation.embeddings.store import ShardWriter
from hares_tf.evaluation.embeddings.windows import Plan, cut, window_samples
from hares_tf.evaluation.encoders.handle import Encoder
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.recordings.decoding import decoded_ahead
from hares_tf.recordings.sound import Sound

# Raise it when decoding, resampling or windowing changes what a model hears.
PREPROCESSING_VERSION = 2
# How the failure of an item begins whose own audio is fine.
PARTNER_UNREADABLE = "it was to be mixed with another clip: "
# A batch holds this much audio whatever the window length: 16 windows of 3 s.
BATCH_SECONDS = 48.0


def batch_size(window_seconds: float) -> int:
    """Windows per batch, so that the memory for activations does not depend on the task."""
    return max(1, round(BATCH_SECONDS / window_seconds))


@dataclass(frozen=True, slots=True)
class Item:
    """What is embedded and stored under one key: a clip, or a clip mixed with others.

    Attributes:
        key: names it in the store; decides, with the plan, what is heard.
        sound: the clip's audio.
        partners: for mixed windows the audio of each window's partner, else empty.
        shares: for mixed windows the share of the clip itself in each, else empty.
    """

    key: str
    sound: Sound
    partners: tuple[Sound, ...] = ()
    shares: tuple[float, ...] = ()

    def windows(self, plan: Plan, window: int, sample_rate: int) -> np.ndarray:
        """Decodes and cuts: `[windows, window]`; raises AudioError."""
        own = self._cut(self.sound, self.key, plan, window, sample_rate)
        for number, (partner, share) in enumerate(zip(self.partners, self.shares, strict=True)):
            key = f"{self.key} {number}"
            try:
                other = self._cut(partner, key, replace(plan, count=1), window, sample_rate)
            except AudioError as error:
                raise AudioError(f"{PARTNER_UNREADABLE}{error}") from error
            own[number] = share * own[number] + (1 - share) * other[0]
        return own

    @staticmethod
    def _cut(sound: Sound, key: str, plan: Plan, window: int, sample_rate: int) -> np.ndarray:
        waveform = sound.load(sample_rate)
        return cut(waveform, plan.starts(len(waveform), window, sample_rate, key), window)


def embed_items(
    items: Sequence[Item],
    plan: Plan,
    encoder: Encoder,
    writer: ShardWriter,
    on_done: Callable[[], None] = lambda: None,
) -> dict[str, str]:
    """Embeds items and writes their embeddings.

    Args:
        items: each key once.
        plan: the windows of each.
        encoder: the model. Every call has one shape; the last batch is filled up with silence.
        writer: takes the embeddings, item by item.
        on_done: called after each item, read or not.

    Returns:
        Why an item could not be read, by key.

    Raises:
        EvaluationError: the encoder gives NaN or infinite numbers, or fails; the clip is named.
    """
    failures: dict[str, str] = {}
    where_of = {item.key: item.sound.where for item in items}
    window = window_samples(plan.seconds, encoder.sample_rate)
    assembler = _BatchAssembler(encoder, window, batch_size(plan.seconds), where_of.get)

    def store(finished) -> None:
        for key, embeddings in finished:
            if not np.isfinite(embeddings).all():
                raise EvaluationError(
                    f"the encoder gives NaN or infinite embeddings for {where_of[key]}"
                )
            writer.add(key, embeddings)
            on_done()

    for key, windows in _decoded(items, plan, window, encoder.sample_rate):
        if isinstance(windows, AudioError):
            failures[key] = str(windows)
            on_done()
            continue
        store(assembler.add(key, windows))
    store(assembler.finish())
    return failures


def _decoded(
    items: Sequence[Item], plan: Plan, window: int, sample_rate: int
) -> Iterator[tuple[str, np.ndarray | AudioError]]:
    """(key, windows or why there are none) of each item, in order."""

    def decode(item: Item) -> np.ndarray | AudioError:
        try:
            return item.windows(plan, window, sample_rate)
        except AudioError as error:
            return error

    def size_of(item: Item) -> int:
        return item.sound.decoded_bytes(sample_rate)

    for item, windows in decoded_ahead(items, decode, size_of):
        yield item.key, windows


def embed_batch(encoder: Encoder, batch: np.ndarray, beginning: str) -> np.ndarray:
    """Calls an encoder; whatever a foreign module does wrong becomes a sentence.

    Args:
        encoder: the model.
        batch: float32 `[batch, samples]`.
        beginning: what the batch begins with, for the message.

    Returns:
        float32 `[batch, dim]`.

    Raises:
        EvaluationError: the encoder fails, or gives another shape.
    """
    try:
        embeddings = encoder.embed(batch)
    except EvaluationError:
        raise
    except Exception as error:  # a foreign module may raise anything
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise EvaluationError(
            f"the encoder fails on a batch of shape {batch.shape} that begins with {beginning} "
            f"({type(error).__name__}: {reason[:200]}); if it takes one length only, give "
            "--window_samples"
        ) from error
    wanted = encoder.interface.get("embedding_size")
    if embeddings.ndim != 2 or len(embeddings) != len(batch) or not embeddings.size:
        raise EvaluationError(
            f"the encoder gave shape {embeddings.shape} for a batch of {len(batch)}"
        )
    if wanted is not None and embeddings.shape[1] != wanted:
        raise EvaluationError(
            f"the encoder gave {embeddings.shape[1]} features for a batch that begins with "
            f"{beginning}, and {wanted} before"
        )
    return embeddings


class _BatchAssembler:
    """Packs the windows of successive clips into batches of one shape."""

    def __init__(self, encoder: Encoder, window: int, batch: int, name_of: Callable):
        self._encoder = encoder
        self._name_of = name_of
        self._buffer = np.zeros((batch, window), np.float32)
        self._filled = 0
        # Clips whose windows are not all embedded yet: (key, windows wanted, embeddings so far).
        self._open: collections.deque[tuple[object, int, list[np.ndarray]]] = collections.deque()

    def add(self, key, windows: np.ndarray) -> Iterator[tuple[object, np.ndarray]]:
        """Adds a clip's `[windows, samples]`; gives the clips that are complete now."""
        self._open.append((key, len(windows), []))
        position = 0
        while position < len(windows):
            take = min(len(windows) - position, len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + take] = windows[position : position + take]
            self._filled += take
            position += take
            if self._filled == len(self._buffer):
                yield from self._run()

    def finish(self) -> Iterator[tuple[object, np.ndarray]]:
        """Embeds what is left, filled up with silence."""
        if self._filled:
            self._buffer[self._filled :] = 0
            yield from self._run()

    def _run(self) -> Iterator[tuple[object, np.ndarray]]:
        embeddings = embed_batch(self._encoder, self._buffer, self._name_of(self._open[0][0]))
        embeddings = embeddings[: self._filled]
        self._filled = 0
        while len(embeddings) and self._open:
            key, wanted, parts = self._open[0]
            missing = wanted - sum(map(len, parts))
            parts.append(embeddings[:missing])
            embeddings = embeddings[missing:]
            if missing > len(parts[-1]):
                return
            self._open.popleft()
            yield key, np.concatenate(parts)
