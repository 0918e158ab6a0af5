"""Embeddings and scores of clips, window by window, in batches of one shape."""

import os
from collections.abc import Iterator, Sequence

import numpy as np

from hares_tf.evaluation.embeddings.embedding import batch_size
from hares_tf.evaluation.embeddings.windows import window_samples
from hares_tf.evaluation.encoders.encoder import Encoder
from hares_tf.evaluation.heads.examples import matrix
from hares_tf.finetune.clips import Audio, Clip, n_tiles, window_batches
from hares_tf.finetune.errors import NotFiniteError
from hares_tf.finetune.head import Embedded
from hares_tf.utils.progress import Progress


class WindowEmbedder:
    """Embeds the tiles of clips, with the encoder's variables as they are at the time.

    Args:
        encoder: the module's embeddings.
        audio: the decoded clips.
        seconds: length of a window.
        scratch: folder for large temporary matrices.
        progress: shows how many windows are embedded.
    """

    def __init__(
        self,
        encoder: Encoder,
        audio: Audio,
        seconds: float,
        scratch: str | os.PathLike,
        progress: Progress,
    ):
        self._encoder, self._audio, self._seconds = encoder, audio, seconds
        self._window = window_samples(seconds, encoder.sample_rate)
        self._scratch, self._progress = scratch, progress

    def embeddings(self, clips: Sequence[Clip], name: str) -> Embedded:
        """Embeddings of all windows, to fit a head on; `name` of the clips is shown."""
        rows = np.array([n_tiles(clip, self._window) for clip in clips])
        size = self._encoder.interface["embedding_size"]
        every = matrix(int(rows.sum()), size, self._scratch)
        position = 0
        for embeddings, _ in self._embedded(clips, name):
            every[position : position + len(embeddings)] = embeddings
            position += len(embeddings)
        return Embedded(every, rows, targets_of(clips))

    def clip_logits(
        self, clips: Sequence[Clip], dense: tuple[np.ndarray, np.ndarray], name: str = ""
    ) -> np.ndarray:
        """Mean logits over the windows of each clip, `[clips, classes]`.

        Args:
            clips: the clips.
            dense: kernel `[dim, classes]` and bias `[classes]`.
            name: name of the clips in the progress; "" shows none.
        """
        kernel, bias = dense
        sums = np.zeros((len(clips), len(bias)))
        for embeddings, owners in self._embedded(clips, name):
            np.add.at(sums, owners, embeddings @ kernel + bias)
        return sums / np.array([[n_tiles(clip, self._window)] for clip in clips])

    def _embedded(
        self, clips: Sequence[Clip], name: str
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields embeddings of a batch of windows, and the number of the clip of each."""
        total = sum(n_tiles(clip, self._window) for clip in clips)
        progress = self._progress if name else Progress("none")
        # One size for all parts: every further shape would be a further graph.
        size = batch_size(self._seconds)
        with progress.phase("encoder", f"embed {name}", total, "window") as bar:
            batches = window_batches(self._audio, clips, self._window, size, bar.update)
            for windows, owners in batches:
                first = clips[owners[0]].id
                embeddings = self._encoder.embed(windows, first)[: len(owners)]
                finite = np.isfinite(embeddings).all(axis=1)
                if not finite.all():
                    raise NotFiniteError(
                        "The encoder gives NaN or infinite embeddings for "
                        f"{clips[owners[np.argmin(finite)]].id}. Look at it with "
                        "hares-check-handle."
                    )
                yield embeddings, owners


def targets_of(clips: Sequence[Clip]) -> np.ndarray:
    """`[clips]` classes."""
    return np.array([clip.label for clip in clips])
