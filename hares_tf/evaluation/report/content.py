"""Content of a report, independent of its format."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hares_tf.evaluation.report.comparison import Row, Table
from hares_tf.evaluation.report.names import model_names
from hares_tf.evaluation.report.reading import Result
from hares_tf.evaluation.report.values import as_dict, as_list, text


@dataclass(frozen=True)
class ClassScore:
    """The score of one class or tag on the tested clips that have it."""

    name: str
    clips: int
    score: float  # percent: recall of a class, average precision of a tag
    mistaken: str = ""  # the class it is most often mistaken for
    times: int = 0  # number of those mistakes


@dataclass(frozen=True)
class Detail:
    """Confusions and worst classes of one model on one label group of a task.

    Attributes:
        group: name of the label group; "" where a task has only one.
        names: of the classes; empty for tags.
        matrix: confusion matrix `[classes][classes]`, true classes down; None for tags and for too
            many classes to show.
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

    Difference and its 95% interval (low, high) are in points of percent; `identity` is that of the
    protocol.
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
        """The result in words."""
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
        problems: sentences about what was skipped or cannot be shown.
    """

    tables: list[Table]
    results: tuple[Result, ...]
    paper_tables: tuple[int, ...]
    details: dict[tuple, list[Detail]] = field(default_factory=dict)
    paired: list[Paired] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def identities(self) -> list[str]:
        """Identities of the protocols, in the order of the tables."""
        return list(dict.fromkeys(table.identity for table in self.tables))

    def tables_of(self, identity: str) -> list[Table]:
        """Returns the tables of one protocol identity."""
        return [table for table in self.tables if table.identity == identity]

    def paired_of(self, identity: str) -> list[Paired]:
        """Returns the differences under one protocol identity."""
        return [pair for pair in self.paired if pair.identity == identity]

    def details_of(self, table: Table) -> Iterator[tuple[Row, str, list[Detail]]]:
        """Yields task, name of the model and its details, where there are any."""
        for row in table.task_rows:
            for model, name in zip(table.models, table.names, strict=True):
                if found := self.details.get((model, table.suite, row.id, table.identity)):
                    yield row, name, found

    def names(self) -> dict[str, str]:
        """Returns distinct names of the models by key."""
        return model_names(self.results)


@dataclass(frozen=True)
class Provenance:
    """The origin of the scores of one model."""

    name: str
    facts: list[tuple[str, str]]  # (name, value) of each property of the model and its machine
    results: list[list[str]]  # cells under `COLUMNS`
    failures: list[tuple[str, str, str]]  # (task, clip, reason), at most `MOST_FAILURES`
    n_failures: int  # number of all failures
    notes: list[tuple[str, str]]  # (task, sentence): warnings of protocols, notes on the data


MOST_FAILURES = 20
COLUMNS = (
    "task", "protocol", "score", "clips used", "missing", "failed", "left out", "repeated",
    "labels scored", "embedding s", "head s", "clips embedded", "finished", "manifest", "file",
)  # fmt: skip


def provenance(content: Content) -> list[Provenance]:
    """Returns the provenance of every model, in order of appearance."""
    made = []
    for key, name in content.names().items():
        results = [result for result in content.results if result.model == key]
        failures = [
            (result.task, clip, text(why))
            for result in results
            for clip, why in as_dict(result.clips.get("failures")).items()
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
    """Returns what a reader should know of a result: warnings, notes on the data, leaks."""
    protocol = result.section("protocol")
    stated = [*as_list(protocol.get("warnings")), *as_list(result.clips.get("notes"))]
    found = [text(note) for note in stated]
    if protocol.get("converged") is False:
        found.append("the head did not converge; do not trust this score")
    if repeated := result.number("clips", "n_repeated_across_parts"):
        found.append(f"{repeated:.0f} recording(s) are, byte for byte, in two parts")
    return list(dict.fromkeys(found))


def choice_rows(content: Content) -> list[tuple[str, str, str, str]]:
    """Returns model, task, protocol identity and the protocol's choices of every result."""
    names = content.names()
    return [(names[r.model], r.task, r.identity, _choices(r)) for r in content.results]


def _choices(result: Result) -> str:
    protocol = result.section("protocol")
    other = ("name", "version", "identity", "warnings")
    kept = {k: v for k, v in protocol.items() if k not in other}
    return text("; ".join(f"{k}: {_short(v)}" for k, v in kept.items() if v not in (None, {}, [])))


def _facts(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Returns facts on the model and machine; where results differ, every value once."""

    def every(section: str, name: str) -> str:
        values = dict.fromkeys(_short(result.section(section).get(name)) for result in results)
        return text(" | ".join(value for value in values if value), 1200)

    def packages(result: Result) -> str:
        environment = result.section("environment")
        versions = {"hares_tf": environment.get("hares_tf"), "python": environment.get("python")}
        versions |= as_dict(environment.get("packages"))
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
    def count(section: str, name: str, digits: int = 0) -> str:
        value = result.number(section, name)
        return "" if value is None else f"{value:,.{digits}f}"

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
        count("seconds", "embedding", digits=1),
        count("seconds", "head", digits=1),
        count("seconds", "clips_embedded"),
        result.finished[:19].replace("T", " "),
        text(result.clips.get("manifest_hash"))[:12],
        text(result.place),
    ]


def _grouped(digits: str) -> str:
    """Inserts thousands separators into a whole number; returns other texts unchanged."""
    return f"{int(digits):,}" if digits.isdecimal() and digits.isascii() else digits


def _short(value: object) -> str:
    """Returns JSON data as text."""
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
