"""Composition of clips whose scores change with errors of the evaluation.

A clip has sounds and beds; a bed is a noise band at frequencies that the sounds do not use.

* The *right* sound, that of the clip's label, lasts longest in the clip as a whole. In one window,
  mostly the first, an *intruder* (the sound of another label) lasts longer than the right one does
  in any window. The mean over all windows finds the right sound; their maximum, or the first window
  alone, finds the intruder.
* A bed keeps its level ("steady"), or is loud in one half of every window and soft in the other
  ("within"), or loud in every second window ("between"). The means over a clip do not differ.
  Windows of the right length see "within" as a deviation, and nothing else; those of half the
  length do not see it, those of twice the length see it in "between", too.

A label stands for a sound and a pattern, so that both are needed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hares_tf.evaluation.mini.synthesis import SAMPLE_RATE, amplitude, band, faded, noise, normalize

Render = Callable[[np.random.Generator, int], np.ndarray]


@dataclass(frozen=True)
class Shares:
    """The share of a window that each sound fills.

    Attributes:
        intruder: of the intruder in its window.
        beside: of the right sound in that window.
        elsewhere: of the right sound in all other windows.
        thinnest: lower limit of a random factor on all shares of a clip; the upper one is 1. It
            hides that the intruder is denser than the right sound.
    """

    intruder: float
    beside: float
    elsewhere: float
    thinnest: float = 1.0


# By the length of a clip in windows, of which the last may be cut short; the first entry that is
# not shorter counts. The right sound's sum is always the larger one; from two windows on, the
# intruder's maximum is.
_SHARES = {
    1.0: Shares(0.4, 0.6, 0.0),
    2.0: Shares(0.68, 0.32, 0.6),
    3.5: Shares(0.85, 0.1, 0.6),
    100.0: Shares(0.95, 0.0, 0.55, thinnest=0.5),
}
# How often the intruder has the first window.
_FIRST = 0.85
# A window is cut into so many pieces; each holds its share of every sound.
_PIECES = 6


@dataclass(frozen=True)
class Bed:
    """A band of noise below the sounds.

    Attributes:
        low, high: its edges in hertz.
        pattern: "steady", "within" or "between".
        window: length in seconds of the windows that the pattern is about.
        depth: decibels above and below its middle level.
        level: decibels relative to the sounds.
    """

    low: float
    high: float
    pattern: str
    window: float
    depth: float = 10.0
    level: float = -6.0


def compose(
    random: np.random.Generator,
    seconds: float,
    window: float,
    right: Sequence[Render],
    intruders: Sequence[Render],
    beds: Sequence[Bed],
    background: tuple[float, float] = (12.0, 22.0),
) -> np.ndarray:
    """Generates a clip `[samples]` at 16 kHz.

    Args:
        random: draws all other properties.
        seconds: length of the clip.
        window: length of the task's windows in seconds.
        right: the sounds of the clip's labels.
        intruders: sounds of other labels.
        beds: noise bands below the sounds.
        background: range of the decibels by which further noise lies below the sounds.
    """
    samples, length = round(seconds * SAMPLE_RATE), round(window * SAMPLE_RATE)
    windows = -(-samples // length)
    shares = next(shares for most, shares in _SHARES.items() if samples <= most * length)
    # Never in a last window that is cut short.
    hot = 0 if random.random() < _FIRST else int(random.integers(max(1, samples // length)))
    of_right, of_intruder = np.full(windows, shares.elsewhere), np.zeros(windows)
    of_right[hot], of_intruder[hot] = shares.beside, shares.intruder
    density = random.uniform(shares.thinnest, 1.0)
    of_right, of_intruder = density * of_right, density * of_intruder
    clip = np.zeros(samples)
    for sound in right:
        clip += _in_pieces(random, sound, samples, length, of_right)
    for sound in intruders:
        clip += _in_pieces(random, sound, samples, length, of_intruder, late=True)
    for bed in beds:
        clip += _bed(random, bed, samples)
    # Not in the bands of the beds, where it would hide their soft parts.
    hiss = noise(random, samples, band(250, random.uniform(1000, 3500)))
    clip += amplitude(-random.uniform(*background)) * normalize(hiss)
    return normalize(clip, random.uniform(0.04, 0.1))


def _in_pieces(random, sound: Render, samples: int, length: int, shares, late=False) -> np.ndarray:
    """Returns a sound of level about 1 that fills its share of every piece, from start or end."""
    track = np.zeros(samples)
    level, piece = amplitude(random.uniform(-2, 2)), length / _PIECES
    for number in range(int(np.ceil(samples / piece))):
        share = shares[number // _PIECES]
        start = (number + (1 - share if late else 0)) * piece
        first, last = round(start), min(round(start + share * piece), samples)
        if last > first:
            track[first:last] += level * faded(normalize(sound(random, last - first)))
    return track


def _bed(random, bed: Bed, samples: int) -> np.ndarray:
    steps_per_window = {"steady": 0, "within": 2, "between": 1}[bed.pattern]
    step = (np.arange(samples) * (steps_per_window / (bed.window * SAMPLE_RATE))).astype(int)
    up = random.choice((-1, 1)) * np.where(step % 2 == 0, 1, -1) * (steps_per_window > 0)
    sound = normalize(noise(random, samples, band(bed.low, bed.high)))
    # A random level, so that the level does not tell the label.
    return amplitude(bed.level + random.uniform(-4, 4) + bed.depth * up) * sound
