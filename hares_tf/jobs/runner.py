"""Runners of jobs: processes of this machine, or an Apache Beam runner."""

import importlib.util
from dataclasses import dataclass

from hares_tf.jobs.errors import JobError

LOCAL = "local"


@dataclass(frozen=True)
class Runner:
    """A runner of jobs.

    Attributes:
        name: "local" for processes of this machine; otherwise the name of an Apache Beam runner:
            "DirectRunner", "FlinkRunner", "DataflowRunner", ...
        workers: number of local processes; None for the default. A Beam runner takes None.
        beam_options: further options of the Beam pipeline, each "--key=value".
    """

    name: str = LOCAL
    workers: int | None = None
    beam_options: tuple[str, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether jobs are executed by processes of this machine."""
        return self.name == LOCAL

    def check(self) -> None:
        """Checks that the options fit together and that Beam is installed where it is needed.

        Raises:
            JobError: they do not, or it is not installed.
        """
        if self.workers is not None and self.workers < 1:
            raise JobError(f"--workers must be at least 1, not {self.workers}.")
        if self.is_local:
            if self.beam_options:
                raise JobError("--beam_options need a Beam runner: add --runner=DirectRunner.")
            return
        if self.workers is not None:
            raise JobError(
                "--workers is for --runner=local. Give a Beam runner its own option, for example "
                "--beam_options=--direct_num_workers=4."
            )
        if importlib.util.find_spec("apache_beam") is None:
            raise JobError(
                f"--runner={self.name} needs Apache Beam: pip install hares-tf[beam]; without it, "
                "--runner=local uses the cores of this machine."
            )
