"""Plain-text tables for a terminal."""

import unicodedata
from collections.abc import Collection, Sequence


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Returns one line per row, its cells padded to the width of their column.

    Args:
        rows: cells; all rows have the same number of them.
        right: numbers of the columns that are aligned to the right.
    """
    widths = [max(map(display_width, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            pad(cell, width, right=column in right)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def text_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()
) -> list[str]:
    """Returns the lines of a table: the header, a rule and the rows, aligned as by `aligned`."""
    columns = zip(header, *rows, strict=True)
    rule = ["-" * max(map(display_width, column)) for column in columns]
    return aligned([header, rule, *rows], right)


def display_width(text: str) -> int:
    """Columns of a terminal that a text takes: East Asian wide letters take two, accents none."""
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def pad(text: str, width: int, right: bool = False) -> str:
    """Fills a text with spaces to a width, at its end or (`right`) its beginning."""
    spaces = " " * (width - display_width(text))
    return spaces + text if right else text + spaces
