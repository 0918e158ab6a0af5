"""run.json: what a run is, so that it can be resumed, exported and understood years later."""

import hashlib
import json
import os
import platform
from importlib import metadata
from pathlib import Path

from hares_tf import __version__
from hares_tf.checkpoints.run_files import RUN, SCHEMA
from hares_tf.pretrain.config import HARMLESS
from hares_tf.pretrain.errors import PretrainError
from hares_tf.pretrain.strategy import hosts_of
from hares_tf.utils.files import atomic_file

# Other versions or devices compute other bits, which only matters where they were promised.
_OF_EVERY_BIT = ("tensorflow", "keras", "numpy", "machine", "devices")


def make_record(config, clips, strategy, exact_resume: bool) -> dict:
    """Describes a run.

    Args:
        config: the resolved configuration.
        clips: the `ClipSet` it trains on.
        strategy: the `tf.distribute` strategy.
        exact_resume: whether it was asked for.
    """
    import tensorflow as tf

    from hares_tf.pretrain.learner import make_objective

    return {
        "schema": SCHEMA,
        "model": config.model.name,
        "objective": config.objective.name,
        "config": json.loads(json.dumps(config.to_dict())),
        "label_names": list(clips.label_names) if make_objective(config).needs_labels else [],
        "data": {
            "name": clips.name,
            "n_clips": clips.n_clips,
            "seconds": clips.seconds,
            "content_hash": clips.content_hash,
            "source": clips.source,
        },
        "environment": {
            "hares_tf": __version__,
            # Installed as tensorflow or tensorflow-tpu.
            "tensorflow": tf.__version__,
            **{name: metadata.version(name) for name in ("keras", "numpy")},
            "python": platform.python_version(),
            "machine": platform.machine(),
            "strategy": type(strategy).__name__,
            "replicas": strategy.num_replicas_in_sync,
            # Each reads blocks of its own.
            "hosts": hosts_of(strategy),
            "devices": sorted({d.device_type for d in tf.config.list_logical_devices()}),
            "exact_resume": exact_resume,
            "threads": {
                "inter_op": tf.config.threading.get_inter_op_parallelism_threads(),
                "intra_op": tf.config.threading.get_intra_op_parallelism_threads(),
            },
        },
    }


def read_record(workdir: str | os.PathLike) -> dict | None:
    """The record in a run's folder; None if there is none.

    Raises:
        PretrainError: it cannot be understood.
    """
    path = Path(workdir) / RUN
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise PretrainError(f"{path} is no JSON ({error}).") from error
    keys = {"schema", "model", "objective", "config", "data", "environment"}
    if not isinstance(record, dict) or record.get("schema") != SCHEMA or keys - record.keys():
        raise PretrainError(f"{path} is not a record of schema {SCHEMA}.")
    return record


def write_record(workdir: Path, record: dict) -> None:
    """Writes the record into the run's folder."""
    with atomic_file(workdir / RUN) as temporary:
        text = json.dumps(record, indent=2, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def fingerprint(record: dict) -> int:
    """A number that tells runs of other settings or clips apart, below 2^63."""
    settings = {k: v for k, v in record["config"].items() if k not in HARMLESS}
    text = json.dumps([settings, record["data"]["content_hash"]], sort_keys=True)
    return int(hashlib.sha256(text.encode()).hexdigest()[:15], 16)


def check_resumable(old: dict, new: dict, workdir: Path) -> None:
    """Refuses to go on with other settings or data than a run began with.

    Raises:
        PretrainError: something differs that would make the run neither the old nor a new one.
    """
    advice = f"Start it in another --workdir, or delete {workdir}."
    for key, before, now in _differences(old["config"], new["config"]):
        if key.split(".")[0] not in HARMLESS:
            raise PretrainError(
                f"The run in {workdir} began with {key}={before} and cannot go on with {now}. "
                f"{advice}."
            )
    if old["data"]["content_hash"] != new["data"]["content_hash"]:
        raise PretrainError(f"The run in {workdir} began with other clips than these. {advice}.")
    always = ("replicas", "hosts")
    for key in (*always, "exact_resume", "threads", *_OF_EVERY_BIT):
        before, now = old["environment"].get(key), new["environment"][key]
        exact = old["environment"].get("exact_resume")
        if before != now and (exact or key in always):
            raise PretrainError(
                f"The run in {workdir} began with {key}={before}, now it is {now}, which would "
                f"change what it computes. {advice}."
            )


def _differences(old: dict, new: dict, prefix: str = ""):
    """`(key, old value, new value)` of all that differs, sections joined by dots."""
    for key in sorted(set(old) | set(new)):
        before, now = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            yield from _differences(before, now, f"{prefix}{key}.")
        elif before != now:
            yield f"{prefix}{key}", before, now
