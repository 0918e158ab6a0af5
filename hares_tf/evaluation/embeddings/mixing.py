"""Example mixing: windows of two clips added, their labels shared out.

A window x_i becomes r x_i + (1 - r) x_j and its labels r y_i + (1 - r) y_j, with r from Beta(5, 2)
as drawn and clip j drawn from the clips of the same part (same split, same fold: no test clip is
ever heard in training). Mixing happens between waveforms, so mixed windows have to be embedded as
such.

Partners and shares are a pure function of the clips and the seed.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hares_tf.evaluation.embeddings.windows import MIXING_BETA, random_of


@dataclass(frozen=True)
class Mixture:
    """What the windows of one clip are mixed with.

    Attributes:
        key: names the clip together with its partners.
        partners: `[windows]` positions of the partners in the list of clips.
        shares: `[windows]` r, the share of the clip itself.
    """

    key: str
    partners: np.ndarray
    shares: np.ndarray


def mixtures(
    digests: Sequence[str], parts: Sequence[str], windows_per_clip: int, seed: int
) -> list[Mixture]:
    """The mixtures of a list of clips.

    Args:
        digests: of the clips' audio.
        parts: split or fold of each clip.
        windows_per_clip: windows that each clip gives.
        seed: of the draws.
    """
    parts = np.asarray(parts)
    members = {part: np.flatnonzero(parts == part) for part in set(parts.tolist())}
    found = []
    for digest, part in zip(digests, parts, strict=True):
        random = random_of(f"mixture {digest}", seed)
        partners = random.choice(members[part], windows_per_clip)
        shares = random.beta(*MIXING_BETA, windows_per_clip)
        text = " ".join(
            [digest, *(digests[partner] for partner in partners), repr(shares.tolist())]
        )
        key = hashlib.sha256(text.encode()).hexdigest()
        found.append(Mixture(key, partners, shares))
    return found


def mixed_targets(targets: np.ndarray, own: int, mixture: Mixture) -> np.ndarray:
    """Soft targets `[windows, tags]` of a mixed clip.

    Args:
        targets: float32 `[clips, tags]`.
        own: position of the clip.
        mixture: its mixture.
    """
    shares = mixture.shares[:, None].astype(np.float32)
    return shares * targets[own] + (1 - shares) * targets[mixture.partners]


def louder_targets(targets: np.ndarray, own: int, mixture: Mixture) -> np.ndarray:
    """Targets `[windows, groups]` for heads that know no soft labels: those of the larger share."""
    return np.where((mixture.shares >= 0.5)[:, None], targets[own][None], targets[mixture.partners])
