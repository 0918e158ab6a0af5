"""Figure of scores against a quantity on a logarithmic axis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from hares_tf.evaluation.report.svg import element, figure, label, line, text_width

_WIDTH, _HEIGHT = 440.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 34.0, 26.0, 10.0, 40.0
_RADIUS = 5.0
_MARK = 11.0  # size of the letters of marks
# Where a mark is tried: to the right of its point first, near before far.
_DISTANCES = (8, 12, 17, 23, 30, 38, 48, 60, 74, 90)
_TURNS = (0, *(sign * k for k in range(1, 9) for sign in (1, -1)))


@dataclass(frozen=True)
class Point:
    """A point and the short mark beside it, which the legend explains.

    Attributes:
        mark: a number or letter.
        name: of the model.
        x: the quantity, positive.
        y: percent.
        kind: CSS class.
    """

    mark: str
    name: str
    x: float
    y: float
    kind: str


def scatter(title: str, quantity: str, points: Sequence[Point]) -> Markup:
    """Returns the figure.

    Args:
        title: what the vertical axis shows.
        quantity: what the horizontal axis shows.
        points: the later ones are drawn above the earlier ones.
    """
    plane = _Plane.around(points)
    parts = [*_grid(plane), label(_WIDTH / 2, _HEIGHT - 6, quantity, "axis", "middle")]
    places = [plane.place(point.x, point.y) for point in points]
    taken = [(x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS) for x, y in places]
    # Our marks take their places first.
    marks = [
        _mark(point.mark, *place, taken)
        for point, place in reversed(list(zip(points, places, strict=True)))
    ]
    for point, (x, y) in zip(points, places, strict=True):
        hint = f"{point.name}: {point.y:.1f} at {amount(point.x)}"
        attributes = {"cx": x, "cy": y, "r": _RADIUS, "class": point.kind}
        parts.append(element("circle", attributes, element("title", None, escape(hint))))
    return figure(_WIDTH, _HEIGHT, f"{title} against {quantity}", [*parts, *marks])


@dataclass(frozen=True)
class _Plane:
    """Ranges of the axes: logarithms of the quantity, and percent with the step of its ticks."""

    low_x: float
    high_x: float
    low_y: float
    high_y: float
    step_y: float

    @classmethod
    def around(cls, points: Sequence[Point]) -> "_Plane":
        xs = [math.log10(point.x) for point in points]
        ys = [point.y for point in points]
        margin = max(0.1, 0.06 * (max(xs) - min(xs)))
        return cls(min(xs) - margin, max(xs) + margin, *_range(min(ys), max(ys)))

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Returns a point in pixels."""
        across = (math.log10(x) - self.low_x) / (self.high_x - self.low_x)
        up = (y - self.low_y) / (self.high_y - self.low_y)
        return (
            _LEFT + across * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM),
        )


def _grid(plane: _Plane) -> list[Markup]:
    parts = []
    for k in range(round((plane.high_y - plane.low_y) / plane.step_y) + 1):
        value = plane.low_y + k * plane.step_y
        y = plane.place(10**plane.low_x, value)[1]
        parts.append(line(_LEFT, y, _WIDTH - _RIGHT, y, "grid"))
        parts.append(label(_LEFT - 5, y + 4, f"{value:g}", "tick", "end"))
    free = 0.0
    for value in _log_ticks(plane.low_x, plane.high_x):
        x = plane.place(value, plane.low_y)[0]
        half = text_width(amount(value), 10) / 2
        if x - half < free or x + half > _WIDTH:
            continue
        free = x + half + 6
        parts.append(line(x, _TOP, x, _HEIGHT - _BOTTOM, "grid"))
        parts.append(label(x, _HEIGHT - _BOTTOM + 14, amount(value), "tick", "middle"))
    return parts


def _mark(words: str, x: float, y: float, taken: list[tuple]) -> Markup:
    """Returns a mark beside its point, where nothing else is; nothing if there is no such place."""
    width, height = text_width(words, _MARK), _MARK * 1.25
    for distance in _DISTANCES:
        for turn in _TURNS:
            angle = math.pi * turn / 8
            across, up = math.cos(angle), math.sin(angle)
            middle_x = x + across * (distance + width / 2)
            middle_y = y - up * (distance + height / 2)
            box = (
                middle_x - width / 2,
                middle_y - height / 2,
                middle_x + width / 2,
                middle_y + height / 2,
            )
            if _is_free(box, taken):
                taken.append(box)
                drawn = label(middle_x, middle_y + _MARK * 0.36, words, "mark-name", "middle")
                if distance <= _DISTANCES[1]:
                    return drawn
                ends = (middle_x - across * width / 2, middle_y + up * height / 2)
                start = (x + across * _RADIUS, y - up * _RADIUS)
                return line(*start, *ends, "leader") + drawn
    return Markup("")


def _is_free(box: tuple, taken: Sequence[tuple]) -> bool:
    left, top, right, bottom = box
    inside = left >= _LEFT and right <= _WIDTH and top >= 0 and bottom <= _HEIGHT - _BOTTOM
    return inside and not any(
        left < other[2] and right > other[0] and top < other[3] and bottom > other[1]
        for other in taken
    )


def _range(low: float, high: float) -> tuple[float, float, float]:
    """Returns bounds of an axis around the scores, and the step of its ticks."""
    spread = max(high - low, 2.0)
    step = next(s for s in (1, 2, 5, 10, 20, 25, 50) if spread / s <= 6)
    low, high = math.floor((low - 0.5) / step) * step, math.ceil((high + 0.5) / step) * step
    return float(max(low, 0)), float(min(high, 100)), float(step)


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


def amount(x: float) -> str:
    """Returns a positive number in three digits: `63M`."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if x >= unit:
            return f"{x / unit:.3g}{letter}"
    return f"{x:.3g}"
