"""Markdown from plain data: escaping, lists and tables."""

import re
from collections.abc import Iterable, Sequence


def plain(value: object) -> str:
    """Escapes a text for Markdown: one line without tags, links, emphasis or table columns."""
    words = " ".join(str(value).split())
    words = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#!$])", r"\\\1", words)


def bullets(entries: Iterable[str]) -> str:
    """Returns a list; the entries are Markdown."""
    return "\n".join(f"- {entry}" for entry in entries)


def grid(header: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1000) -> str:
    """Returns a table of plain texts, which are escaped.

    Args:
        header: names of the columns.
        rows: cells.
        left: number of columns that are aligned to the left; the others are to the right.
    """
    lines = [[plain(value) for value in row] for row in (header, *rows)]
    lines.insert(1, [":--" if column < left else "--:" for column in range(len(header))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
