"""Folders of recordings, labeled by their subfolders or not at all."""

import os
from collections.abc import Sequence
from pathlib import Path

from hares_tf.recordings.archives import list_sounds, place_of
from hares_tf.recordings.errors import RecordingsError
from hares_tf.recordings.folders import AUDIO_ENDINGS
from hares_tf.recordings.recording import Recording, Source, readable
from hares_tf.recordings.sound import Sound

#: The value of `labels` that takes the first folder in a file's path as its label.
SUBFOLDER = "subfolder"


def folder_source(
    folders: str | os.PathLike | Sequence[str | os.PathLike], labels: str | None = None
) -> Source:
    """Lists all audio files below one or more folders; archives are read in place.

    Args:
        folders: one or more folders, or `.zip` or `.tar` files of them. With one folder, ids are
            paths relative to it; with several, the folder's name precedes them.
        labels: None, or "subfolder": the first folder in a file's path is its label.

    Raises:
        RecordingsError: a folder does not exist or lies in another one, labels are asked of several
            folders, or there is no audio.
    """
    if isinstance(folders, str | os.PathLike):
        folders = [folders]
    places = [place_of(folder) for folder in folders]
    if labels is not None and len(places) > 1:
        raise RecordingsError("Labels go with one folder of audio, not with several.")
    sounds: dict[str, Sound] = {}
    left_out: list[tuple[str, str]] = []
    for place, prefix in zip(places, _prefixes(places), strict=True):
        listing = list_sounds(place, AUDIO_ENDINGS)
        sounds |= {readable(prefix + name): sound for name, sound in listing.files.items()}
        left_out += [(readable(prefix + name), why) for name, why in listing.left_out]
    where = ", ".join(map(str, places))
    if not sounds:
        raise RecordingsError(
            f"{where} holds no audio files ({', '.join(AUDIO_ENDINGS[:7])} ...); check the path."
        )
    description = {"kind": "folder", "folders": [place.name for place in places], "labels": labels}
    if labels is None:
        recordings = tuple(Recording(name, sound) for name, sound in sounds.items())
        return Source(where, recordings, rejected=tuple(left_out), description=description)
    label_names = sorted({name.partition("/")[0] for name in sounds if "/" in name})
    if not label_names:
        raise RecordingsError(
            f"{where} has no folders with audio in them, so there are no labels; put the "
            "recordings of each label into a folder."
        )
    index = {name: number for number, name in enumerate(label_names)}
    return Source(
        where,
        tuple(
            Recording(name, sound, (index[name.partition("/")[0]],))
            for name, sound in sounds.items()
            if "/" in name
        ),
        tuple(label_names),
        (
            *(
                (name, "lies in no subfolder, so it has no label")
                for name in sounds
                if "/" not in name
            ),
            *left_out,
        ),
        description,
    )


def _prefixes(places: Sequence[Path]) -> list[str]:
    """Returns the prefix of each folder's ids: the shortest ends of their paths that differ."""
    if len(places) == 1:
        return [""]
    for index, place in enumerate(places):
        for other_index, other in enumerate(places):
            if index != other_index and other.is_relative_to(place):
                raise RecordingsError(
                    f"{other} lies in {place} or is given twice, so its recordings would be listed "
                    "twice; give each folder once."
                )
    for parts in range(1, max(len(place.parts) for place in places) + 1):
        names = ["/".join(place.parts[-parts:]).lstrip("/") + "/" for place in places]
        if len(set(names)) == len(names):
            break
    return names
