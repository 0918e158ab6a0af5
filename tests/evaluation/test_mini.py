"""The synthetic suite: reproducible, learnable, and not trivial."""

import numpy as np
import pytest
import soundfile

from hares_tf.evaluation import mini
from hares_tf.evaluation.tasks import resolve


def test_one_task_per_domain_with_expected_sizes():
    tasks = resolve(["mini"])
    assert {task.domain for task in tasks} == {"environment", "speech", "music"}
    sizes = {}
    for task in tasks:
        manifest = task.read_manifest()
        sizes[task.id] = (len(manifest.clips), len(manifest.labels), len(manifest.folds))
        rate, samples = 16000, round(task.window_seconds * 16000)
        for clip in manifest.clips[:20]:
            info = soundfile.info(clip.path)
            assert (info.samplerate, info.frames, info.channels) == (rate, samples, 1)
    assert sizes == {
        "mini_pitch": (360, 12, 0),
        "mini_keywords": (480, 8, 0),
        "mini_textures": (200, 8, 5),
    }


def test_clips_are_reproducible_and_all_different():
    for task_id, (_, seconds, labels, _, _, synthesise) in mini._TASKS.items():
        label, samples = labels[0], round(seconds * mini.SAMPLE_RATE)
        one, again, other = (
            synthesise(mini._random(task_id, number), label, samples) for number in (0, 0, 1)
        )
        np.testing.assert_array_equal(one, again)
        assert np.abs(one - other).max() > 0.01
        assert one.shape == (samples,) and np.abs(one).max() < 2 and 0.02 < one.std() < 0.2


def test_the_suite_is_written_once(monkeypatch):
    resolve(["mini"])
    monkeypatch.setattr(mini, "write_suite", lambda folder: pytest.fail("written again"))
    assert [task.id for task in resolve(["mini_pitch"])] == ["mini_pitch"]


def test_a_damaged_suite_is_written_again():
    (task,) = resolve(["mini_pitch"])
    clips = task.read_manifest().clips
    clips[0].path.unlink()
    clips[1].path.write_bytes(b"")
    (again,) = resolve(["mini_pitch"])
    assert all(soundfile.info(clip.path).frames == 16000 for clip in again.read_manifest().clips)


def test_backward_words_have_the_same_sounds():
    assert {word[::-1] for word in mini.WORDS} == set(mini.WORDS)
    assert not any(word == word[::-1] for word in mini.WORDS)
