"""Figure of a confusion matrix."""

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from hares_tf.evaluation.report.scatter import amount
from hares_tf.evaluation.report.svg import element, label, shorten, text_width

_LEVELS = 8  # shades
_LONGEST_NAME = 120  # names of classes are whole up to here; longer ones are no names
_LONGEST_COLUMN = 24  # columns have numbers where a name is longer
_TITLE = "true class ↓   answer →"


def matrix(names: Sequence[str], counts: Sequence[Sequence[int]], description: str) -> Markup:
    """Returns a confusion matrix: true classes down, answers across, shaded by share of the row.

    Every shade is one path, so that fifty classes stay small; counts are written where they fit.
    """
    n = len(names)
    size = float(max(14, min(36, 480 // n)))
    font = min(11.0, size * 0.8)
    rows = [shorten(name, _LONGEST_NAME) for name in names]
    columns = rows
    if max(map(len, rows)) > _LONGEST_COLUMN:
        columns = [str(number) for number in range(1, n + 1)]
        rows = [f"{name} · {number}" for name, number in zip(rows, columns, strict=True)]
    left = max(12 + max(text_width(name, font) for name in rows), text_width(_TITLE, 10))
    top = 30 + max(text_width(name, font) for name in columns)
    frame = {"x": left, "y": top, "width": n * size, "height": n * size, "class": "frame"}
    parts = [label(0, 14, _TITLE, "tick"), element("rect", frame)]
    parts += _shades(counts, left, top, size)
    style = {"style": f"font-size:{font:g}px"}
    for i, (row, column) in enumerate(zip(rows, columns, strict=True)):
        x, y = (start + (i + 0.5) * size + font * 0.35 for start in (left, top))
        place = {"x": left - 6, "y": y, "text-anchor": "end"}
        parts.append(element("text", {**place, **style}, escape(row)))
        turned = {"transform": f"translate({x:g} {top - 6:g}) rotate(-90)", **style}
        parts.append(element("text", turned, escape(column)))
    if size >= 22:
        parts += _numbers(counts, left, top, size)
    width, height = left + n * size + 4, top + n * size + 4
    attributes = {
        "viewBox": f"0 0 {width:g} {height:g}",
        "width": width,
        "height": height,
        "class": "matrix",
        "role": "img",
        "aria-label": description,
    }
    return element("svg", attributes, *parts)


def _shades(counts: Sequence[Sequence[int]], left: float, top: float, size: float) -> list[Markup]:
    parts = []
    for right in (True, False):
        shades: dict[int, list[str]] = {}
        for i, row in enumerate(counts):
            for j, count in enumerate(row):
                if count and (i == j) == right:
                    shades.setdefault(math.ceil(_LEVELS * count / sum(row)), []).append(
                        f"M{left + j * size:g} {top + i * size:g}h{size:g}v{size:g}h-{size:g}z"
                    )
        for level, cells in sorted(shades.items()):
            attributes = {
                "d": "".join(cells),
                "class": "right" if right else "wrong",
                "fill-opacity": f"{level / _LEVELS:.3g}",
            }
            parts.append(element("path", attributes))
    return parts


def _numbers(counts: Sequence[Sequence[int]], left: float, top: float, size: float) -> list[Markup]:
    parts = []
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            if not count:
                continue
            words = str(count) if count < 1000 else amount(count)
            if text_width(words, 10) > size:
                continue
            kind = "count on-dark" if count > 0.5 * sum(row) else "count"
            x, y = left + (j + 0.5) * size, top + (i + 0.5) * size + 3.5
            parts.append(label(x, y, words, kind, "middle"))
    return parts
