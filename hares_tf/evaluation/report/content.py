"""What a report says, apart from its format."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hares_tf.evaluation.report import comparison
from hares_tf.evaluation.report.comparison import Table
from hares_tf.evaluation.report.reading import Result, text


@dataclass(frozen=True)
class ClassScore:
    """How one class (or tag) fares.

    Attributes:
        name: of the class.
        clips: tested clips that carry it.
        score: percent: recall of a class, average precision of a tag.
        mistaken: for what it is taken most often, "" if never or for tags.
        times: how often.
    """

    name: str
    clips: int
    score: float
    mistaken: str = ""
    times: int = 0


@dataclass(frozen=True)
class Detail:
    """What the predictions of one model on one task show.

    Attributes:
        group: name of the label group; "" where a task has only one.
        names: of the classes; empty for tags.
        matrix: `[classes][classes]` clips by true class and answer, None for tags and where there
            are too many classes to show.
        classes: the worst classes first.
        n_classes: classes with tested clips.
        pairs: (true class, answer, clips), the most frequent mistakes first.
    """

    group: str
    names: tuple[str, ...]
    matrix: list[list[int]] | None
    classes: tuple[ClassScore, ...]
    n_classes: int
    pairs: tuple[tuple[str, str, int], ...] = ()


@dataclass(frozen=True)
class Paired:
    """Difference of two models on the same clips: score of the first minus that of the second.

    Attributes:
        identity: of the protocol.
        task: name of the task.
        first: name of a model.
        second: name of another.
        difference: in points of percent.
        low: of its 95% interval.
        high: of it.
    """

    identity: str
    task: str
    first: str
    second: str
    difference: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """In words."""
        if self.low > 0:
            return f"{self.first} is better"
        return f"{self.second} is better" if self.high < 0 else "no clear difference"


@dataclass
class Content:
    """Everything a report shows.

    Attributes:
        tables: by protocol identity and suite.
        results: all of them.
        paper_tables: numbers of the paper's tables beside them.
        details: by (model key, suite, task, identity).
        paired: differences of models, in the order of the tables.
        problems: sentences on what was passed over or could not be shown.
    """

    tables: list[Table]
    results: tuple[Result, ...]
    paper_tables: tuple[int, ...]
    details: dict[tuple, list[Detail]] = field(default_factory=dict)
    paired: list[Paired] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def identities(self) -> list[str]:
        """Of the protocols, sorted."""
        return list(dict.fromkeys(table.identity for table in self.tables))

    def names(self) -> dict[str, str]:
        """Distinct names of the models by key."""
        return comparison.model_names(self.results)


@dataclass(frozen=True)
class Provenance:
    """Where the scores of one model come from.

    Attributes:
        name: of the model.
        facts: (what, value), of the model.
        results: one list of cells per result, under `COLUMNS`.
        failures: (task, clip, why), at most `MOST_FAILURES`.
        n_failures: all of them.
        notes: (task, sentence): warnings of protocols and notes on the data.
    """

    name: str
    facts: list[tuple[str, str]]
    results: list[list[str]]
    failures: list[tuple[str, str, str]]
    n_failures: int
    notes: list[tuple[str, str]]


MOST_FAILURES = 20
COLUMNS = (
    "task", "protocol", "score", "clips used", "missing", "failed", "left out", "repeated",
    "labels scored", "embedding s", "head s", "clips embedded", "finished", "manifest", "file",
)  # fmt: skip


def provenance(content: Content) -> list[Provenance]:
    """The provenance of every model, in order of appearance."""
    made = []
    for key, name in content.names().items():
        results = [result for result in content.results if result.model == key]
        failures = [
            (result.task, clip, text(why))
            for result in results
            for clip, why in _items(result.clips.get("failures"))
        ]
        made.append(
            Provenance(
                name=name,
                facts=_facts(results),
                results=[_line(result) for result in results],
                failures=failures[:MOST_FAILURES],
                n_failures=len(failures),
                notes=[(result.task, note) for result in results for note in notes(result)],
            )
        )
    return made


def notes(result: Result) -> list[str]:
    """What a reader should know of a result: warnings, notes on the data, leaks."""
    protocol = result.section("protocol")
    found = [*_texts(protocol.get("warnings")), *_texts(result.clips.get("notes"))]
    if protocol.get("converged") is False:
        found.append("the head did not converge; do not trust this score")
    if repeated := result.number("clips", "n_repeated_across_parts"):
        found.append(f"{repeated:.0f} recording(s) stand, byte for byte, in two parts")
    return list(dict.fromkeys(found))


def choices(result: Result) -> str:
    """What the protocol chose, in one line."""
    protocol = result.section("protocol")
    kept = {k: v for k, v in protocol.items() if k not in ("name", "version", "identity")}
    kept.pop("warnings", None)
    return text("; ".join(f"{k}: {_short(v)}" for k, v in kept.items() if v not in (None, {}, [])))


def _facts(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Of the model and machine; where results differ, every value once."""

    def every(section: str, name: str) -> str:
        values = dict.fromkeys(_short(result.section(section).get(name)) for result in results)
        return text(" | ".join(value for value in values if value), 1200)

    def packages(result: Result) -> str:
        environment = result.section("environment")
        versions = {"hares_tf": environment.get("hares_tf"), "python": environment.get("python")}
        versions |= dict(_items(environment.get("packages")))
        return ", ".join(f"{name} {version}" for name, version in versions.items() if version)

    facts = [
        ("name", every("model", "name")),
        ("handle", every("model", "handle")),
        ("fingerprint", every("model", "fingerprint") or "none: nothing of it was reused"),
        ("parameters", _grouped(every("model", "parameters"))),
        ("embedding size", every("model", "embedding_size")),
        ("interface", every("model", "interface")),
        ("training", every("model", "training")),
        ("weights", every("model", "weights")),
        ("versions", text(" | ".join(dict.fromkeys(map(packages, results))), 1200)),
        ("commit", every("environment", "git_commit")),
        ("machine", every("environment", "cpu")),
        ("processors", every("environment", "cpu_count")),
        ("accelerators", every("environment", "accelerators")),
        ("platform", every("environment", "platform")),
    ]
    return [(name, value) for name, value in facts if value]


def _line(result: Result) -> list[str]:
    def count(section: str, name: str) -> str:
        value = result.number(section, name)
        return "" if value is None else f"{value:,.0f}"

    def seconds(name: str) -> str:
        value = result.number("seconds", name)
        return "" if value is None else f"{value:,.1f}"

    labels = [count("clips", name) for name in ("n_labels_scored", "n_labels")]
    return [
        result.task,
        result.identity,
        f"{result.score:.2f}" + ("" if result.complete else " (incomplete)"),
        " of ".join(filter(None, [count("clips", "n_used"), count("clips", "n_expected")])),
        count("clips", "n_missing"),
        count("clips", "n_failed"),
        count("clips", "n_excluded") or count("clips", "n_excluded_rows"),
        count("clips", "n_repeated_across_parts"),
        " of ".join(filter(None, labels)),
        seconds("embedding"),
        seconds("head"),
        count("seconds", "clips_embedded"),
        result.finished[:19].replace("T", " "),
        text(result.clips.get("manifest_hash"))[:12],
        text(result.place),
    ]


def _items(value) -> list[tuple]:
    return list(value.items()) if isinstance(value, dict) else []


def _texts(value) -> list[str]:
    return [text(entry) for entry in value] if isinstance(value, list) else []


def _grouped(digits: str) -> str:
    """A whole number with marks between its thousands; other texts as they are."""
    return f"{int(digits):,}" if digits.isdecimal() and digits.isascii() else digits


def _short(value) -> str:
    """JSON data in words."""
    if value is None or value == "":
        return ""
    if isinstance(value, dict):
        return ", ".join(
            f"{key}={_short(entry)}" for key, entry in value.items() if entry is not None
        )
    if isinstance(value, list):
        return ", ".join(map(_short, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return text(value)
