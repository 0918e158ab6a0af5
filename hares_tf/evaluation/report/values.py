"""Values of JSON data of any origin: of the expected type, or a harmless replacement.

Control characters are replaced in every text, so that nothing moves the cursor of a terminal,
reverses the direction of a line, or cannot be written as UTF-8.
"""

import math
import re
from typing import Any

_MAXIMUM_DEPTH = 20
# Larger integers are no counts, and Python refuses to print those of thousands of digits.
_LARGEST_INTEGER = 2**63
# Control characters, lone surrogates, and the marks that turn the direction of a text.
_UNWANTED = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)


def number(value: object) -> float | None:
    """Returns a finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def text(value: object, limit: int = 400) -> str:
    """Returns a value as text: "" for None, cut where it is longer than `limit`."""
    whole = "" if value is None else str(value)
    return whole if len(whole) <= limit else whole[: limit - 1] + "…"


def as_dict(value: object) -> dict:
    """Returns a JSON object; {} for anything else."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list:
    """Returns a JSON array; [] for anything else."""
    return value if isinstance(value, list) else []


def clean(value: Any, parents: tuple[int, ...] = ()) -> Any:
    """Returns JSON data that can be shown.

    Control characters in texts are replaced. Objects and arrays that are too deep or hold
    themselves, and integers that are no counts, become None; values of other types their type's
    name.

    Args:
        value: any data.
        parents: ids of the objects and arrays around it.
    """
    if isinstance(value, str):
        return _UNWANTED.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, (dict, list, tuple)):
        if len(parents) > _MAXIMUM_DEPTH or id(value) in parents:
            return None
        inside = (*parents, id(value))
        if isinstance(value, dict):
            return {text(clean(key, inside)): clean(entry, inside) for key, entry in value.items()}
        return [clean(entry, inside) for entry in value]
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        return None
    if value is None or isinstance(value, (int, float)):
        return value
    return f"<{type(value).__name__}>"
