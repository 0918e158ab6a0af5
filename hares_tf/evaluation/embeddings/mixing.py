"""Example mixing: adds windows of two clips, and mixes their labels in the same shares.

A window x_i becomes r x_i + (1 - r) x_j and its labels r y_i + (1 - r) y_j, with r drawn from
Beta(5, 2), and clip j from the clips of the same part (split or fold), so that no test clip is used
in training. Waveforms are mixed, not embeddings: every mixed window has to be embedded.

Partners and shares are a pure function of the clips and the seed.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hares_tf.evaluation.embeddings.windows import MIXING_BETA, random_of


@dataclass(frozen=True)
class Mixture:
    """The partners of the windows of one clip.

    Attributes:
        key: name of the clip together with its partners.
        partners: `[windows]` positions of the partners in the list of clips.
        shares: `[windows]` r, the share of the clip itself.
    """

    key: str
    partners: np.ndarray
    shares: np.ndarray


def mixtures(
    digests: Sequence[str], parts: Sequence[str], windows_per_clip: int, seed: int
) -> list[Mixture]:
    """Returns the mixtures of a list of clips.

    Args:
        digests: of the clips' audio.
        parts: split or fold of each clip.
        windows_per_clip: number of windows of each clip.
        seed: of the draws.
    """
    part_of = np.asarray(parts)
    members = {part: np.flatnonzero(part_of == part) for part in set(parts)}
    drawn = []
    for digest, part in zip(digests, parts, strict=True):
        random = random_of(f"mixture {digest}", seed)
        partners = random.choice(members[part], windows_per_clip)
        shares = random.beta(*MIXING_BETA, windows_per_clip)
        text = " ".join(
            [digest, *(digests[partner] for partner in partners), repr(shares.tolist())]
        )
        key = hashlib.sha256(text.encode()).hexdigest()
        drawn.append(Mixture(key, partners, shares))
    return drawn


def mixed_targets(targets: np.ndarray, own: int, mixture: Mixture) -> np.ndarray:
    """Returns the soft targets of a mixed clip, float32 `[windows, tags]`.

    Args:
        targets: float32 `[clips, tags]`.
        own: position of the clip.
        mixture: its mixture.
    """
    shares = mixture.shares[:, None].astype(np.float32)
    return shares * targets[own] + (1 - shares) * targets[mixture.partners]


def louder_targets(targets: np.ndarray, own: int, mixture: Mixture) -> np.ndarray:
    """Returns the targets of the clip with the larger share in each window, `[windows, groups]`.

    For heads without soft labels. Arguments as in `mixed_targets`.
    """
    return np.where((mixture.shares >= 0.5)[:, None], targets[own][None], targets[mixture.partners])
