"""Footnotes of a table."""

from collections.abc import Iterable


class Footnotes:
    """Numbers for reasons; equal reasons share a number."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def marks(self, reasons: Iterable[str]) -> list[int]:
        """Returns the numbers of reasons, ascending; new ones are added."""
        numbers = []
        for reason in reasons:
            if reason not in self.texts:
                self.texts.append(reason)
            numbers.append(self.texts.index(reason) + 1)
        return sorted(numbers)

    def text(self, reasons: Iterable[str]) -> str:
        """Returns the marks of reasons as text: ` [1] [2]`."""
        return "".join(f" [{mark}]" for mark in self.marks(reasons))
