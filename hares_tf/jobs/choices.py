"""Where jobs are done: what a user may ask for."""

import importlib.util
from collections.abc import Sequence

from hares_tf.jobs.errors import JobError

LOCAL = "local"


def check_choices(runner: str, workers: int | None, beam_options: Sequence[str]) -> None:
    """Refuses options that contradict each other, and Beam where it is not installed.

    Args:
        runner: "local", processes of this machine; else the name of an Apache Beam runner.
        workers: processes of the local pool; None: the default.
        beam_options: further options of the pipeline, each "--key=value".

    Raises:
        JobError: says what to do instead.
    """
    if workers is not None and workers < 1:
        raise JobError(f"--workers must be at least 1, not {workers}.")
    if runner == LOCAL:
        if beam_options:
            raise JobError("--beam_options need a Beam runner: add --runner=DirectRunner.")
        return
    if workers is not None:
        raise JobError(
            "--workers is for the local pool; a Beam runner has options of its own, for example "
            "--beam_options=--direct_num_workers=4."
        )
    if importlib.util.find_spec("apache_beam") is None:
        raise JobError(
            f"--runner={runner} needs Apache Beam: pip install hares-tf[beam]; without it, "
            "--runner=local uses the cores of this machine."
        )
