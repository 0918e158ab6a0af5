"""Which clips are held out."""

from collections import Counter

import pytest

from hares_tf.finetune.clips import Clip
from hares_tf.finetune.errors import FinetuneError
from hares_tf.finetune.splits import split
from hares_tf.recordings import FileSound, Recording

CLASSES = ("a", "b")


def _clip(id, label, part, digest):
    return Clip(Recording(id, FileSound(id), (label,), part), digest, 0, 1)


def clips_of(counts, part=""):
    return [
        _clip(f"{CLASSES[label]}/{n}", label, part, f"{label} {n}")
        for label, count in enumerate(counts)
        for n in range(count)
    ]


def parts(clips):
    return {clip.id: clip.part for clip in clips}


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (3, {"test": 1, "validation": 1, "train": 1}),
        (10, {"test": 2, "validation": 2, "train": 6}),
        (40, {"test": 8, "validation": 6, "train": 26}),
    ],
)
def test_every_class_gives_its_share_to_every_part(count, expected):
    assigned, notes = split(clips_of([count, 20]), CLASSES, 0)
    assert Counter(clip.part for clip in assigned if clip.label == 0) == expected
    assert Counter(clip.part for clip in assigned if clip.label == 1) == {
        "test": 4, "validation": 3, "train": 13,
    }  # fmt: skip
    assert notes == []


def test_the_split_depends_on_ids_and_seed_only():
    clips = clips_of([20, 20])
    first, _ = split(clips, CLASSES, 0)
    again, _ = split(clips[::-1], CLASSES, 0)
    alone, _ = split(clips[:20], CLASSES, 0)
    other, _ = split(clips, CLASSES, 1)
    assert [clip.id for clip in first] == [clip.id for clip in clips]
    assert parts(first) == parts(again)
    assert parts(alone).items() <= parts(first).items()
    assert parts(first) != parts(other)


def test_copies_stay_together():
    clips = clips_of([30, 3])
    # Three copies each, which the shuffled split of 30 would tear apart.
    clips = [
        _clip(c.id, c.label, "", f"{int(c.id[2:]) // 3}" if c.label == 0 else c.digest)
        for c in clips
    ]
    for seed in range(5):
        assigned, _ = split(clips, CLASSES, seed)
        for digest in {clip.digest for clip in assigned}:
            assert len({clip.part for clip in assigned if clip.digest == digest}) == 1
        assert {clip.part for clip in assigned if clip.label == 0} == {
            "train",
            "validation",
            "test",
        }


def test_many_copies_leave_something_for_every_part():
    copies = [_clip(f"a/c{n}", 0, "", "same") for n in range(30)]
    for seed in range(5):
        assigned, _ = split([*copies, *clips_of([2, 3])], CLASSES, seed)
        assert {clip.part for clip in assigned if clip.label == 0} == {
            "train",
            "validation",
            "test",
        }


def test_too_few_different_recordings_are_refused():
    copies = [_clip(f"a/{n}", 0, "", "same") for n in range(30)]
    with pytest.raises(FinetuneError, match="'a' has 1 different recording"):
        split([*copies, *clips_of([0, 9])], CLASSES, 0)


def test_a_given_split_is_kept_and_its_leaks_are_told():
    clips = clips_of([4, 4], "train")
    clips += [_clip("v", 0, "validation", "v"), _clip("t", 0, "test", "0 1")]
    assigned, notes = split(clips, CLASSES, 0)
    assert parts(assigned) == parts(clips)
    assert any("1 test recording(s) have copies" in note and " t:" in note for note in notes)
    assert any("'b' has no validation" in note for note in notes)
    assert any("'b' has no test" in note for note in notes)


def test_validation_is_taken_from_train_where_none_is_given():
    clips = [*clips_of([20, 20], "train"), _clip("t", 0, "test", "t")]
    assigned, notes = split(clips, CLASSES, 0)
    assert Counter((clip.label, clip.part) for clip in assigned) == {
        (0, "train"): 17, (0, "validation"): 3, (1, "train"): 17, (1, "validation"): 3,
        (0, "test"): 1,
    }  # fmt: skip
    assert "6 of its train rows" in notes[0]


def test_a_given_split_needs_training_clips_of_every_class():
    clips = [*clips_of([3, 0], "train"), *clips_of([0, 3], "test")]
    clips.append(_clip("v", 0, "validation", "v"))
    with pytest.raises(FinetuneError, match="'b' has no usable train"):
        split(clips, CLASSES, 0)
