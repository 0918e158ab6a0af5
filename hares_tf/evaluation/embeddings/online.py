"""Crops that are embedded while a head trains: the paper's protocol without cached embeddings.

Every training step embeds new crops, as in the paper; the cached views of `paper(K=...)`
approximate this. The encoder runs once per example of every step (25.6 million times for 400k
steps of 64).
"""

import numpy as np

from hares_tf.audio import AudioError
from hares_tf.evaluation.embeddings.embedding import batch_size
from hares_tf.evaluation.embeddings.selection import Selection
from hares_tf.evaluation.embeddings.windows import MIXING_BETA, cut, random_of, window_samples
from hares_tf.evaluation.encoders.encoder import Encoder
from hares_tf.evaluation.errors import EvaluationError

# Decoded audio that is kept between steps, in bytes; small data sets fit in completely.
_KEPT_BYTES = 2**30


class OnlineCrops:
    """Embeds one random crop of each of some training clips.

    Args:
        selection: the training clips, under an "online" plan.
        encoder: the model.
    """

    def __init__(self, selection: Selection, encoder: Encoder):
        self._items, self._plan, self._encoder = selection.items, selection.plan, encoder
        self._targets = selection.targets
        self._window = window_samples(self._plan.seconds, encoder.sample_rate)
        self._waveforms: dict[int, np.ndarray] = {}
        self._kept_bytes = 0

    def __call__(self, clips: np.ndarray, draw: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns embeddings `[n, dim]` and targets `[n, ...]` of one crop of each clip.

        Args:
            clips: `[n]` positions among the training clips.
            draw: number of the draw; crops are a pure function of it, the clips and the seed.

        Raises:
            EvaluationError: a clip cannot be read, or the encoder fails.
        """
        random = random_of(f"draw {draw}", self._plan.seed)
        crops = np.stack([self._crop(clip, random) for clip in clips])
        targets = self._targets[clips]
        if self._plan.mixing:
            partners = random.integers(0, len(self._items), len(clips))
            shares = random.beta(*MIXING_BETA, (len(clips), 1)).astype(np.float32)
            others = np.stack([self._crop(clip, random) for clip in partners])
            crops = shares * crops + (1 - shares) * others
            targets = shares * targets + (1 - shares) * self._targets[partners]
        return self._embed(crops), targets

    def _embed(self, crops: np.ndarray) -> np.ndarray:
        """Embeds crops in batches of the size of the embedding phase."""
        size = batch_size(self._plan.seconds)
        parts = []
        for start in range(0, len(crops), size):
            batch = crops[start : start + size]
            padded = np.zeros((size, self._window), np.float32)
            padded[: len(batch)] = batch
            embeddings = self._encoder.embed(padded, "crops for training")[: len(batch)]
            if not np.isfinite(embeddings).all():
                raise EvaluationError("The encoder returned NaN or infinite embeddings for a crop.")
            parts.append(embeddings)
        return np.concatenate(parts)

    def _crop(self, clip: int, random: np.random.Generator) -> np.ndarray:
        waveform = self._waveform(clip)
        start = random.integers(0, max(0, len(waveform) - self._window) + 1, 1)
        return cut(waveform, start, self._window)[0]

    def _waveform(self, clip: int) -> np.ndarray:
        if clip in self._waveforms:
            return self._waveforms[clip]
        try:
            waveform = self._items[clip].sound.load(self._encoder.sample_rate)
        except AudioError as error:
            raise EvaluationError(
                f"{error} With --views=online every training clip must be readable; with cached "
                "views such clips are counted and left out."
            ) from error
        if self._kept_bytes + waveform.nbytes <= _KEPT_BYTES:
            self._waveforms[clip] = waveform
            self._kept_bytes += waveform.nbytes
        return waveform
