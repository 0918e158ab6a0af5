"""The embedding phase: decode in parallel, window, embed in fixed-shape batches, store."""

import collections
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile

from hares_tf.audio import AudioError, load_audio
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.handle import Encoder
from hares_tf.evaluation.store import ShardWriter
from hares_tf.evaluation.tasks import Clip
from hares_tf.evaluation.windows import tile

# Raise it when decoding, resampling or windowing changes what a model hears.
PREPROCESSING_VERSION = 1
# A batch holds this much audio whatever the window length: 16 windows of 3 s.
BATCH_SECONDS = 48.0
# Decoded bytes that may wait for the encoder; a longer recording is decoded alone.
_AHEAD_BYTES = 256 * 2**20


def batch_size(window_seconds: float) -> int:
    """Windows per batch, so that the memory for activations does not depend on the task."""
    return max(1, round(BATCH_SECONDS / window_seconds))


def embed_clips(
    clips: Sequence[Clip],
    digests: Sequence[str],
    encoder: Encoder,
    window: int,
    batch: int,
    writer: ShardWriter,
    on_done: Callable[[], None] = lambda: None,
) -> dict[str, str]:
    """Embeds clips and writes their embeddings.

    Args:
        clips, digests: the clips and the digests that name them in the store; each digest once.
        encoder: the model.
        window: window length in samples at the encoder's sample rate.
        batch: windows per call; the last batch is filled up with silence, so that every call has
            one shape.
        writer: takes the embeddings, clip by clip.
        on_done: called after each clip, read or not.

    Returns:
        Why a clip could not be read, by digest.

    Raises:
        EvaluationError: the encoder gives NaN or infinite numbers, or fails; the clip is named.
    """
    failures: dict[str, str] = {}
    path_of = {digest: clip.path for clip, digest in zip(clips, digests, strict=True)}
    assembler = _BatchAssembler(encoder, window, batch, path_of.get)

    def store(finished) -> None:
        for digest, embeddings in finished:
            if not np.isfinite(embeddings).all():
                raise EvaluationError(
                    f"the encoder gives NaN or infinite embeddings for {path_of[digest]}"
                )
            writer.add(digest, embeddings)
            on_done()

    for digest, waveform in _decoded(clips, digests, encoder.sample_rate):
        if isinstance(waveform, AudioError):
            failures[digest] = str(waveform)
            on_done()
            continue
        store(assembler.add(digest, tile(waveform, window)))
    store(assembler.finish())
    return failures


def _decoded(
    clips: Sequence[Clip], digests: Sequence[str], sample_rate: int
) -> Iterator[tuple[str, np.ndarray | AudioError]]:
    """Decodes in threads, in order, a bounded way ahead.

    Threads do, because libsndfile and soxr release Python's lock. Memory is bounded by the number
    of clips and by their decoded size, which their headers tell.
    """

    def decode(clip: Clip) -> np.ndarray | AudioError:
        try:
            return load_audio(clip.path, sample_rate)
        except AudioError as error:
            return error

    workers = os.cpu_count() or 1
    ahead: collections.deque[tuple[str, int, Future]] = collections.deque()
    ahead_bytes = 0
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        try:
            for clip, digest in zip(clips, digests, strict=True):
                size = _decoded_bytes(clip.path, sample_rate)
                while ahead and (len(ahead) >= 32 * workers or ahead_bytes + size > _AHEAD_BYTES):
                    done, done_size, future = ahead.popleft()
                    ahead_bytes -= done_size
                    yield done, future.result()
                ahead.append((digest, size, pool.submit(decode, clip)))
                ahead_bytes += size
            while ahead:
                done, _, future = ahead.popleft()
                yield done, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _decoded_bytes(path: Path, sample_rate: int) -> int:
    """What decoding and resampling a file will hold in memory, by its header; 0 if unreadable."""
    try:
        info = soundfile.info(str(path))
    except (soundfile.SoundFileError, OSError, TypeError, ValueError):
        # By a path, soundfile believes the ending: TypeError for .raw. `load_audio` has the word.
        return 0
    return 4 * round(info.frames * (info.channels + sample_rate / max(1, info.samplerate)))


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
        try:
            embeddings = self._encoder.embed(self._buffer)
        except Exception as error:  # a foreign module may raise anything
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            raise EvaluationError(
                f"the encoder fails on a batch of shape {self._buffer.shape} that begins with "
                f"{self._name_of(self._open[0][0])} ({type(error).__name__}: {reason[:200]}); "
                "if it takes one length only, give --window_samples"
            ) from error
        if embeddings.ndim != 2 or len(embeddings) != len(self._buffer) or not embeddings.size:
            raise EvaluationError(
                f"the encoder gave shape {embeddings.shape} for a batch of {len(self._buffer)}"
            )
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
