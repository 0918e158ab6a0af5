"""The embedding phase: decodes in parallel, cuts windows, embeds in fixed-shape batches, stores."""

import collections
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hares_tf.audio import AudioError
from hares_tf.evaluation.embeddings.store import ShardWriter
from hares_tf.evaluation.embeddings.windows import Plan, cut, window_samples
from hares_tf.evaluation.encoders.encoder import Encoder
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.recordings.decoding import decoded_ahead
from hares_tf.recordings.sound import Sound

# Part of every store key: raise it when decoding, resampling or windows change.
PREPROCESSING_VERSION = 2
# Begins the reason of a failure where the item's own audio is readable.
PARTNER_UNREADABLE = "it was to be mixed with another clip: "
# Audio per batch, whatever the window length: 16 windows of 3 s.
BATCH_SECONDS = 48.0


def batch_size(window_seconds: float) -> int:
    """Returns the number of windows per batch.

    It keeps the memory for activations independent of the task.
    """
    return max(1, round(BATCH_SECONDS / window_seconds))


@dataclass(frozen=True, slots=True)
class Item:
    """A clip, or a clip mixed with others: what is stored under one key.

    Attributes:
        key: its name in the store; decides, together with the plan, the samples of the windows.
        sound: the clip's audio.
        partners: for mixed windows the audio of each window's partner, else empty.
        shares: for mixed windows the share of the clip itself in each, else empty.
    """

    key: str
    sound: Sound
    partners: tuple[Sound, ...] = ()
    shares: tuple[float, ...] = ()

    def windows(self, plan: Plan, window: int, sample_rate: int) -> np.ndarray:
        """Decodes the audio and returns its windows, float32 `[windows, window]`.

        Args:
            plan: the windows.
            window: length of a window in samples.
            sample_rate: in hertz.

        Raises:
            AudioError: the clip, or a partner, cannot be read.
        """
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
        encoder: the model. All calls have one shape; the last batch is filled up with silence.
        writer: takes the embeddings, item by item.
        on_done: called after each item, whether it could be read or not.

    Returns:
        Why items could not be read, by key.

    Raises:
        EvaluationError: the encoder fails, or returns NaN or infinite numbers; the message names
            the clip.
    """
    failures: dict[str, str] = {}
    where_of = {item.key: item.sound.where for item in items}
    window = window_samples(plan.seconds, encoder.sample_rate)
    assembler = _BatchAssembler(encoder, window, batch_size(plan.seconds), where_of.__getitem__)

    def store(finished: Iterator[tuple[str, np.ndarray]]) -> None:
        for key, embeddings in finished:
            if not np.isfinite(embeddings).all():
                raise EvaluationError(
                    f"The encoder returned NaN or infinite embeddings for {where_of[key]}."
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
    """Yields key and windows of each item, in order; the error instead if it cannot be read."""

    def decode(item: Item) -> np.ndarray | AudioError:
        try:
            return item.windows(plan, window, sample_rate)
        except AudioError as error:
            return error

    def size_of(item: Item) -> int:
        return item.sound.decoded_bytes(sample_rate)

    for item, windows in decoded_ahead(items, decode, size_of):
        yield item.key, windows


class _BatchAssembler:
    """Packs the windows of successive clips into batches of one shape."""

    def __init__(self, encoder: Encoder, window: int, batch: int, name_of: Callable[[str], str]):
        self._encoder = encoder
        self._name_of = name_of
        self._buffer = np.zeros((batch, window), np.float32)
        self._filled = 0
        # Clips of which windows are missing: (key, number of windows, embeddings so far).
        self._open: collections.deque[tuple[str, int, list[np.ndarray]]] = collections.deque()

    def add(self, key: str, windows: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Adds a clip's `[windows, samples]`; yields the clips that are complete then."""
        self._open.append((key, len(windows), []))
        position = 0
        while position < len(windows):
            take = min(len(windows) - position, len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + take] = windows[position : position + take]
            self._filled += take
            position += take
            if self._filled == len(self._buffer):
                yield from self._run()

    def finish(self) -> Iterator[tuple[str, np.ndarray]]:
        """Embeds the last batch, filled up with silence."""
        if self._filled:
            self._buffer[self._filled :] = 0
            yield from self._run()

    def _run(self) -> Iterator[tuple[str, np.ndarray]]:
        embeddings = self._encoder.embed(self._buffer, self._name_of(self._open[0][0]))
        embeddings = embeddings[: self._filled]
        self._filled = 0
        while len(embeddings) and self._open:
            key, total, parts = self._open[0]
            missing = total - sum(map(len, parts))
            parts.append(embeddings[:missing])
            embeddings = embeddings[missing:]
            if missing > len(parts[-1]):
                return
            self._open.popleft()
            yield key, np.concatenate(parts)
