"""Figures with a plane: scores against a quantity, and confusion matrices."""

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from hares_tf.evaluation.report.svg import element, figure, label, line, shorten

_LEVELS = 8  # shades of a confusion matrix
_LETTER = 6.2  # mean width of a letter of 11 px


def scatter(
    title: str,
    quantity: str,
    ours: Sequence[tuple[str, int, float, float]],
    paper: Sequence[tuple[str, float, float]] = (),
) -> Markup:
    """Scores over a logarithmic axis.

    Args:
        title: of the figure.
        quantity: what the horizontal axis shows.
        ours: name, number of the series, quantity (positive), percent.
        paper: name, quantity, percent of published rows; drawn hollow.
    """
    width, height, left, right, top, bottom = 360.0, 290.0, 34.0, 14.0, 26.0, 38.0
    xs = [math.log10(x) for _, _, x, _ in ours] + [math.log10(x) for _, x, _ in paper]
    ys = [y for *_, y in ours] + [y for *_, y in paper]
    low_x, high_x = min(xs) - 0.15, max(xs) + 0.15
    low_y, high_y, step_y = _range(min(ys), max(ys))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - low_x) / (high_x - low_x)
        up = (y - low_y) / (high_y - low_y)
        return left + across * (width - left - right), height - bottom - up * (
            height - top - bottom
        )

    parts = [label(0, 13, shorten(title, 52), "title")]
    for k in range(round((high_y - low_y) / step_y) + 1):
        y = place(10**low_x, low_y + k * step_y)[1]
        parts.append(line(left, y, width - right, y, "grid"))
        parts.append(label(left - 5, y + 4, f"{low_y + k * step_y:g}", "tick", "end"))
    for x in _log_ticks(low_x, high_x):
        across = place(x, low_y)[0]
        parts.append(line(across, top, across, height - bottom, "grid"))
        parts.append(label(across, height - bottom + 14, _amount(x), "tick", "middle"))
    parts.append(label((left + width - right) / 2, height - 6, quantity, "axis", "middle"))
    points = [
        (name, *place(x, y), f"{name} (published): {y:.1f} at {_amount(x)}", 4, "hollow")
        for name, x, y in paper
    ] + [
        (name, *place(x, y), f"{name}: {y:.1f} at {_amount(x)}", 5, f"bar s{series}")
        for name, series, x, y in ours
    ]
    for _, across, up, said, radius, kind in points:
        dot = {"cx": across, "cy": up, "r": radius, "class": kind}
        parts.append(element("circle", dot, element("title", None, escape(said))))
    taken = [(across - 4, across + 4, up + 4) for _, across, up, *_ in points]
    # Our names take their places first.
    for name, across, up, _, _, kind in reversed(points):
        style = "hollow-name" if kind == "hollow" else "name"
        parts.append(_free_label(name, across, up, width, taken, style))
    return figure(width, height, f"{title} against {quantity}", parts)


def _free_label(name, x, y, width, taken, kind) -> Markup:
    """The name beside its point, where no other name is; nothing if there is no such place."""
    words = shorten(name, 18)
    long = len(words) * _LETTER
    for dx, dy in ((8, 4), (-8 - long, 4), (8, 15), (8, -7), (-8 - long, 15), (-8 - long, -7)):
        start, base = x + dx, y + dy
        if start < 2 or start + long > width:
            continue
        if all(
            abs(base - other) > 11 or start > end + 3 or start + long < begin - 3
            for begin, end, other in taken
        ):
            taken.append((start, start + long, base))
            return label(start, base, words, kind)
    return Markup("")


def _range(low: float, high: float) -> tuple[float, float, float]:
    """Bounds of an axis around the scores, and the step of its ticks."""
    spread = max(high - low, 2.0)
    step = next(s for s in (1, 2, 5, 10, 20, 25, 50) if spread / s <= 6)
    low, high = math.floor((low - 0.5) / step) * step, math.ceil((high + 0.5) / step) * step
    return float(max(low, 0)), float(min(high, 100) if high > low else low + step), float(step)


def _log_ticks(low: float, high: float) -> list[float]:
    """One, two and five times powers of ten; powers alone where those would be many."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    for factors in ((1, 2, 5), (1,)):
        ticks = [
            f * 10.0**p for p in powers for f in factors if low <= math.log10(f * 10.0**p) <= high
        ]
        if len(ticks) <= 7:
            return ticks
    return ticks[:: math.ceil(len(ticks) / 7)]


def _amount(x: float) -> str:
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if x >= unit:
            return f"{x / unit:.3g}{letter}"
    return f"{x:.3g}"


def matrix(names: Sequence[str], counts: Sequence[Sequence[int]], description: str) -> Markup:
    """A confusion matrix: true classes down, answers across, shaded by the share of the row.

    Every shade is one path, so that fifty classes stay small; counts are written where they fit.
    """
    n = len(names)
    size = float(max(10, min(36, 480 // n)))
    font = min(11.0, size)
    letters = min(max(map(len, names)), 22)
    margin = 24 + letters * font * 0.6
    parts = [
        label(0, 12, "true class ↓   answer →", "tick"),
        element(
            "rect",
            {"x": margin, "y": margin, "width": n * size, "height": n * size, "class": "frame"},
        ),
    ]
    for right in (True, False):
        shades: dict[int, list[str]] = {}
        for i, row in enumerate(counts):
            total = sum(row)
            for j, count in enumerate(row):
                if count and (i == j) == right:
                    level = math.ceil(_LEVELS * count / total)
                    shades.setdefault(level, []).append(
                        f"M{margin + j * size:g} {margin + i * size:g}h{size:g}v{size:g}h-{size:g}z"
                    )
        parts += [
            element(
                "path",
                {
                    "d": "".join(cells),
                    "class": "right" if right else "wrong",
                    "fill-opacity": f"{level / _LEVELS:.3g}",
                },
            )
            for level, cells in sorted(shades.items())
        ]
    style = {"style": f"font-size:{font:g}px"}
    for i, name in enumerate(names):
        middle = margin + (i + 0.5) * size + font * 0.35
        words = escape(shorten(name, 22))
        parts.append(
            element("text", {"x": margin - 4, "y": middle, "text-anchor": "end", **style}, words)
        )
        turned = {"transform": f"translate({middle:g} {margin - 4:g}) rotate(-90)", **style}
        parts.append(element("text", turned, words))
    if size >= 22:
        for i, row in enumerate(counts):
            for j, count in enumerate(row):
                if count:
                    x, y = margin + (j + 0.5) * size, margin + (i + 0.5) * size + 3.5
                    dark = count > 0.5 * sum(row)
                    printed = str(count) if count < 10_000 else _amount(count)
                    parts.append(
                        label(x, y, printed, "count on-dark" if dark else "count", "middle")
                    )
    whole = margin + n * size + 4
    return element(
        "svg",
        {
            "viewBox": f"0 0 {whole:g} {whole:g}",
            "width": whole,
            "height": whole,
            "class": "matrix",
            "role": "img",
            "aria-label": description,
        },
        *parts,
    )
