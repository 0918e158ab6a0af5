"""Provenance: the origin of every score of a report."""

from collections.abc import Sequence
from dataclasses import dataclass

from hares_tf.evaluation.report.content import Content
from hares_tf.evaluation.report.reading import Result
from hares_tf.evaluation.report.values import as_dict, as_list, text


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
    records = []
    for key, name in content.names().items():
        results = [result for result in content.results if result.model == key]
        failures = [
            (result.task, clip, text(why))
            for result in results
            for clip, why in as_dict(result.clips.get("failures")).items()
        ]
        records.append(
            Provenance(
                name=name,
                facts=_facts(results),
                results=[_line(result) for result in results],
                failures=failures[:MOST_FAILURES],
                n_failures=len(failures),
                notes=[(result.task, note) for result in results for note in notes(result)],
            )
        )
    return records


def notes(result: Result) -> list[str]:
    """Returns what a reader should know of a result: warnings, notes on the data, leaks."""
    protocol = result.section("protocol")
    stated = [*as_list(protocol.get("warnings")), *as_list(result.clips.get("notes"))]
    sentences = [text(note) for note in stated]
    if protocol.get("converged") is False:
        sentences.append("the head did not converge; do not trust this score")
    if repeated := result.number("clips", "n_repeated_across_parts"):
        sentences.append(f"{repeated:.0f} recording(s) are, byte for byte, in two parts")
    return list(dict.fromkeys(sentences))


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
