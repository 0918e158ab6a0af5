"""AudioSet: which of 527 kinds of sound are heard in ten seconds of a YouTube video?

Train on both training lists (balanced and unbalanced), test on the evaluation list. Appendix A:
crops of 3 s, mixed with each other; a head with one hidden layer of 512; 200k steps of 128; scores
averaged over ten equally spaced, overlapping windows of 3 s; mean average precision over the tags.

**Which copies count.** Google publishes only the lists; the audio is whatever a user could still
get from YouTube. Of 2,084,320 listed segments the paper had 1.9 million, other copies have 84 to
97 %, and no copy is complete any more. If every absent clip made a result incomplete, nobody could
have a HARES total. So clips that are not there are counted in the notes, and a copy passes as
AudioSet when it can still carry the measure: every tag has a test clip that bears it (average
precision is undefined otherwise), and the numbers of clips reach MIN_CLIPS. A copy below that is
incomplete: its absent clips are `missing`. Compare two scores only if the notes show like copies.

Traps: the lists begin with three comment lines and separate cells by a comma and a blank; ids may
begin with `-`; some copies write `Y` before every id, while ids may begin with `Y` themselves; some
append the start of the segment, in seconds or milliseconds.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks.declaration import (
    Clip,
    Dataset,
    Manifest,
    Places,
    Schedule,
    Task,
    Windows,
)
from hares_tf.evaluation.tasks.finding import find
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.evaluation.tasks.user_splits import AUDIO_ENDINGS, stem
from hares_tf.recordings.archives import sounds_in
from hares_tf.recordings.folders import audio_files
from hares_tf.recordings.sound import Sound
from hares_tf.recordings.tables import read_table

_URL = "http://storage.googleapis.com/us_audioset/youtube_corpus/v1/csv"
DATASET = Dataset(
    name="AudioSet",
    folder="audioset",
    license="lists CC BY 4.0; audio belongs to the uploaders of the videos",
    citation="Gemmeke et al., Audio Set: An ontology and human-labeled dataset, 2017",
    obtain=f"""\
1. Fetch the lists named on https://research.google.com/audioset/download.html into audioset/ below
   the data folder: class_labels_indices.csv, balanced_train_segments.csv,
   unbalanced_train_segments.csv and eval_segments.csv (from {_URL}).
2. The audio is not distributed. Put your own copy of the segments of 10 s (1 to 2 TB) anywhere
   below audioset/, in folders, .zip or .tar files, as .wav, .flac, .ogg or .mp3, named by the id
   of the video: ID.wav, YID.wav or ID_START.wav (START in seconds or milliseconds).""",
)

N_TAGS = 527
# Rows of the lists: 22,160 + 2,041,789 (train) + 20,371 (test) = 2,084,320.
LISTS = (
    ("train", "balanced_train_segments.csv", 22_160),
    ("train", "unbalanced_train_segments.csv", 2_041_789),
    ("test", "eval_segments.csv", 20_371),
)
# Three quarters of the lists, rounded: copies that people report have at least 84 %, the paper's
# own had about 91 %, and videos go on vanishing. Half the audio would be another task.
MIN_CLIPS = {"train": 1_500_000, "test": 15_000}

_ID_LENGTH = 11  # of a YouTube id
# What may follow an id. Ids may end with `_`, so two of them in a row say: one belongs to the id.
_REST = re.compile(r"(?:_[^_].*)?")
_START = re.compile(r"_(\d+(?:\.\d+)?)(?=_|$)")


class Segment(NamedTuple):
    """A row of a list: one segment of a video."""

    start: float  # seconds
    tags: tuple[str, ...]
    part: str


def _read(places: Places) -> Manifest:
    names = tag_names(_table(places, "class_labels_indices.csv"))
    labels = Labels.tags(names.values())
    segments: dict[str, Segment] = {}
    notes: list[str] = []
    for part, name, rows in LISTS:
        path, before = _table(places, name), len(segments)
        for video, segment in read_segments(path, part, names):
            if video in segments:
                raise EvaluationError(f"{path} lists {video} again; it is in the lists already.")
            segments[video] = segment
        if len(segments) - before != rows:
            notes.append(f"{name} has {len(segments) - before:,} rows, not {rows:,}.")
    root = _root(_table(places, "eval_segments.csv"))
    sounds, surplus = match_sounds(root, segments)
    clips = tuple(
        Clip(video, sounds[video], segment.tags, segment.part)
        for video, segment in segments.items()
        if video in sounds
    )
    if not clips:
        example = next(iter(segments), "ID")
        raise EvaluationError(
            f"{root} holds none of the {len(segments):,} listed clips, such as {example}.wav or "
            f"Y{example}.wav; {surplus:,} files bear a listed id with another start behind it.\n"
            f"{DATASET.obtain}"
        )
    notes.extend(_attrition(segments, sounds))
    if surplus:
        notes.append(
            f"{surplus:,} files bear the id of a listed clip, but are a second copy or start at "
            "another time; they are not used."
        )
    shortfall = _shortfall(clips, labels)
    missing: tuple[str, ...] = ()
    if shortfall:
        # Lists that were cut short have no absent clips; the reason still stands for them.
        absent = tuple(video for video in segments if video not in sounds)
        missing = absent or (f"[{' '.join(shortfall)}]",)
    return Manifest(clips, labels, missing=missing, notes=(*notes, *shortfall))


def _table(places: Places, name: str) -> Path:
    return find(places, DATASET, name, f"csv/{name}", f"metadata/{name}")


def _root(table: Path) -> Path:
    """Returns the folder that the audio is searched in."""
    return table.parent.parent if table.parent.name in ("csv", "metadata") else table.parent


def tag_names(path: Path) -> dict[str, str]:
    """Returns the name of every tag by machine id, in the published order."""
    names: dict[str, str] = {}
    for number, row in read_table(path, ("index", "mid", "display_name")):
        if row["index"] != str(len(names)):
            raise EvaluationError(
                f"{path}, row {number}: index {row['index']!r}, where {len(names)} is due."
            )
        names[row["mid"]] = row["display_name"]
    if len(names) != N_TAGS:
        raise EvaluationError(f"{path} has {len(names)} tags, not {N_TAGS}; fetch it again.")
    return names


def read_segments(path: Path, part: str, names: Mapping[str, str]) -> Iterator[tuple[str, Segment]]:
    """Yields (id of the video, segment) of every row of a list."""
    # Most rows share their tags with many others: one tuple for all of them.
    known: dict[str, tuple[str, ...]] = {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, skipinitialspace=True)
            for row in reader:
                if not row or row[0].startswith("#"):
                    continue
                where = f"{path}, row {reader.line_num}"
                if len(row) != 4:
                    raise EvaluationError(
                        f"{where}: {len(row)} cells, not 4 (id, start, end, tags)."
                    )
                video, start, _, mids = row
                if mids not in known:
                    known[mids] = _tags(mids, names, where)
                yield video, Segment(_seconds(start, where), known[mids], part)
    except OSError as error:
        raise EvaluationError(f"Cannot read {path} ({error.strerror}).") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"{path} is not a UTF-8 table: {error}") from error


def _tags(mids: str, names: Mapping[str, str], where: str) -> tuple[str, ...]:
    unknown = [mid for mid in mids.split(",") if mid not in names]
    if unknown:
        raise EvaluationError(f"{where}: {unknown[0]!r} is none of the {N_TAGS} tags.")
    return tuple(names[mid] for mid in mids.split(","))


def _seconds(cell: str, where: str) -> float:
    try:
        return float(cell)
    except ValueError as error:
        raise EvaluationError(f"{where}: the start {cell!r} is not a number.") from error


def match_sounds(root: Path, segments: Mapping[str, Segment]) -> tuple[dict[str, Sound], int]:
    """Returns the sounds by segment, and the number of further files with a listed id."""
    found: dict[str, Sound] = {}
    surplus = 0
    for place in (root, *map(Path, audio_files(root, (".zip", ".tar")).values())):
        for name, sound in sounds_in(place, AUDIO_ENDINGS).items():
            video, rest = _video(stem(name), segments)
            if not video:
                continue
            if video in found or not _same_start(rest, segments[video].start):
                surplus += 1
            else:
                found[video] = sound
    return found, surplus


def _video(text: str, segments: Mapping[str, Segment]) -> tuple[str, str]:
    """Returns the listed id that a file's stem begins with (after an optional `Y`), and the rest.

    ("", "") if there is none. Only the lists tell a `Y` that was put before an id from an id that
    begins with one.
    """
    for begin in (0, 1) if text.startswith("Y") else (0,):
        video, rest = text[begin : begin + _ID_LENGTH], text[begin + _ID_LENGTH :]
        if video in segments and _REST.fullmatch(rest):
            return video, rest
    return "", ""


def _same_start(rest: str, start: float) -> bool:
    """Returns whether the rest of a name is empty or the right start (seconds or milliseconds)."""
    named = _START.match(rest)
    if not named:
        return True
    value = float(named[1])
    return abs(value - start) < 0.01 or abs(value / 1000 - start) < 0.01


def _attrition(segments: Mapping[str, Segment], sounds: Mapping[str, Sound]) -> list[str]:
    listed = Counter(segment.part for segment in segments.values())
    there = Counter(segments[video].part for video in sounds)
    return [
        f"{there[part]:,} of {listed[part]:,} listed {part} clips are there "
        f"({there[part] / listed[part]:.1%})."
        for part in MIN_CLIPS
        if there[part] < listed[part]
    ]


def _shortfall(clips: tuple[Clip, ...], labels: Labels) -> list[str]:
    """Returns how this copy falls short of AudioSet, as sentences; empty if it does not."""
    sizes = Counter(clip.part for clip in clips)
    reasons = [
        f"Only {sizes[part]:,} {part} clips are there; a result counts from {least:,}."
        for part, least in MIN_CLIPS.items()
        if sizes[part] < least
    ]
    tested = {tag for clip in clips if clip.part == "test" for tag in clip.label}
    bare = [name for name in labels.names if name not in tested]
    if bare:
        reasons.append(f"{len(bare)} of {N_TAGS} tags have no test clip, such as {bare[0]!r}.")
    return reasons


# `expected` is empty on purpose: what makes a copy whole is decided by the reader (see above).
TASKS = (
    Task(
        id="audioset",
        version=1,
        domain="environment",
        windows=Windows(3.0, test="spread", count=10),
        head="mlp",
        metric="mean_average_precision",
        read=_read,
        suite="hares",
        dataset=DATASET,
        schedule=Schedule(200_000, 128),
        mixing=True,
        native_head=True,
        source="hares_tf.evaluation.tasks.audioset",
    ),
)
