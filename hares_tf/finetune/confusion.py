"""The confusion matrix as a picture: an SVG file that follows the reader's light or dark scheme.

Rows are the true classes, columns what was said. A cell shows a number of clips; its shade is the
share of the row, so that classes with many clips do not outshine the others.
"""

import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
from markupsafe import Markup, escape

from hares_tf.evaluation.report.svg import element, label, line, shorten

# Sizes in pixels. Cells shrink with the number of classes, down to where a number can be read.
_LARGEST_CELL, _SMALLEST_CELL = 46.0, 20.0
_WHOLE = 640.0
_LETTERS = 28
_TITLE_LETTERS = 70
_MARGIN = 14.0
_RECALL = 58.0
_TITLE = 64.0
# Above this share of the row the cell is so dark (light, in the dark scheme) that its number turns.
_TURN = 0.55

# Plain colors: viewers and converters outside browsers know neither variables nor schemes, and
# take what is said first.
_STYLE = """
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  fill: #1c2530 }
.soft { fill: #5b6673 } .on { fill: #ffffff } .paper { fill: #ffffff } .cell { fill: #1b5e9e }
.grid { stroke: #dfe4ea; stroke-width: 1 }
.diagonal { fill: none; stroke: #1b5e9e; stroke-opacity: 0.55; stroke-width: 1 }
.title { font-size: 16px; font-weight: 600 } .axis { font-size: 12px }
@media (prefers-color-scheme: dark) {
  text { fill: #e6ebf1 } .soft { fill: #9aa7b5 } .on { fill: #0c1218 } .paper { fill: #14191f }
  .cell { fill: #7db8f0 } .grid { stroke: #333d48 } .diagonal { stroke: #7db8f0 } }
"""


def confusion_svg(counts: np.ndarray, classes: Sequence[str], title: str, note: str = "") -> str:
    """Draws the matrix.

    Args:
        counts: `[true class, predicted class]` numbers of clips.
        classes: their names.
        title: in the first line.
        note: in the second; ours, so it fits and is clean.

    Returns:
        A whole SVG document.
    """
    n = len(classes)
    title = shorten(_one_line(title), _TITLE_LETTERS)
    cell = min(_LARGEST_CELL, max(_SMALLEST_CELL, _WHOLE / n))
    font = min(13.0, 0.52 * cell)
    names = [shorten(_one_line(name), _LETTERS) for name in classes]
    room = max(map(_width, names)) * font + 10
    left, top = _MARGIN + 18 + room, _TITLE + 18 + room
    right, bottom = left + n * cell, top + n * cell
    width = max(right + _RECALL + _MARGIN, 2 * _MARGIN + max(16 * _width(title), 12 * _width(note)))
    height = bottom + _MARGIN
    parts = [
        element("style", None, Markup(_STYLE)),
        _box(0, 0, width, height, "paper"),
        label(_MARGIN, 26, title, "title"),
        label(_MARGIN, 46, note, "axis soft"),
        label((left + right) / 2, _TITLE + 12, "predicted", "axis soft", "middle"),
        _turned(_MARGIN + 8, (top + bottom) / 2, "true class", 12, "axis soft", "middle"),
        _sized(right + _RECALL, top - 6, "recall", min(font, 12), "soft", "end"),
    ]
    for index in range(n + 1):
        parts.append(line(left + index * cell, top, left + index * cell, bottom, "grid"))
        parts.append(line(left, top + index * cell, right, top + index * cell, "grid"))
    for index, name in enumerate(names):
        middle = (index + 0.5) * cell
        parts.append(_sized(left - 6, top + middle + 0.35 * font, name, font, "", "end"))
        parts.append(_turned(left + middle + 0.35 * font, top - 6, name, font))
    parts += _cells(counts, classes, left, top, cell, font)
    for index, row in enumerate(counts):
        share = f"{100 * row[index] / row.sum():.0f}%" if row.sum() else "–"
        y = top + (index + 0.5) * cell + 0.35 * font
        parts.append(_sized(right + _RECALL, y, share, font, "soft", "end"))
    drawing = element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {width:g} {height:g}",
            "width": float(width),
            "height": float(height),
            "role": "img",
            "aria-label": f"{title}. Rows: true classes, columns: predicted classes.",
        },
        *parts,
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{drawing}\n'


def _cells(
    counts: np.ndarray, classes: Sequence[str], left: float, top: float, cell: float, font: float
) -> Iterator[Markup]:
    """Draws the cells with clips, and a frame around each cell of the diagonal."""
    totals = counts.sum(axis=1)
    for true, said in zip(*np.nonzero(counts), strict=True):
        count, share = int(counts[true, said]), counts[true, said] / totals[true]
        x, y = left + said * cell, top + true * cell
        hint = f"{classes[true]} → {classes[said]}: {count} of {totals[true]} ({100 * share:.0f}%)"
        yield element(
            "g",
            None,
            element("title", None, escape(_one_line(hint))),
            _box(x, y, cell, cell, "cell", {"fill-opacity": float(max(share, 0.03))}),
            _sized(
                x + cell / 2,
                y + cell / 2 + 0.35 * font,
                str(count),
                # Long numbers get smaller letters: a digit is about 0.6 of the size wide.
                min(font, (cell - 3) / (0.6 * len(str(count)))),
                "on" if share > _TURN else "",
                "middle",
            ),
        )
    for index in range(len(classes)):
        yield _box(left + index * cell, top + index * cell, cell, cell, "diagonal")


def _box(x: float, y: float, width: float, height: float, kind: str, more: dict | None = None):
    place = {"x": float(x), "y": float(y), "width": float(width), "height": float(height)}
    return element("rect", {**place, "class": kind, **(more or {})})


def _sized(x: float, y: float, words: str, size: float, kind: str = "", anchor: str = "start"):
    place = {"x": float(x), "y": float(y), "font-size": float(size)}
    return element("text", {**place, "class": kind, "text-anchor": anchor}, escape(words))


def _turned(x: float, y: float, words: str, size: float, kind: str = "", anchor: str = "start"):
    turn = f"translate({x:.2f} {y:.2f}) rotate(-90)"
    attributes = {"transform": turn, "font-size": float(size), "class": kind}
    return element("text", {**attributes, "text-anchor": anchor}, escape(words))


def _one_line(name: str) -> str:
    """Names of folders may hold anything; control characters are not allowed in XML."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)


def _width(text: str) -> float:
    """About how wide a text is, in font sizes: East Asian letters are twice as wide as others."""
    return sum(1.0 if unicodedata.east_asian_width(c) in "WF" else 0.6 for c in text)
