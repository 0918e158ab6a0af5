"""Names of models and of the paper's rows, distinct within a report."""

from collections.abc import Iterable, Sequence

from hares_tf.evaluation import published
from hares_tf.evaluation.encoders.runtime import OPENVINO
from hares_tf.evaluation.published import PublishedRow
from hares_tf.evaluation.report.reading import Result
from hares_tf.evaluation.report.values import text

_OBJECTIVES = {
    "classification": "supervised",
    "simclr": "SimCLR",
    "byol_a": "BYOL-A",
    "cpc": "CPC",
    "wav2vec2": "Wav2Vec2.0",
}


def model_names(results: Iterable[Result]) -> dict[str, str]:
    """Returns a distinct name for each model (by key), in order of appearance."""
    first: dict[str, Result] = {}
    for result in results:
        first.setdefault(result.model, result)
    own_names = {key: _own_name(result) for key, result in first.items()}
    names: dict[str, str] = {}
    for key, own in own_names.items():
        mark = str(first[key].section("model").get("fingerprint") or "")[:6]
        name = f"{own} ({mark})" if list(own_names.values()).count(own) > 1 and mark else own
        number = 2
        while name in names.values():
            name = f"{own} #{number}"
            number += 1
        names[key] = name
    return names


def _own_name(result: Result) -> str:
    """Returns the model's name, with the runtime if that was not TensorFlow."""
    embeddings = result.section("embeddings")
    if embeddings.get("runtime") != OPENVINO:
        return result.name
    return f"{result.name} (OpenVINO {text(embeddings.get('precision'), 20)})"


def paper_rows(numbers: Iterable[int]) -> list[PublishedRow]:
    """Returns the rows of several of the paper's tables; a row that two tables print, once.

    Raises:
        EvaluationError: there are no scores in a table of that number.
    """
    kept: dict[tuple, PublishedRow] = {}
    for number in numbers:
        for row in published.rows(number):
            kept.setdefault((row.model, row.objective, row.training_data, row.source), row)
    return list(kept.values())


def paper_names(rows: Sequence[PublishedRow]) -> list[str]:
    """Returns short distinct names of published rows, without the paper's "(ours)"."""
    names = []
    for row in rows:
        name = row.name.replace(" (ours)", "").replace("(ours, LS)", "(LS)")
        names.append(name if row.source == "ours" else f"{name} {row.source.split()[0]}")
    return [
        f"{name} {_OBJECTIVES[row.objective]}" if names.count(name) > 1 else name
        for name, row in zip(names, rows, strict=True)
    ]
