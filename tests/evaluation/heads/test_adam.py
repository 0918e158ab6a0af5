"""Heads trained by Adam against the same rule in float64, and against their own interruptions."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from hares_tf.evaluation import EvaluationError
from hares_tf.evaluation.heads.adam import AdamHeads, scale_warning, train_heads
from hares_tf.evaluation.heads.adam_loop import AdamConfig, initial_parameters, learning_rates
from hares_tf.evaluation.heads.sampling import EmbeddingFeed, StepSampler
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.utils.schedules import warmup_schedule

DIM, ROWS, BATCH = 12, 90, 16
SPACES = {
    "classes": Labels.classes("abcde"),
    "slots": Labels.slots({"action": "abc", "object": "defg", "place": "hi"}),
    "tags": Labels.tags("abcdef"),
}


def _feed(kind, rows_per_clip=2, dim=DIM, seed=0):
    random = np.random.default_rng(seed)
    labels = SPACES[kind]
    embeddings = random.normal(size=(ROWS, dim)).astype(np.float32)
    clips = ROWS // rows_per_clip
    if kind == "tags":  # soft: mixed clips have targets between 0 and 1
        targets = random.beta(0.5, 0.5, (clips, labels.width)).astype(np.float32)
    else:
        targets = np.stack([random.integers(0, width, clips) for width in labels.widths], axis=1)
        targets = targets.astype(np.int32)
    sampler = StepSampler(np.full(clips, rows_per_clip), BATCH, seed)
    return EmbeddingFeed(embeddings, targets, sampler)


def _loss_gradient(labels, logits, targets):
    """By logits `[batch, width]`: of the summed cross-entropies, averaged over the batch."""
    if labels.kind == "tags":
        return (1 / (1 + np.exp(-logits)) - targets) / len(logits)
    gradient = np.zeros_like(logits)
    for column, block in enumerate(labels.blocks):
        exponentials = np.exp(logits[:, block])
        gradient[:, block] = exponentials / exponentials.sum(axis=1, keepdims=True)
        gradient[np.arange(len(logits)), block.start + targets[:, column]] -= 1
    return gradient / len(logits)


def _reference(feed, labels, config, start, head=0):
    """Adam in float64, from Kingma and Ba's algorithm 1, one step after the other."""
    values = {name: value[head].astype(np.float64) for name, value in start.items()}
    first, second = ({name: np.zeros_like(v) for name, v in values.items()} for _ in range(2))
    peak, l2 = config.peak_learning_rate, config.l2[head]
    for step in range(config.steps):
        x, targets = (array[0] for array in feed(step, 1))
        x = x.astype(np.float64)
        inner = x
        if config.hidden:
            inner = np.maximum(0, x @ values["hidden_weights"] + values["hidden_bias"])
        by_logits = _loss_gradient(labels, inner @ values["weights"] + values["bias"], targets)
        gradients = {"weights": inner.T @ by_logits, "bias": by_logits.sum(axis=0)}
        if config.hidden:
            by_hidden = (by_logits @ values["weights"].T) * (inner > 0)
            gradients["hidden_weights"] = x.T @ by_hidden
            gradients["hidden_bias"] = by_hidden.sum(axis=0)
        if step < config.warm_up:
            rate = peak * step / config.warm_up
        else:
            part = (step - config.warm_up) / (config.steps - config.warm_up)
            rate = peak * (1 + np.cos(np.pi * part)) / 2
        for name, gradient in gradients.items():
            if name.endswith("weights"):
                gradient = gradient + 2 * l2 * values[name]
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.999 * second[name] + 0.001 * gradient**2
            mean = first[name] / (1 - 0.9 ** (step + 1))
            square = second[name] / (1 - 0.999 ** (step + 1))
            values[name] -= rate * mean / (np.sqrt(square) + 1e-8)
    return values


def _train(kind, config, feed=None, **options):
    feed = feed or _feed(kind)
    return train_heads(feed, SPACES[kind], DIM, config, **options).parameters


def _assert_bitwise(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("hidden", [0, 7], ids=["linear", "mlp"])
@pytest.mark.parametrize("kind", SPACES)
@pytest.mark.parametrize("steps", [1, 300])
def test_adam_is_the_published_rule(kind, hidden, steps):
    config = AdamConfig(
        steps=steps,
        batch=BATCH,
        warm_up=0 if steps == 1 else 40,
        hidden=hidden,
        seeds=(3, 4),
        peak_learning_rate=3e-3,
        l2=(0.0, 1e-2),
    )
    feed = _feed(kind)
    start = initial_parameters(SPACES[kind].width, DIM, config)
    found = _train(kind, config, feed)
    for head in range(2):
        expected = _reference(feed, SPACES[kind], config, start, head)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            moved = np.abs(value - start[name][head]).max()
            assert moved > 1e-3
            # float32: of one step all but the rounding of gradients and values; of 300, what that
            # grows to where signs of small gradients differ.
            np.testing.assert_allclose(found[name][head], value, atol=2e-3 * moved, rtol=0)


def test_first_step_has_the_size_of_the_learning_rate():
    # Without warm-up the first step is rate * g / (|g| + epsilon): the rate, by Kingma and Ba.
    config = AdamConfig(steps=1, batch=BATCH, warm_up=0, peak_learning_rate=0.01)
    start = initial_parameters(5, DIM, config)
    moved = _train("classes", config)["weights"] - start["weights"]
    np.testing.assert_allclose(np.abs(moved), 0.01, rtol=1e-4)


def test_schedule():
    config = AdamConfig()
    assert (config.steps, config.batch, config.peak_learning_rate) == (400_000, 64, 2e-4)
    places = {
        0: 0,
        2500: 0.5,
        5000: 1,
        5000 + 395_000 // 4: (1 + np.sqrt(0.5)) / 2,
        5000 + 395_000 // 2: 0.5,
        400_000: 0,
    }
    for step, expected in places.items():
        assert learning_rates(config, step, 1)[0] == pytest.approx(expected, abs=1e-12)
    whole = learning_rates(config, 0, 400_000)
    assert np.all(np.diff(whole[:5001]) > 0) and np.all(np.diff(whole[5000:]) < 0)
    assert 0 < whole[-1] < 1e-10


def test_schedule_is_that_of_pretraining():
    config = AdamConfig(steps=2000, warm_up=500)
    schedule = warmup_schedule(1.0, config.warm_up, config.steps)
    expected = [float(schedule(step)) for step in range(0, 2000, 40)]
    np.testing.assert_allclose(learning_rates(config, 0, 2000)[::40], expected, atol=2e-7)


@pytest.mark.parametrize("hidden", [0, 7], ids=["linear", "mlp"])
def test_heads_together_are_heads_alone(hidden):
    seeds, l2 = (0, 1, 0), (0.0, 0.0, 0.1)
    common = {"steps": 100, "batch": BATCH, "warm_up": 10, "hidden": hidden}
    common["peak_learning_rate"] = 1e-2
    together = _train("slots", AdamConfig(**common, seeds=seeds, l2=l2))
    for head in range(3):
        alone = _train(
            "slots",
            AdamConfig(
                **common,
                seeds=seeds[head : head + 1],
                l2=l2[head : head + 1],
            ),
        )
        for name, value in alone.items():
            np.testing.assert_allclose(together[name][head], value[0], atol=2e-4)
    assert np.abs(together["weights"][0] - together["weights"][1]).max() > 0.1


def test_initial_weights():
    config = AdamConfig(hidden=200, seeds=(0, 1), l2=(0.0, 0.0))
    start = initial_parameters(300, 400, config)
    shapes = {name: value.shape for name, value in start.items()}
    assert shapes == {
        "weights": (2, 200, 300),
        "bias": (2, 300),
        "hidden_weights": (2, 400, 200),
        "hidden_bias": (2, 200),
    }
    assert not start["bias"].any() and not start["hidden_bias"].any()
    for name, inputs in (("weights", 200), ("hidden_weights", 400)):
        normal = start[name] * np.sqrt(inputs)
        assert 1.99 < np.abs(normal).max() <= 2
        # The standard normal distribution cut off at two: variance 1 - 4 pdf(2) / (2 cdf(2) - 1).
        assert normal.std() == pytest.approx(0.8796, abs=0.01)
        assert normal.mean() == pytest.approx(0, abs=0.01)
        assert np.any(start[name][0] != start[name][1])


LONG = {
    hidden: AdamConfig(
        steps=120,
        batch=BATCH,
        warm_up=20,
        hidden=hidden,
        seeds=(0, 1),
        peak_learning_rate=1e-2,
        l2=(0.0, 0.01),
    )
    for hidden in (0, 7)
}
# Chunks of ten steps.
SHORT_CHUNKS = {"chunk_bytes": 10 * BATCH * DIM * 4, "checkpoint_seconds": 0.0}


@pytest.mark.parametrize("kind", SPACES)
@pytest.mark.parametrize("hidden", LONG)
def test_chunks_and_interruptions_change_no_bit(kind, hidden, tmp_path):
    config, path = LONG[hidden], tmp_path / "state.npz"
    undisturbed = _train(kind, config)
    steps = []

    def interrupt(step):
        steps.append(step)
        if step in (40, 90):
            raise InterruptedError

    for _ in range(2):
        with pytest.raises(InterruptedError):
            _train(kind, config, checkpoint=path, progress=interrupt, **SHORT_CHUNKS)
    resumed = _train(kind, config, checkpoint=path, progress=steps.append, **SHORT_CHUNKS)
    assert steps == list(range(10, 130, 10))
    _assert_bitwise(resumed, undisturbed)
    # The last checkpoint stays until the caller removes it, and leads to the same end.
    again = []
    repeated = _train(kind, config, checkpoint=path, progress=again.append, **SHORT_CHUNKS)
    assert again == [120]
    _assert_bitwise(repeated, undisturbed)


def _train_slowly(path):
    """What the process below runs; it would take a minute."""
    _train(
        "classes",
        LONG[0],
        checkpoint=path,
        progress=lambda step: time.sleep(0.01 if step < 60 else 60),
        **SHORT_CHUNKS,
    )


def test_a_killed_process_goes_on(tmp_path):
    path = tmp_path / "state.npz"
    root = str(pathlib.Path(__file__).parents[2])
    program = f"from evaluation.heads.test_adam import _train_slowly; _train_slowly({str(path)!r})"
    environment = {**os.environ, "PYTHONPATH": root}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment)
    try:
        deadline = time.monotonic() + 120
        while not path.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL
    steps = []
    found = _train("classes", LONG[0], checkpoint=path, progress=steps.append, **SHORT_CHUNKS)
    assert 10 < steps[0] <= 120
    _assert_bitwise(found, _train("classes", LONG[0]))


def test_checkpoints_of_something_else_are_not_used(tmp_path):
    path = tmp_path / "state.npz"

    def first_step(config=LONG[0], identity="data"):
        steps = []
        _train(
            "classes",
            config,
            checkpoint=path,
            identity=identity,
            progress=steps.append,
            **SHORT_CHUNKS,
        )
        return steps[0]

    assert first_step() == 10
    assert first_step() == 120
    assert first_step(identity="other data") == 10
    assert first_step(config=AdamConfig(**{**vars(LONG[0]), "seeds": (0, 2)})) == 10
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(EvaluationError, match=r"state\.npz cannot be read .* delete it"):
        first_step()


def test_checkpoints_come_by_time(tmp_path):
    _train("classes", LONG[0], checkpoint=tmp_path / "state.npz", chunk_bytes=1)
    assert not list(tmp_path.iterdir())


def test_memory_map(tmp_path):
    feed = _feed("classes")
    np.save(tmp_path / "rows.npy", feed._embeddings)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    mapped_feed = EmbeddingFeed(mapped, feed._targets, feed._sampler)
    assert mapped_feed.identity == feed.identity
    _assert_bitwise(_train("classes", LONG[7], mapped_feed), _train("classes", LONG[7], feed))


@pytest.mark.parametrize("hidden", [0, 6], ids=["linear", "mlp"])
def test_logits(hidden, tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    x = random.normal(size=(50, 4)).astype(np.float32)
    inner = hidden or 4
    parameters = {
        "weights": random.normal(size=(2, inner, 3)).astype(np.float32),
        "bias": random.normal(size=(2, 3)).astype(np.float32),
    }
    features = [x, x]
    if hidden:
        parameters["hidden_weights"] = random.normal(size=(2, 4, hidden)).astype(np.float32)
        parameters["hidden_bias"] = random.normal(size=(2, hidden)).astype(np.float32)
        features = [
            np.clip(x @ w + b, 0, None)
            for w, b in zip(parameters["hidden_weights"], parameters["hidden_bias"], strict=True)
        ]
    expected = np.stack(
        [f @ w + b for f, w, b in zip(features, *list(parameters.values())[:2], strict=True)]
    )
    np.save(tmp_path / "x.npy", x)
    monkeypatch.setattr("hares_tf.evaluation.heads.adam.LOGITS_BYTES", 7 * 4 * inner)
    logits = AdamHeads(parameters).logits(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


def _blobs(rows, spread):
    random = np.random.default_rng(0)
    centers = random.normal(size=(4, 20))
    classes = np.arange(rows) % 4
    return (centers[classes] + spread * random.normal(size=(rows, 20))).astype(np.float32), classes


def test_accuracy_of_the_optimum():
    x, classes = _blobs(2000, spread=1.5)
    train, test = slice(0, 1000), slice(1000, None)
    feed = EmbeddingFeed(
        x[train], classes[train, None].astype(np.int32), StepSampler(np.ones(1000, int), 64, 0)
    )
    # The mean of the batch against scikit-learn's sum over rows: C = 1 / (2 l2 rows).
    config = AdamConfig(steps=3000, warm_up=100, peak_learning_rate=1e-2, l2=(1e-3,))
    heads = train_heads(feed, Labels.classes("abcd"), 20, config)
    peer = LogisticRegression(C=1 / (2 * 1e-3 * 1000), tol=1e-8, max_iter=1000)
    peer.fit(x[train], classes[train])
    expected = peer.score(x[test], classes[test])
    assert 0.6 < expected < 0.98
    ours = np.mean(heads.logits(x[test])[0].argmax(axis=1) == classes[test])
    assert ours == pytest.approx(expected, abs=0.015)
    weights = heads.parameters["weights"][0]
    weights = weights - weights.mean(axis=1, keepdims=True)
    cosine = np.sum(weights * peer.coef_.T) / np.linalg.norm(weights) / np.linalg.norm(peer.coef_)
    assert cosine > 0.99


def test_separable_blobs_are_separated():
    x, classes = _blobs(400, spread=0.1)
    feed = EmbeddingFeed(
        x, classes[:, None].astype(np.int32), StepSampler(np.ones(400, int), 64, 0)
    )
    config = AdamConfig(steps=1500, warm_up=100, peak_learning_rate=1e-2)
    heads = train_heads(feed, Labels.classes("abcd"), 20, config)
    np.testing.assert_array_equal(heads.logits(x)[0].argmax(axis=1), classes)


def test_any_array_feeds():
    feed = _feed("tags")

    def plain(first, steps):
        x, targets = feed(first, steps)
        x = np.asfortranarray(x)
        x.flags.writeable = False
        return x, targets.astype(np.float64)

    _assert_bitwise(_train("tags", LONG[0], plain), _train("tags", LONG[0], feed))


@pytest.mark.parametrize("hidden", LONG)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_embeddings_that_are_not_finite_are_a_sentence(value, hidden):
    feed = _feed("classes")
    feed._embeddings[7, 3] = value
    with pytest.raises(EvaluationError, match=r"not finite .*--standardize"):
        _train("classes", LONG[hidden], feed)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 100}, "warm-up must end"),
        ({"seeds": (0, 1)}, "2 seeds and 1 L2 strengths"),
        ({"peak_learning_rate": 0.0}, "above 0"),
        ({"l2": (-1.0,)}, "not below 0"),
        ({"seeds": (-1,)}, "not below 0"),
        ({"seeds": (), "l2": ()}, "one of each"),
    ],
)
def test_impossible_configurations(changes, message):
    with pytest.raises(EvaluationError, match=message):
        AdamConfig(**changes)


@pytest.mark.parametrize(
    ("deviations", "warned"),
    [
        (np.full(20, 1.0), False),
        (np.full(20, 0.06), False),
        (np.full(20, 0.01), True),
        (np.full(20, 50.0), True),
        (np.array([1.0] * 12 + [0.001] * 8), True),
        (np.array([1.0] * 18 + [0.001] * 2), False),
        # Units that never fire say nothing of the scale.
        (np.array([1.0] * 10 + [0.0] * 10), False),
        (np.zeros(20), False),
    ],
)
def test_scale_warning(deviations, warned):
    x = np.random.default_rng(0).normal(size=(5000, 20)) * deviations + 3
    warning = scale_warning(x.astype(np.float32))
    assert (warning is not None) == warned
    if warned:
        assert "--standardize" in warning and "2e-4" in warning
