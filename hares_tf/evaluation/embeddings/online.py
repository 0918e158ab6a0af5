"""Crops that are embedded while a head trains: the paper's protocol without any cache.

Every step of training embeds the crops it sees, which is what the paper did, and what the cached
views of `paper(K=...)` approximate. It costs as many passes of the encoder as there are examples in
all steps (25.6 million for 400k steps of 64).
"""

import numpy as np

from hares_tf.audio import AudioError
from hares_tf.evaluation.embeddings.embedding import batch_size, embed_batch
from hares_tf.evaluation.embeddings.windows import MIXING_BETA, cut, random_of, window_samples
from hares_tf.evaluation.encoders.handle import Encoder
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks.preparing import Selection

# Decoded audio that is kept between steps, in bytes; small data sets fit whole.
_KEPT_BYTES = 2**30


class OnlineCrops:
    """Embeds one random crop of each clip that it is asked for.

    Args:
        selection: the training clips, under an "online" plan.
        encoder: the model.
    """

    def __init__(self, selection: Selection, encoder: Encoder):
        self._items, self._plan, self._encoder = selection.items, selection.plan, encoder
        manifest = selection.prepared.manifest
        self._targets = manifest.labels.targets([manifest.clips[i].label for i in selection.clips])
        self._window = window_samples(self._plan.seconds, encoder.sample_rate)
        self._waveforms: dict[int, np.ndarray] = {}
        self._kept_bytes = 0

    def __call__(self, clips: np.ndarray, draw: int) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings `[n, dim]` and targets `[n, ...]` of one crop of each clip.

        Args:
            clips: `[n]` positions among the training clips.
            draw: numbers the draws; crops are a pure function of it, the clips and the seed.

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
        """In batches of the size that everything else is embedded in."""
        size = batch_size(self._plan.seconds)
        found = []
        for start in range(0, len(crops), size):
            batch = crops[start : start + size]
            padded = np.zeros((size, self._window), np.float32)
            padded[: len(batch)] = batch
            embeddings = embed_batch(self._encoder, padded, "crops for training")[: len(batch)]
            if not np.isfinite(embeddings).all():
                raise EvaluationError("the encoder gives NaN or infinite embeddings for a crop")
            found.append(embeddings)
        return np.concatenate(found)

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
                f"{error} With --views=online every training clip must be readable; cached views "
                "count such clips and go on."
            ) from error
        if self._kept_bytes + waveform.nbytes <= _KEPT_BYTES:
            self._waveforms[clip] = waveform
            self._kept_bytes += waveform.nbytes
        return waveform
