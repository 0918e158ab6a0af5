"""Which clips and views a step sees: epochs, views, and that nothing depends on history."""

import threading

import numpy as np
import pytest
from scipy.stats import chisquare

from hares_tf.evaluation import EvaluationError
from hares_tf.evaluation.heads.sampling import EmbeddingFeed, StepSampler, prefetched


def test_every_epoch_has_every_clip_once_in_a_new_order():
    # 10 clips in batches of 4: epochs end in the middle of steps.
    clips = StepSampler(np.full(10, 3), batch=4, seed=1).rows(0, 25)[1].reshape(10, 10)
    np.testing.assert_array_equal(np.sort(clips, axis=1), np.tile(np.arange(10), (10, 1)))
    assert len({tuple(epoch) for epoch in clips}) == 10


def test_batches_larger_than_the_data():
    clips = StepSampler(np.ones(3, int), batch=8, seed=0).rows(0, 3)[1]
    assert clips.shape == (3, 8)
    np.testing.assert_array_equal(np.bincount(clips.ravel()), [8, 8, 8])


def test_orders_are_uniform():
    # Each of the 24 orders of four clips equally often; p below 1e-4 would be a fluke of the seed.
    orders = StepSampler(np.ones(4, int), batch=4, seed=3).rows(0, 6000)[1]
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 24 and chisquare(counts).pvalue > 1e-4


def test_rows_belong_to_their_clips():
    counts = np.array([2, 1, 5, 3])
    rows, clips = StepSampler(counts, batch=16, seed=0).rows(0, 200)
    assert rows.dtype == clips.dtype == np.int64
    owner = np.repeat(np.arange(4), counts)
    np.testing.assert_array_equal(owner[rows], clips)
    assert set(rows.ravel()) == set(range(11))


def test_views_are_uniform_and_independent_of_the_step_before():
    views = StepSampler(np.array([5]), batch=1, seed=2).rows(0, 20_000)[0].ravel()
    assert chisquare(np.bincount(views, minlength=5)).pvalue > 1e-4
    pairs = np.bincount(5 * views[:-1] + views[1:], minlength=25)
    assert chisquare(pairs).pvalue > 1e-4


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_any_range_of_steps_is_a_part_of_the_whole(batch):
    counts = np.random.default_rng(0).integers(1, 6, 37)
    whole = StepSampler(counts, batch, seed=5).rows(0, 60)
    late = StepSampler(counts, batch, seed=5)
    for first, steps in ((50, 10), (7, 1), (0, 3), (23, 30), (59, 1)):
        for part, all_steps in zip(late.rows(first, steps), whole, strict=True):
            np.testing.assert_array_equal(part, all_steps[first : first + steps])


def test_seeds_differ():
    one, other = (StepSampler(np.full(50, 4), 50, seed).rows(0, 1) for seed in (0, 1))
    assert np.any(one[1] != other[1]) and np.any(one[0] % 4 != other[0] % 4)


@pytest.mark.parametrize(
    ("counts", "batch", "seed", "message"),
    [
        ([], 4, 0, "no training clips"),
        ([1, 0, 2], 4, 0, "clip 1 "),
        ([1], 0, 0, "batch of 0"),
        ([1], 1, -1, "seed -1"),
    ],
)
def test_impossible_samplers(counts, batch, seed, message):
    with pytest.raises(EvaluationError, match=message):
        StepSampler(np.array(counts, int), batch, seed)


def _arrays():
    embeddings = np.arange(12, dtype=np.float32).reshape(6, 2)
    return embeddings, np.array([[7], [8], [9]], np.int32), np.array([1, 3, 2])


def test_feed_gathers_embeddings_and_targets_of_clips_or_of_views(tmp_path):
    embeddings, targets, counts = _arrays()
    np.save(tmp_path / "rows.npy", embeddings)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    sampler = StepSampler(counts, batch=4, seed=0)
    rows, clips = sampler.rows(3, 5)
    x, y = EmbeddingFeed(mapped, targets, sampler)(3, 5)
    assert type(x) is np.ndarray and x.dtype == np.float32 and y.dtype == np.int32
    np.testing.assert_array_equal(x, embeddings[rows])
    np.testing.assert_array_equal(y, targets[clips])
    by_view = np.linspace(0, 1, 6, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(EmbeddingFeed(mapped, by_view, sampler)(3, 5)[1], by_view[rows])


def test_identity_tells_data_apart():
    embeddings, targets, counts = _arrays()

    def identity(embeddings=embeddings, targets=targets, counts=counts, batch=4, seed=0):
        return EmbeddingFeed(embeddings, targets, StepSampler(counts, batch, seed)).identity

    others = [
        identity(embeddings=embeddings + 1),
        identity(targets=targets[::-1]),
        identity(counts=counts[::-1]),
        identity(batch=5),
        identity(seed=1),
    ]
    assert identity() == identity() and len({identity(), *others}) == 6


def test_arrays_that_do_not_belong_together():
    embeddings, targets, counts = _arrays()
    sampler = StepSampler(counts, 4, 0)
    with pytest.raises(EvaluationError, match="5 rows of embeddings"):
        EmbeddingFeed(embeddings[:5], targets, sampler)
    with pytest.raises(EvaluationError, match="2 of targets"):
        EmbeddingFeed(embeddings, targets[:2], sampler)
    with pytest.raises(EvaluationError, match="float64"):
        EmbeddingFeed(embeddings.astype(np.float64), targets, sampler)


def test_the_next_chunk_is_made_while_the_last_is_used():
    asked = []
    second = threading.Event()

    def feed(first, steps):
        asked.append((first, steps))
        if first == 4:
            second.set()
        return np.full((steps, 1), first), np.zeros((steps, 1))

    chunks = prefetched(feed, 0, 10, 4)
    assert next(chunks)[0][0, 0] == 0
    # The consumer still holds the first chunk.
    assert second.wait(timeout=10)
    assert [len(x) for x, _ in chunks] == [4, 2]
    assert asked == [(0, 4), (4, 4), (8, 2)]


def test_what_the_feed_raises_reaches_the_caller():
    def feed(first, steps):
        if first:
            raise OSError("disk gone")
        return np.zeros((steps, 1)), np.zeros((steps, 1))

    chunks = prefetched(feed, 0, 10, 4)
    next(chunks)
    with pytest.raises(OSError, match="disk gone"):
        next(chunks)
