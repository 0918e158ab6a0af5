"""Small drawings as SVG: elements with escaped texts, and the figures of a report.

Colors are CSS classes of the page (`s0` ... `s7` for series), so that they follow its light and
dark scheme. Sizes are in CSS pixels at the natural width of a figure.
"""

import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

SERIES = 8


def element(tag: str, attributes: dict | None = None, *children) -> Markup:
    """An SVG element; texts and values are escaped."""
    said = "".join(f' {key}="{escape(_value(value))}"' for key, value in (attributes or {}).items())
    return Markup("<{}{}>{}</{}>").format(tag, Markup(said), Markup("").join(children), tag)


def _value(value) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def label(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> Markup:
    """A line of text."""
    return element(
        "text", {"x": float(x), "y": float(y), "class": kind, "text-anchor": anchor}, escape(words)
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """A straight line."""
    points = {"x1": float(x1), "y1": float(y1), "x2": float(x2), "y2": float(y2)}
    return element("line", {**points, "class": kind})


def figure(width: float, height: float, description: str, parts: Iterable[Markup]) -> Markup:
    """An SVG that a screen reader announces by `description`."""
    return element(
        "svg",
        {
            "viewBox": f"0 0 {width:g} {height:g}",
            "style": f"max-width:{width * 1.25:g}px",
            "role": "img",
            "aria-label": description,
        },
        *parts,
    )


def shorten(words: str, letters: int) -> str:
    """The beginning and end of a text that is too long for its place."""
    if len(words) <= letters:
        return words
    tail = letters // 3
    return f"{words[: letters - tail - 1]}…{words[len(words) - tail :]}"


def bars(title: str, entries: Sequence[tuple[str, int, float, tuple | None, bool, str]]) -> Markup:
    """Horizontal bars from 0 to 100 with intervals.

    Args:
        title: of the figure.
        entries: name, number of the series, percent, (low, high) or None, whether complete, hint.
    """
    left, right, top, step = 118.0, 44.0, 22.0, 20.0
    width = 360.0
    scale = (width - left - right) / 100
    height = top + step * len(entries) + 18
    parts = [label(0, 13, shorten(title, 50), "title")]
    for tick in (0, 25, 50, 75, 100):
        x = left + tick * scale
        parts.append(line(x, top, x, height - 18, "grid"))
        parts.append(label(x, height - 5, str(tick), "tick", "middle"))
    for index, (name, series, score, interval, complete, hint) in enumerate(entries):
        y = top + index * step
        drawn = [
            element("title", None, escape(hint)),
            label(left - 6, y + 14, shorten(name, 17), "name", "end"),
            element(
                "rect",
                {
                    "x": left,
                    "y": y + 3,
                    "width": max(score * scale, 0.5),
                    "height": step - 6,
                    "class": f"bar s{series % SERIES}" + ("" if complete else " partial"),
                },
            ),
        ]
        end = score
        if interval is not None:
            low, high = (left + value * scale for value in interval)
            middle = y + step / 2
            end = max(score, interval[1])
            drawn.append(line(low, middle, high, middle, "whisker"))
            drawn += [line(x, middle - 4, x, middle + 4, "whisker") for x in (low, high)]
        mark = "" if complete else " !"
        drawn.append(label(left + end * scale + 5, y + 14, f"{score:.1f}{mark}", "value"))
        parts.append(element("g", None, *drawn))
    return figure(width, height, f"{title}: scores in percent with 95% intervals", parts)


def radar(axes: Sequence[str], entries: Sequence[tuple[str, int, Sequence[float]]]) -> Markup:
    """Percent on axes that leave one point, a line per entry (name, series, values)."""
    width, height, radius = 360.0, 268.0, 140.0
    center = (width / 2, 165.0)

    def place(axis: int, percent: float) -> tuple[float, float]:
        angle = 2 * math.pi * axis / len(axes) - math.pi / 2
        r = radius * percent / 100
        return center[0] + r * math.cos(angle), center[1] + r * math.sin(angle)

    def polygon(values: Sequence[float], kind: str, *children) -> Markup:
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, range(len(axes)), values))
        return element("polygon", {"points": points, "class": kind}, *children)

    parts = [polygon([tick] * len(axes), "grid") for tick in (25, 50, 75, 100)]
    for axis, name in enumerate(axes):
        parts.append(line(*center, *place(axis, 100), "grid"))
        x, y = place(axis, 110)
        anchor = "middle" if abs(x - center[0]) < 1 else ("start" if x > center[0] else "end")
        # Names of the lower axes stand below their ends: beside them the page is too narrow.
        if anchor != "middle":
            anchor, y = "middle", y + 10
        parts.append(label(x, y, name, "axis", anchor))
    parts += [label(center[0] + 3, place(0, tick)[1] - 2, str(tick), "tick") for tick in (50, 100)]
    for name, series, values in entries:
        said = ", ".join(f"{axis} {value:.1f}" for axis, value in zip(axes, values, strict=True))
        parts.append(
            polygon(values, f"outline s{series}", element("title", None, escape(f"{name}: {said}")))
        )
    names = ", ".join(name for name, _, _ in entries)
    return figure(width, height, f"averages by domain of {names}", parts)
