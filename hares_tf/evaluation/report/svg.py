"""SVG elements with escaped texts, and an upper bound of the width of a text.

Colors are CSS classes of the page (`s0` ... `s7` for series), so that they follow its light and
dark scheme. Sizes are in CSS pixels at the natural width of a figure.
"""

import unicodedata
from collections.abc import Iterable

from markupsafe import Markup, escape

SERIES = 8
# Widths of letters in font sizes: at least those of DejaVu Sans Bold and DejaVu Sans Mono, the
# widest of the common system fonts.
_NARROW, _WIDE = frozenset("iljftrI.,:;'|!()[]{} "), frozenset("mwMW@%—…")


def element(tag: str, attributes: dict | None = None, *children) -> Markup:
    """An SVG element; texts and values are escaped."""
    pairs = (attributes or {}).items()
    rendered = "".join(f' {key}="{escape(_value(value))}"' for key, value in pairs)
    return Markup("<{}{}>{}</{}>").format(tag, Markup(rendered), Markup("").join(children), tag)


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
    """An SVG as wide as its place, which a screen reader announces by `description`."""
    attributes = {
        "viewBox": f"0 0 {width:g} {height:g}",
        "role": "img",
        "aria-label": description,
    }
    return element("svg", attributes, *parts)


def shorten(words: str, letters: int) -> str:
    """The beginning and end of a text that is too long for its place."""
    if len(words) <= letters:
        return words
    tail = letters // 3
    return f"{words[: letters - tail - 1]}…{words[len(words) - tail :]}"


def text_width(words: str, size: float) -> float:
    """Returns about the largest width of a text in common fonts, for letters of `size` pixels."""
    return size * sum(map(_letter_width, words))


def _letter_width(letter: str) -> float:
    if unicodedata.combining(letter):
        return 0.0
    if letter in _NARROW:
        return 0.62
    if not letter.isascii():
        return 1.05 if unicodedata.east_asian_width(letter) in "WF" else 0.95
    if letter in _WIDE:
        return 1.1
    return 0.85 if letter.isupper() else 0.7
