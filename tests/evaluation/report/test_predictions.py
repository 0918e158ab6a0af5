"""Details from predictions: confusions and worst classes."""

import numpy as np
import pytest
from evaluation.report.stored_results import (
    Page,
    labeled,
    read,
    result,
    save,
    save_with_answers,
)

from hares_tf.evaluation.report import (
    details,
    predictions,
    write,
)


def test_confusions_against_scikit_learn(tmp_path):
    from sklearn.metrics import average_precision_score, confusion_matrix, recall_score

    names = [f"c{i}" for i in range(7)]
    data = result("a", "esc50", 90.0)
    answers = labeled(data, names, skill=1.5)
    save_with_answers(tmp_path, [(data, answers)])
    (found,) = details.describe(predictions.load(read(tmp_path)[0]))
    truth, guess = answers["targets"][:, 0], answers["scores"].argmax(1)
    assert found.matrix == confusion_matrix(truth, guess).tolist()
    recalls = recall_score(truth, guess, average=None) * 100
    assert {c.name: c.score for c in found.classes} == pytest.approx(
        dict(zip(names, recalls, strict=True))
    )
    assert [c.score for c in found.classes] == pytest.approx(sorted(recalls))
    wrong = confusion_matrix(truth, guess) * (1 - np.eye(7, dtype=int))
    assert found.pairs[0][2] == wrong.max() and sum(n for *_, n in found.pairs) <= wrong.sum()

    tagged = result("a", "magnatagatune", 40.0)
    answers = labeled(tagged, names, kind="tags", skill=1.0)
    answers["scores"][:, 3] = -np.inf
    save_with_answers(tmp_path / "tags", [(tagged, answers)])
    (found,) = details.describe(predictions.load(read(tmp_path / "tags")[0]))
    wanted = average_precision_score(answers["targets"][:, 0], answers["scores"][:, 0])
    assert {c.name: c.score for c in found.classes}["c0"] == pytest.approx(100 * wanted)
    # A constant score ranks nothing: its average precision is the share of the tag.
    share = 100 * answers["targets"][:, 3].mean()
    assert {c.name: c.score for c in found.classes}["c3"] == pytest.approx(share)


def test_each_slot_has_a_matrix_and_many_classes_have_none(tmp_path):
    slots = result("a", "fluent_speech_commands", 40.0)
    groups = {"action": list("abc"), "object": list("defgh")}
    many = result("a", "voxceleb1", 40.0)
    save_with_answers(
        tmp_path,
        [
            (slots, labeled(slots, groups, kind="slots")),
            (many, labeled(many, [f"id{i}" for i in range(51)], skill=1.0)),
        ],
    )
    found = {one.task: details.describe(predictions.load(one)) for one in read(tmp_path)}
    first, second = found["fluent_speech_commands"]
    assert (first.group, np.shape(first.matrix)) == ("action", (3, 3))
    assert (second.group, np.shape(second.matrix)) == ("object", (5, 5))
    assert np.sum(first.matrix) == np.sum(second.matrix) == 400
    (large,) = found["voxceleb1"]
    assert large.matrix is None and len(large.classes) == 20 and len(large.pairs) == 20
    write([tmp_path], [tmp_path / "r.html"])
    page = Page(tmp_path / "r.html")
    assert dict(page.attributes)["aria-label"]
    assert sum(name == "class" and value == "matrix" for name, value in page.attributes) == 2


def _damage(name, data, path):
    if name == "absent":
        path.unlink()
    elif name == "cut":
        path.write_bytes(path.read_bytes()[:200])
    elif name == "pickled":
        np.savez(
            path, ids=np.array([{}], object), scores=np.zeros((1, 3)), targets=np.zeros((1, 1))
        )
    elif name == "no array":
        np.savez(path, ids=np.array(["a"]))
    elif name == "other width":
        np.savez(path, **labeled(result("a", "esc50", 1.0), list("abcd")))
    elif name == "outside":
        data["predictions"] = "../../secret.npz"
        save(path.parents[2], [data])


@pytest.mark.parametrize(
    "damage", ["absent", "cut", "pickled", "no array", "other width", "outside"]
)
def test_damaged_predictions_are_reported_on_the_page(tmp_path, damage):
    data = result("a", "esc50", 90.0)
    save_with_answers(tmp_path / "r", [(data, labeled(data, list("abc")))])
    np.savez(tmp_path / "secret.npz", **labeled(result("a", "esc50", 1.0), list("abc")))
    _damage(damage, data, tmp_path / "r" / "paper" / "a" / "esc50.predictions.npz")
    (problem,) = write([tmp_path / "r"], [tmp_path / "r.html"])
    assert "predictions" in problem
    page = Page(tmp_path / "r.html")
    assert "90.0" in page.cells("ESC-50")[0][1] and "matrix" not in dict(page.attributes).values()
