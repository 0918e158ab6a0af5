"""Does something that says nothing about a sound, such as its length, predict its label?

Where clips of one label are longer than others, a head may learn how much silence a window ends
with, and how many windows there are. The score then says little about the embeddings.
"""

import numpy as np
from numpy.typing import ArrayLike

_BINS = 10
# A warning needs this gain over the most frequent label, and so many standard errors of it.
_GAIN, _STANDARD_ERRORS = 0.1, 3.0
_FEWEST = 20


def warn_if_predicted(name: str, values: ArrayLike, labels: ArrayLike) -> str | None:
    """Returns a sentence if a number predicts the label of clips, else None.

    A lookup table from the number, in ten bins of about equal size, to the most frequent label is
    made of every other clip and tried on the rest.

    Args:
        name: what the number is, the subject of the sentence.
        values: one for each clip.
        labels: the class of each clip.
    """
    numbers, classes = np.asarray(values, float), np.asarray(labels)
    if len(numbers) < _FEWEST or len(np.unique(numbers)) < 2:
        return None
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, _BINS + 1)[1:-1]))
    bins = np.searchsorted(edges, numbers, side="left")
    # By label, so that both halves have all labels; by value, so that they have all bins.
    order = np.lexsort((numbers, classes))
    seen, tried = order[::2], order[1::2]
    usual = np.bincount(classes[seen]).argmax()
    table = {
        number: np.bincount(classes[seen][bins[seen] == number]).argmax()
        for number in np.unique(bins[seen])
    }
    guesses = np.array([table.get(number, usual) for number in bins[tried]])
    accuracy = float(np.mean(guesses == classes[tried]))
    base = float(np.mean(usual == classes[tried]))
    error = np.sqrt(max(accuracy * (1 - accuracy), 1 / len(tried)) / len(tried))
    if accuracy - base < max(_GAIN, _STANDARD_ERRORS * error):
        return None
    return (
        f"{name} alone tells the label of {100 * accuracy:.0f}% of the clips (the most frequent "
        f"label: {100 * base:.0f}%), so the score may say little about the embeddings; cut the "
        "clips to one length"
    )
