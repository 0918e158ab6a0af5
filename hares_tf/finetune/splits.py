"""The split into train, validation and test, which depends on recordings and seed alone."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from hares_tf.finetune.clips import Clip
from hares_tf.finetune.errors import FinetuneError

TEST_SHARE = 0.2
VALIDATION_SHARE = 0.15


def split(clips: Sequence[Clip], classes: Sequence[str], seed: int) -> tuple[list[Clip], list[str]]:
    """Gives every clip a part, class by class.

    Clips that have a part keep it; where no clip is for validation, some of the training clips
    are moved there. Copies of one recording (by its digest) stay together. Which clips are held out
    is decided by SHA-256 of the seed and an id, so that it depends on nothing else.

    Args:
        clips: clips that all have a part, or none of them.
        classes: names of the classes.
        seed: seed of the split.

    Returns:
        The clips in their order, and notes for the user.

    Raises:
        FinetuneError: a class has fewer distinct recordings than parts, or no training clip.
    """
    parts = {clip.part for clip in clips}
    if parts == {""}:
        wanted = {"test": TEST_SHARE, "validation": VALIDATION_SHARE}
        chosen = _drawn(clips, classes, seed, wanted)
        return [clip.in_part(chosen[clip.id]) for clip in clips], []
    for part in ("train", "test"):
        if part not in parts:
            raise FinetuneError(
                f"None of the {part} recordings can be used. See which were left out."
            )
    notes = []
    if "validation" not in parts:
        training = [clip for clip in clips if clip.part == "train"]
        chosen = _drawn(training, classes, seed, {"validation": VALIDATION_SHARE})
        clips = [clip.in_part(chosen.get(clip.id, clip.part)) for clip in clips]
        held_out = sum(part == "validation" for part in chosen.values())
        notes.append(
            f"the table names no validation rows: {held_out} of its train rows are used for it"
        )
    notes += _leaks(clips)
    for label, name in enumerate(classes):
        present = {clip.part for clip in clips if clip.label == label}
        if "train" not in present:
            raise FinetuneError(f"The class {name!r} has no usable train recording.")
        for part in ("validation", "test"):
            if part not in present:
                notes.append(f"the class {name!r} has no {part} recording")
    return list(clips), notes


def _drawn(
    clips: Sequence[Clip], classes: Sequence[str], seed: int, shares: dict[str, float]
) -> dict[str, str]:
    """The part of each clip, by id: about these shares of each class, at least one; else train."""
    groups: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for clip in clips:
        groups[clip.label][clip.digest].append(clip.id)
    chosen: dict[str, str] = {}
    for label, copies in groups.items():
        if len(copies) <= len(shares):
            raise FinetuneError(
                f"The class {classes[label]!r} has {len(copies)} different recording(s) to be split"
                f" into train, {' and '.join(reversed(shares))}. Add recordings."
            )
        total = sum(map(len, copies.values()))
        waiting = sorted(copies.values(), key=lambda ids: _rank(min(ids), seed), reverse=True)
        needed = len(shares)  # groups that later parts, and training, must still get
        for part, share in shares.items():
            size, target = 0, max(1, round(share * total))
            while size < target and len(waiting) > needed:
                ids = waiting.pop()
                size += len(ids)
                chosen |= dict.fromkeys(ids, part)
            needed -= 1
        chosen |= {id: "train" for ids in waiting for id in ids}
    return chosen


def _rank(id: str, seed: int) -> str:
    return hashlib.sha256(f"{seed} {id}".encode()).hexdigest()


def _leaks(clips: Sequence[Clip]) -> list[str]:
    """Notes on test clips with copies in training: a given split is used as it is."""
    trained = {clip.digest for clip in clips if clip.part != "test"}
    leaked = [clip.id for clip in clips if clip.part == "test" and clip.digest in trained]
    if not leaked:
        return []
    return [
        f"{len(leaked)} test recording(s) have copies among the others, such as {leaked[0]}: the "
        "held-out accuracy is too good"
    ]
