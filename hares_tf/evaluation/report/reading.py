"""Reads results from disk and checks them, because a report shows files of any origin.

Files that are not results are skipped, with a sentence for each.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.published import DOMAIN_TASKS, TASKS
from hares_tf.evaluation.report.values import as_dict, as_list, clean, number, text
from hares_tf.evaluation.results import results as stored
from hares_tf.evaluation.results.intervals import PROPORTIONS, is_wilson, wilson

SUITES = ("hares", "variant", "mini", "user")


@dataclass(frozen=True)
class Result:
    """One model on one task.

    Attributes:
        path: its file, None if it came from memory.
        place: the path below the folder that was read, "" if it came from memory.
        model: key of the model: results with equal keys belong in one column.
        name: of the model.
        task: id of the task.
        domain: "environment", "speech" or "music".
        suite: one of `SUITES`.
        metric: for example "accuracy".
        identity: of the protocol; only scores of equal identity may be compared.
        score: percent.
        interval: (low, high) of 95%, percent, or None; of accuracy and exact match, where the
            stored one has no width, Wilson's instead.
        complete: whether all clips of the task took part.
        reasons: why it is incomplete, as sentences or phrases.
        clips: counts of clips by name (`n_expected`, `n_used`, ...).
        comparable: equal for results with the same clips, metric, head and version of the task.
        data: the whole cleaned JSON.
    """

    path: Path | None
    place: str
    model: str
    name: str
    task: str
    domain: str
    suite: str
    metric: str
    identity: str
    score: float
    interval: tuple[float, float] | None
    complete: bool
    reasons: tuple[str, ...]
    clips: dict
    comparable: tuple
    data: dict = field(repr=False)

    def section(self, name: str) -> dict:
        """Returns an object of the JSON; {} where the file has none."""
        return as_dict(self.data.get(name))

    def number(self, section: str, name: str) -> float | None:
        """Returns a finite number of an object of the JSON, or None."""
        return number(self.section(section).get(name))

    @property
    def interval_kind(self) -> str:
        """How the interval was computed: "Wilson" or "bootstrap"; "" without one."""
        if self.interval is None:
            return ""
        clips = number(self.clips.get("n_scored")) or 0
        shares = self.metric in PROPORTIONS and is_wilson(self.score, self.interval, clips)
        return "Wilson" if shares else "bootstrap"

    @property
    def finished(self) -> str:
        """Time of computation, ISO 8601; "" if unknown."""
        return text(self.section("environment").get("finished_at"))

    @property
    def milliseconds_per_second(self) -> float | None:
        """Time of embedding one second of audio; None where all embeddings were in the store."""
        names = ("embedding", "audio_seconds", "clips_embedded")
        seconds, audio, embedded = (self.number("seconds", name) for name in names)
        return 1000 * seconds / audio if seconds and audio and audio > 0 and embedded else None


def read(paths: Iterable[str | os.PathLike]) -> tuple[list[Result], list[str]]:
    """Reads all results in folders and files.

    Args:
        paths: folders (searched with their sub-folders) and JSON files.

    Returns:
        The results, and sentences about what was skipped. Of two results of one model, task and
        protocol identity the later one counts.

    Raises:
        EvaluationError: nothing is there, a named file is no result, or no result was found at all.
    """
    found: list[Result] = []
    problems: list[str] = []
    roots = [Path(path) for path in paths]
    for root in roots:
        if root.is_dir():
            here = []
            for path in sorted(root.rglob("*.json")):
                if path.name.startswith(".") or not path.is_file():
                    continue
                try:
                    here.append(_read_file(path, path.relative_to(root)))
                except EvaluationError as error:
                    problems.append(clean(str(error)))
            found += sorted(here, key=lambda result: _natural(result.name))
        elif root.exists():
            found.append(_read_file(root, Path(root.name)))
        else:
            raise EvaluationError(
                f"{root}: There is no such folder or file. Give the --output of hares-evaluate, a "
                "folder in it, or result files."
            )
    if not found:
        raise EvaluationError(
            f"There is no result of hares-evaluate in {', '.join(map(str, roots))}."
            + (f" The first of {len(problems)} JSON file(s): {problems[0]}" if problems else "")
        )
    kept, replaced = without_duplicates(found)
    return kept, [*problems, *replaced]


def without_duplicates(results: Sequence[Result]) -> tuple[list[Result], list[str]]:
    """Returns the latest result of each model, task and identity, and a sentence on each other."""
    kept: dict[tuple, Result] = {}
    problems = []
    for result in results:
        key = (result.model, result.suite, result.task, result.identity)
        other = kept.get(key)
        if other is None or result.data == other.data:
            kept.setdefault(key, result)
            continue
        newer, older = (result, other) if result.finished > other.finished else (other, result)
        kept[key] = newer
        problems.append(
            f"{result.name} has two results on {result.task} ({result.identity}): "
            f"{newer.place} is shown, {older.place} is not"
        )
    return list(kept.values()), problems


def _natural(name: str) -> list:
    """Returns a sort key of names that puts 9 before 10."""
    # Numbers are compared by length first. Texts and numbers alternate, so types never mix.
    pieces = re.split(r"([0-9]+)", name.casefold())
    return [(len(piece) if i % 2 else 0, piece) for i, piece in enumerate(pieces)]


def _read_file(path: Path, place: Path) -> Result:
    try:
        data = stored.read_result(path)
    except RecursionError as error:
        raise EvaluationError(f"{path} is not a result of hares-evaluate (too deep).") from error
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read ({error.strerror or error}).") from error
    if data is None:
        raise EvaluationError(f"{path} has disappeared.")
    return from_data(data, path, clean(str(place)))


def from_data(data: dict, path: Path | None = None, place: str = "") -> Result:
    """Returns a result from its JSON data, of this schema or an older one.

    Raises:
        EvaluationError: a value that every result has is absent or impossible.
    """
    data = clean(data)
    task, model, protocol, clips = (
        as_dict(as_dict(data).get(name)) for name in ("task", "model", "protocol", "clips")
    )
    score = number(as_dict(data).get("score"))
    task_id, domain = text(task.get("id")), text(task.get("domain"))
    suite = text(task.get("suite")) or ("mini" if task_id.startswith("mini_") else "user")
    wrong = {
        "it is not a JSON object": not isinstance(data, dict),
        "its score is not a number of percent": score is None or not 0 <= score <= 100,
        "it names no task": not task_id,
        "it names no model": not text(model.get("name")),
        "it names no protocol": not text(protocol.get("identity")),
        "its task has none of the three domains": domain not in DOMAIN_TASKS,
        "its task belongs to no known suite": suite not in SUITES,
        f"the suite hares has no task {task_id!r}": suite == "hares" and task_id not in TASKS,
        f"{task_id} is a task of another domain": (
            suite == "hares" and task_id in TASKS and domain != TASKS[task_id].domain
        ),
    }
    complaints = [what for what, is_wrong in wrong.items() if is_wrong]
    if complaints or score is None:
        raise EvaluationError(
            f"{place or 'A result'} is not a result of hares-evaluate ({complaints[0]})."
        )
    reasons = [text(reason) for reason in as_list(data.get("incomplete_because"))]
    complete = data.get("complete") is True
    if not complete and not reasons:
        failed = number(clips.get("n_failed"))
        reasons = [f"{failed:.0f} clip(s) could not be read" if failed else "no reason is stored"]
    if not reasons and (absent := number(clips.get("n_missing"))):
        reasons = [f"{absent:.0f} clip(s) are missing"]
    return Result(
        path=path,
        place=place,
        model=_model_key(data, model),
        name=text(model["name"]),
        task=task_id,
        domain=domain,
        suite=suite,
        metric=text(task.get("metric")) or "score",
        identity=text(protocol["identity"]),
        score=score,
        interval=_interval(data.get("interval"), score, task.get("metric"), clips),
        complete=complete and not reasons,
        reasons=tuple(reasons),
        clips=clips,
        comparable=(
            *(str(task.get(name)) for name in ("version", "metric", "head")),
            str(clips.get("manifest_hash")),
        ),
        data=data,
    )


def _model_key(data: dict, model: dict) -> str:
    """Returns a key of the model's name, content and interface."""
    embeddings = as_dict(data.get("embeddings"))
    called = [embeddings.get(name) for name in ("interface", "runtime", "precision")]
    if as_dict(data.get("protocol")).get("native_head"):
        # The model's own classifier is another output of the same model.
        called[0] = {**as_dict(called[0]), "output_key": None}
    return repr((model.get("name"), model.get("fingerprint") or model.get("handle"), called))


def _interval(
    value: object, score: float, metric: object, clips: dict
) -> tuple[float, float] | None:
    """Returns the interval to show.

    A bootstrap of equal answers has no width, which says nothing about other clips: shares of clips
    get Wilson's interval instead, other metrics none.
    """
    ends = [number(end) for end in as_list(value)]
    low, high = ends if len(ends) == 2 else (None, None)
    if low is None or high is None or not 0 <= low <= high <= 100:
        return None
    if low < high:
        return low, high
    scored = number(clips.get("n_scored"))
    return wilson(score, scored) if metric in PROPORTIONS and scored and scored >= 1 else None
