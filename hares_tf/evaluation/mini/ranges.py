"""Scores that the suite is known to have."""

RANGES: dict[str, tuple[float, float]] = {}
