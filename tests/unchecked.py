"""Exports without the process of the conformance check, where that is not the point."""

import contextlib


def no_check(say):
    """Stands in for `hub.export.exporter._fresh_process`."""
    return contextlib.nullcontext(lambda directory, cases: [])
