"""Protocols: what is fitted, chosen and averaged, against scikit-learn and by hand."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from hares_tf.evaluation import EvaluationError
from hares_tf.evaluation.heads.examples import Examples, clip_scores, probabilities
from hares_tf.evaluation.heads.logistic import LogisticPath
from hares_tf.evaluation.heads.scaling import Standardizer
from hares_tf.evaluation.heads.svm import LinearSVM
from hares_tf.evaluation.protocols import Options, Work, make_protocol, paths
from hares_tf.evaluation.protocols.base import by_fold, every_nth, held_out
from hares_tf.evaluation.protocols.heads import HEADS, LINEAR_C
from hares_tf.evaluation.protocols.svm import SVM_C
from hares_tf.evaluation.results.metrics import METRICS
from hares_tf.evaluation.tasks.declaration import Schedule, Task, Windows
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.utils.progress import Progress


def _blobs(rows, dim, classes, seed=0, spread=1.5):
    random = np.random.default_rng(seed)
    centers = random.normal(size=(classes, dim))
    labels = np.arange(rows) % classes
    mixing = random.normal(size=(dim, dim)) / np.sqrt(dim)
    embeddings = (centers[labels] + spread * random.normal(size=(rows, dim))) @ mixing
    return embeddings.astype(np.float32), labels


def _examples(embeddings, targets, parts, labels=None, rows_per_clip=None):
    clips = len(targets)
    if np.ndim(targets) == 1:
        labels = labels or Labels.classes(f"class{i}" for i in range(int(targets.max()) + 1))
        targets = targets[:, None].astype(np.int32)
    return Examples(
        embeddings=embeddings,
        rows_per_clip=np.ones(clips, int) if rows_per_clip is None else rows_per_clip,
        targets=targets,
        parts=np.array(parts),
        ids=np.array([f"clip{i}" for i in range(clips)]),
        labels=labels,
    )


METRIC_OF = {
    "classes": "accuracy",
    "slots": "exact_match",
    "tags": "mean_average_precision",
}


def _run(name, examples, head="linear", options=None, schedule=None, **work):
    metric = METRIC_OF[examples.labels.kind]
    task = Task(
        "t", 1, "music", Windows(1.0), head, metric, read=None, schedule=schedule or Schedule()
    )
    protocol = make_protocol(name, options or Options())
    function = METRICS[metric].function
    if set(examples.parts.tolist()) & {"test"}:
        train = [p for p in ("train", "validation") if p == "train" or protocol.uses_validation]
        train, test = examples.of_parts(*train), examples.of_parts("test")
    else:
        train = test = examples
    outcome = protocol.run(task, train, test, Work(function, Progress(), **work))
    if outcome.score is None:
        outcome.score = function(outcome.scores, outcome.test.targets, examples.labels)
    return outcome


def test_select_keeps_rows_with_their_clips():
    embeddings = np.arange(12, dtype=np.float32).reshape(6, 2)
    examples = _examples(embeddings, np.array([0, 1, 1]), list("abc"), None, np.array([1, 3, 2]))
    chosen = examples.select(np.array([True, False, True]))
    np.testing.assert_array_equal(chosen.embeddings, embeddings[[0, 4, 5]])
    assert chosen.ids.tolist() == ["clip0", "clip2"]
    assert chosen.row_targets.tolist() == [[0], [1], [1]]


def test_large_matrices_lie_in_files_that_leave_nothing_behind(tmp_path, monkeypatch):
    from hares_tf.evaluation.heads import examples as module

    monkeypatch.setattr(module, "IN_MEMORY_BYTES", 100)
    large = module.matrix(50, 7, tmp_path / "scratch")
    assert isinstance(large, np.memmap) and large.shape == (50, 7)
    large[:] = 3
    assert large.sum() == 3 * 350 and list((tmp_path / "scratch").iterdir()) == []
    embeddings, targets = _blobs(40, 7, 2)
    chosen = _examples(embeddings, targets, ["train"] * 40).select(np.arange(40) % 3 == 0)
    assert isinstance(chosen.embeddings, np.memmap)
    np.testing.assert_array_equal(chosen.embeddings, embeddings[::3])


def test_clip_scores_are_means_over_windows():
    logits = np.array([[1.0, 0], [3, 0], [0, 5], [1, 1], [4, 4], [1, 7]])
    expected = [[2, 0], [0, 5], [2, 4]]
    np.testing.assert_array_equal(clip_scores(logits, np.array([2, 1, 3])), expected)


def test_probabilities_are_per_group():
    logits = np.log(np.array([[1.0, 3, 2, 2, 4]]))
    slots = Labels.slots({"a": "xy", "b": "uvw"})
    np.testing.assert_allclose(
        probabilities(logits, slots), [[0.25, 0.75, 0.25, 0.25, 0.5]], rtol=1e-12
    )
    tags = probabilities(logits, Labels.tags("abcde"))
    np.testing.assert_allclose(tags, [[1 / 2, 3 / 4, 2 / 3, 2 / 3, 4 / 5]], rtol=1e-12)


def test_averaging_probabilities_is_another_score_and_another_identity():
    """One window sure of class 0, two slightly for class 1: the mean of logits and of
    probabilities disagree."""
    examples = _examples(np.zeros((3, 2), np.float32), np.array([1]), ["test"], None, np.array([3]))
    logits = np.array([[9.0, 0], [0, 1.5], [0, 1.5]])
    by_logits = make_protocol("fast", Options()).clip_scores(logits, examples)
    protocol = make_protocol("fast", Options(average="probabilities"))
    by_probabilities = protocol.clip_scores(logits, examples)
    assert by_logits.argmax() == 0 and by_probabilities.argmax() == 1
    assert protocol.identity == "fast(average=probabilities)/2"


def by_sha1(clips):
    return sorted(clips, key=lambda i: hashlib.sha1(f"clip{i}".encode()).hexdigest())


def test_every_fifth_is_by_label_and_sha1():
    targets = np.array([0] * 11 + [1] * 4)
    examples = _examples(np.zeros((15, 1), np.float32), targets, ["train"] * 15)
    mask = every_nth(examples, np.ones(15, bool), 5)
    order = by_sha1(range(11))
    assert sorted(np.flatnonzero(mask)) == sorted([order[4], order[9]])
    with pytest.raises(EvaluationError, match="validation"):
        held_out(examples.select(np.arange(15) >= 11))
    few = every_nth(examples, (np.arange(15) >= 7), 5)  # four of each label count together
    assert list(np.flatnonzero(few)) == [by_sha1(range(7, 15))[4]]
    first = every_nth(examples, np.ones(15, bool), 5, place=1)
    expected = [order[0], order[5], order[10], by_sha1(range(11, 15))[0]]
    assert sorted(np.flatnonzero(first)) == sorted(expected)


def test_a_large_task_chooses_c_on_a_sample(monkeypatch):
    examples = _split_task(3, 2.0)
    whole = _run("fast", examples)
    assert whole.details["c_chosen_on"] == "validation split"
    monkeypatch.setattr(paths, "SAMPLE_WINDOWS", 50)
    sampled = _run("fast", examples)
    clips = int((examples.parts == "train").sum())
    step = -(-clips // 50)
    assert sampled.details["c_chosen_on"].endswith(f"a search on every {step}th other clip")
    # The last fit is on all clips: with the same C it is the same head.
    monkeypatch.setitem(HEADS, "linear", fixed_c(sampled.details["c"]))
    np.testing.assert_allclose(
        centered(_run("fast", examples).scores), centered(sampled.scores), atol=5e-3
    )


def centered(logits):
    """Without what a softmax does not see."""
    return logits - logits.mean(axis=1, keepdims=True)


def fixed_c(c):
    return replace(HEADS["linear"], fast=by_fold(paths.choose_and_refit(LogisticPath, [c], "c")))


def _split_task(seed, spread, validation=True, shuffle_labels=False):
    embeddings, targets = _blobs(240, 12, 4, seed, spread)
    parts = np.array((["train"] * 3 + ["validation" if validation else "train", "test"]) * 48)
    if shuffle_labels:
        targets = np.random.default_rng(1).permutation(targets)
    return _examples(embeddings, targets, parts)


@pytest.mark.parametrize("validation", [True, False])
@pytest.mark.parametrize(("protocol", "strength"), [("fast", "c"), ("smoke", "penalty")])
def test_linear_heads(protocol, strength, validation):
    outcome = _run(protocol, _split_task(0, 0.5, validation))
    assert outcome.score > 95 and len(outcome.test) == 48
    assert ("split" in outcome.details[f"{strength}_chosen_on"]) == validation
    chance = _run(protocol, _split_task(0, 0.5, validation, shuffle_labels=True))
    assert chance.score < 50


def test_fast_linear_chooses_and_refits_as_stated():
    examples = _split_task(3, 2.0)
    outcome = _run("fast", examples)
    train, validation = examples.of_parts("train"), examples.of_parts("validation")
    both, test = examples.of_parts("train", "validation"), examples.of_parts("test")

    def score(fitted, scored, c):
        standardize = Standardizer(fitted.embeddings)
        peer = LogisticRegression(C=c, tol=1e-8, max_iter=10_000)
        peer.fit(standardize(fitted.embeddings.copy()), fitted.targets[:, 0])
        return 100 * peer.score(standardize(scored.embeddings.copy()), scored.targets[:, 0])

    by_c = [score(train, validation, c) for c in LINEAR_C]
    assert list(outcome.details["validation_scores"].values()) == pytest.approx(by_c)
    best = LINEAR_C[int(np.argmax(by_c))]
    assert outcome.details["c"] == best
    assert outcome.score == pytest.approx(score(both, test, best))


def test_a_search_on_many_clips_ends_after_one_that_is_worse(monkeypatch):
    monkeypatch.setattr(paths, "SAMPLE_WINDOWS", 50)
    scores = {1e-4: 20.0, 1e-3: 20.0, 1e-2: 40.0, 1e-1: 60.0, 1.0: 50.0, 10.0: 90.0}
    tried = []

    class Stub:
        converged = True

        def __init__(self, embeddings, targets, labels):
            self.rows = len(embeddings)

        def fit(self, c):
            self.c = c
            tried.append((self.rows, c))

        def solution(self):
            return self.c

        def start_from(self, solution, convert):
            self.c = solution

        def logits(self, embeddings):
            return np.full((len(embeddings), 4), self.c, np.float32)

    examples = _split_task(0, 1.0)
    run = paths.choose_and_refit(Stub, LINEAR_C, "c")
    outcome = run(
        make_protocol("fast", Options()),
        Task("t", 1, "music", Windows(1.0), "linear", "accuracy", read=None),
        examples.of_parts("train", "validation"),
        examples.of_parts("test"),
        Work(lambda logits, *_: scores[round(float(logits[0, 0]), 4)], Progress("none")),
        "",
    )
    sample = [c for rows, c in tried if rows == tried[0][0]]
    on_all = [c for rows, c in tried if rows not in (tried[0][0], tried[-1][0])]
    assert sample == list(LINEAR_C)  # 10 is the best: only one in a row is worse
    assert on_all == [0.1, 1.0]
    assert outcome.details["c"] == 0.1 and tried[-1][1] == 0.1


def test_choices_need_held_out_clips_with_tags():
    examples = _tag_task()
    examples.targets[examples.parts == "validation"] = 0
    with pytest.raises(EvaluationError, match="validation split"):
        _run("fast", examples)


def test_warnings_of_folds_are_told_once():
    examples = _fold_task(0.3)
    tiny = _examples(examples.embeddings * 1e-4, examples.targets[:, 0], examples.parts)
    outcome = _run("paper", tiny, "linear", Options(steps=100))
    assert len(outcome.details["warnings"]) >= 1
    assert all("standardi" in warning for warning in outcome.details["warnings"])


def test_ties_go_to_the_smaller_c():
    outcome = _run("fast", _split_task(0, 0.01))
    scores = outcome.details["validation_scores"]
    assert len({v for v in scores.values() if v == 100}) == 1
    assert outcome.details["c"] == min(float(c) for c, v in scores.items() if v == 100)


@pytest.mark.parametrize("protocol", ["fast", "smoke"])
def test_test_clips_decide_nothing_but_the_score(protocol):
    """Spoiling the test labels moves the score and nothing else."""
    examples = _split_task(0, 1.0)
    spoiled_targets = examples.targets[:, 0].copy()
    spoiled_targets[examples.parts == "test"] = 0
    spoiled = _examples(examples.embeddings, spoiled_targets, examples.parts)
    one, other = _run(protocol, examples), _run(protocol, spoiled)
    assert one.details == other.details and one.score != other.score


def _fold_task(spread, shuffle_labels=False):
    embeddings, targets = _blobs(150, 12, 3, 0, spread)
    if shuffle_labels:
        targets = np.random.default_rng(1).permutation(targets)
    return _examples(embeddings, targets, [str(i // 30 + 1) for i in range(150)])


@pytest.mark.parametrize("protocol", ["fast", "smoke", "paper"])
@pytest.mark.parametrize("head", ["svm", "linear"])
def test_folds(protocol, head):
    options = Options(augmentation="none", steps=4000)  # at 2e-4 fewer would not get far
    outcome = _run(protocol, _fold_task(0.3), head, options)
    assert outcome.score > 95 and len(outcome.test) == 150
    assert list(outcome.details["fold_scores"]) == ["1", "2", "3", "4", "5"]
    assert outcome.score == pytest.approx(np.mean(list(outcome.details["fold_scores"].values())))
    # Every clip's stored score comes from the fold that it was tested in.
    by_hand = METRICS["accuracy"].function(
        outcome.scores, outcome.test.targets, outcome.test.labels
    )
    assert by_hand == pytest.approx(outcome.score)
    assert _run(protocol, _fold_task(0.3, True), head, options).score < 55


def _svm_score(examples, fit_folds, test_fold, c):
    train, test = examples.of_parts(*fit_folds), examples.of_parts(test_fold)
    standardize = Standardizer(train.embeddings)
    svm = LinearSVM(standardize(train.embeddings.copy()), train.targets[:, 0], 3, c)
    found = svm.logits(standardize(test.embeddings.copy()))
    return METRICS["accuracy"].function(found, test.targets, test.labels)


def test_fast_svm_is_nested_as_stated():
    """One outer fold by hand: C by leave-one-fold-out inside the others, refit, score."""
    examples = _fold_task(2.0)
    outcome = _run("fast", examples, "svm")
    inner = ["1", "2", "3", "5"]
    means = [
        np.mean([_svm_score(examples, [f for f in inner if f != held], held, c) for held in inner])
        for c in SVM_C
    ]
    c = SVM_C[int(np.argmax(means))]
    assert outcome.details["c"]["4"] == c
    assert outcome.details["fold_scores"]["4"] == pytest.approx(_svm_score(examples, inner, "4", c))


def test_paper_svm_chooses_on_the_first_fold_and_says_so():
    examples = _fold_task(2.0)
    outcome = _run("paper", examples, "svm", Options(augmentation="none"))
    folds = ["1", "2", "3", "4", "5"]
    on_first = [_svm_score(examples, folds[1:], "1", c) for c in SVM_C]
    c = SVM_C[int(np.argmax(on_first))]
    assert outcome.details["c"] == c and "leakage" in outcome.details["c_chosen_on"]
    expected = [_svm_score(examples, [f for f in folds if f != held], held, c) for held in folds]
    assert outcome.score == pytest.approx(np.mean(expected))
    nested = _run("fast", examples, "svm")
    assert outcome.details["nested"]["score"] == nested.score


def _slot_task():
    embeddings, targets = _blobs(300, 12, 6, 2, 0.5)
    slots = np.stack([targets % 2, targets % 3], axis=1).astype(np.int32)
    labels = Labels.slots({"parity": ("even", "odd"), "third": "abc"})
    return _examples(
        embeddings, slots, ["train", "train", "validation", "train", "test"] * 60, labels
    )


def _tag_task():
    embeddings, targets = _blobs(300, 12, 8, 2, 0.5)
    tags = np.stack([targets & 1, targets & 2, targets > 5], axis=1) > 0
    labels = Labels.tags(("one", "two", "large"))
    parts = ["train", "train", "validation", "train", "test"] * 60
    return _examples(embeddings, tags.astype(np.float32), parts, labels)


@pytest.mark.parametrize("protocol", ["fast", "smoke", "paper"])
@pytest.mark.parametrize("make", [_slot_task, _tag_task])
@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_slots_and_tags_under_every_protocol(protocol, make, head):
    examples = make()
    options = Options(steps=3000, standardize=True)
    outcome = _run(protocol, examples, head, options, Schedule(3000, 64))
    # Chance is 17% for the slots and about 40% for the tags.
    assert outcome.score > 70
    shuffled = np.random.default_rng(0).permutation(examples.targets)
    spoiled = _examples(examples.embeddings, shuffled, examples.parts, examples.labels)
    assert _run(protocol, spoiled, head, options, Schedule(3000, 64)).score < 55


def test_paper_ignores_validation_clips():
    """Spoiling every validation clip changes nothing."""
    examples = _split_task(0, 1.0)
    spoiled = examples.embeddings.copy()
    spoiled[examples.parts == "validation"] = 1e3
    other = _examples(spoiled, examples.targets[:, 0], examples.parts)
    options = Options(steps=300)
    one, two = (_run("paper", e, options=options) for e in (examples, other))
    np.testing.assert_array_equal(one.scores, two.scores)


def test_paper_seeds_are_trained_together_and_averaged():
    outcome = _run("paper", _split_task(0, 2.0), options=Options(steps=200, seeds=3))
    scores = outcome.details["seed_scores"]
    assert len(scores) == 3 and len(set(scores)) > 1
    assert outcome.score == pytest.approx(np.mean(scores))
    single = _run("paper", _split_task(0, 2.0), options=Options(steps=200))
    assert single.score == pytest.approx(scores[0])


@pytest.mark.parametrize(
    ("options", "identity"),
    [
        (Options(), "paper(K=4)/1"),
        (Options(views=16), "paper(K=16)/1"),
        (Options(views="online"), "paper(views=online)/1"),
        (Options(steps=100), "paper(K=4,steps=100)/1"),
        (Options(standardize=True), "paper(K=4,standardize=yes)/1"),
        (Options(augmentation="none", average="probabilities"),
         "paper(K=4,augmentation=none,average=probabilities)/1"),
    ],
)  # fmt: skip
def test_what_moves_scores_is_in_the_identity_and_in_the_folder(options, identity):
    protocol = make_protocol("paper", options)
    assert protocol.identity == identity
    inside = identity.removesuffix("/1").removeprefix("paper(").removesuffix(")")
    expected = "-".join(["paper", *(one for one in inside.split(",") if one != "K=4")])
    assert protocol.folder == expected


@pytest.mark.parametrize(
    "wrong",
    [{"views": 0}, {"views": "many"}, {"seeds": 0}, {"average": "scores"}, {"steps": 0},
     {"augmentation": "gain"}],
)  # fmt: skip
def test_options_that_cannot_be(wrong):
    with pytest.raises(EvaluationError, match=next(iter(wrong))):
        Options(**wrong)
