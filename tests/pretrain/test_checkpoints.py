"""Checkpoints: whole or absent, the last few and the best."""

import errno

import keras
import numpy as np
import pytest

from hares_tf.pretrain import PretrainError
from hares_tf.pretrain.checkpoints import Checkpoints
from hares_tf.pretrain.journal import Journal, read_metrics


def variables(value, shape=(3,)):
    return {"encoder/kernel": keras.Variable(np.full(shape, value, np.float32))}


@pytest.fixture
def saved(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (10, 20, 30):
        checkpoints.save(variables(step), step)
    return checkpoints


def test_the_last_few_stay(saved):
    assert saved.steps() == [20, 30]
    target = variables(0)
    about, passed = saved.restore(target)
    assert about["step"] == 30 and passed == []
    np.testing.assert_array_equal(target["encoder/kernel"], [30, 30, 30])


def test_the_best_stays_beside_them(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    for step, value in ((10, 0.5), (20, 0.9), (30, 0.7)):
        checkpoints.save(variables(step), step)
        checkpoints.judge(step, "probe/mean", value)
    assert checkpoints.best() == {"step": 20, "by": "probe/mean", "value": 0.9}
    checkpoints.save(variables(40), 40)
    assert checkpoints.steps() == [20, 40]


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "text"])
def test_damaged_checkpoints_are_passed_over(saved, damage):
    path = saved.path(30)
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        # In the middle of the numbers of the array.
        content[content.index(np.float32(30).tobytes() * 3) + 5] ^= 1
    path.write_bytes(
        {"cut": content[:-30], "empty": b"", "flipped": content, "text": b"hello"}[damage]
    )
    target = variables(0)
    about, passed = saved.restore(target)
    assert about["step"] == 20 and len(passed) == 1 and str(path) in passed[0]
    np.testing.assert_array_equal(target["encoder/kernel"], [20, 20, 20])


def test_every_damage_is_a_damaged_checkpoint(saved):
    """One bit anywhere in the file: its numbers are as saved, or the one before is taken."""
    whole = saved.path(30).read_bytes()
    for position in range(0, len(whole), 7):
        content = bytearray(whole)
        content[position] ^= 1 << position % 8
        saved.path(30).write_bytes(content)
        target = variables(0)
        about, _ = saved.restore(target)
        np.testing.assert_array_equal(target["encoder/kernel"], [about["step"]] * 3)


def test_a_damaged_checkpoint_is_renamed_and_does_not_count_as_the_newest(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(variables(4), 4)
    checkpoints.judge(4, "probe/mean", 0.9)
    checkpoints.path(12).write_bytes(b"damaged")
    assert checkpoints.restore(variables(0))[0]["step"] == 4
    checkpoints.save(variables(9), 9)
    assert checkpoints.steps() == [4, 9]
    assert (tmp_path / "step-00000012.npz.damaged").read_bytes() == b"damaged"
    assert checkpoints.restore(variables(0)) == ({"schema": 1, "step": 9}, [])


@pytest.mark.parametrize("best", [10, 30])
def test_a_damaged_best_checkpoint_is_forgotten(tmp_path, best):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (10, 20, 30):
        checkpoints.save(variables(step), step)
        if step == best:
            checkpoints.judge(step, "probe/mean", 0.9)
    checkpoints.path(best).write_bytes(b"damaged")
    checkpoints = Checkpoints(tmp_path, keep=2)
    about, passed = checkpoints.restore(variables(0))
    assert about["step"] == (20 if best == 30 else 30)
    assert len(passed) == 1 and str(checkpoints.path(best)) in passed[0]
    checkpoints.save(variables(40), 40)
    assert checkpoints.best() is None and best not in checkpoints.steps()
    assert checkpoints.judge(40, "probe/mean", 0.5)  # a lower score is the best there is now
    assert checkpoints.best() == {"step": 40, "by": "probe/mean", "value": 0.5}


def test_an_error_of_the_file_system_is_not_damage(saved, monkeypatch):
    def fails(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(np, "load", fails)
        with pytest.raises(PretrainError, match=r"30\.npz cannot be read \(Input/output error\)"):
            saved.restore(variables(0))
    assert saved.restore(variables(0))[0]["step"] == 30
    saved.save(variables(40), 40)
    assert saved.steps() == [30, 40]


def test_other_measures_do_not_compete(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (4, 8, 12):
        checkpoints.save(variables(step), step)
    assert checkpoints.judge(4, "easy", 90.0) and not checkpoints.judge(8, "easy", 80.0)
    assert checkpoints.judge(12, "hard", 40.0)
    assert checkpoints.best() == {"step": 12, "by": "hard", "value": 40.0}
    (tmp_path / "best.json").write_text("{}")
    with pytest.raises(PretrainError, match="does not name"):
        checkpoints.best()


def test_no_readable_checkpoint_is_an_error(saved):
    for step in saved.steps():
        saved.path(step).write_bytes(b"")
    with pytest.raises(PretrainError, match="None of the checkpoints"):
        saved.restore(variables(0))


def test_a_checkpoint_of_another_model_is_refused(saved):
    with pytest.raises(PretrainError, match=r"shape \(3,\) there and \(4,\) here"):
        saved.restore(variables(0, (4,)))
    with pytest.raises(PretrainError, match="encoder/other is only in one"):
        saved.restore({**variables(0), "encoder/other": keras.Variable([1.0])})


def test_half_written_files_are_no_checkpoints(saved):
    (saved.folder / ".tmp-123-step-00000040.npz").write_bytes(b"half")
    (saved.folder / "notes.txt").write_text("mine")
    assert saved.steps() == [20, 30]
    saved.save(variables(40), 40, first_loss=2.5)
    assert saved.restore(variables(0))[0]["first_loss"] == 2.5
    saved.clean()
    assert sorted(path.name for path in saved.folder.iterdir()) == [
        "notes.txt",
        "step-00000030.npz",
        "step-00000040.npz",
    ]


def test_no_checkpoint_is_step_zero(tmp_path):
    assert Checkpoints(tmp_path / "absent").restore(variables(0)) == ({"step": 0}, [])


def test_a_full_disk_leaves_the_old_ones(saved, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        saved.save(variables(40), 40)
    assert saved.steps() == [20, 30]
    assert sorted(p.name for p in saved.folder.iterdir()) == [
        "step-00000020.npz",
        "step-00000030.npz",
    ]


def test_journal_forgets_what_will_be_done_again(tmp_path):
    journal = Journal(tmp_path, 0)
    for step in (1, 2, 3):
        journal.record(step, {"loss": 10.0 / step})
    journal.close()
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "lo')  # a kill in the middle of a line
    assert len(read_metrics(tmp_path)) == 3
    journal = Journal(tmp_path, 2)
    journal.record(3, {"loss": 1.0})
    journal.close()
    assert read_metrics(tmp_path) == [
        {"step": 1, "loss": 10.0},
        {"step": 2, "loss": 5.0},
        {"step": 3, "loss": 1.0},
    ]
