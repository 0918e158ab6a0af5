"""Small synthetic versions of NSynth and MagnaTagATune."""

import json
from functools import partial

from hares_tf.evaluation.mini.scenes import Bed, Render, compose
from hares_tf.evaluation.mini.synthesis import band, noise, note
from hares_tf.evaluation.mini.tree import Recording, Tree, table

# --- NSynth ---------------------------------------------------------------------------------------

# Family -> (brightness, level of even harmonics), and how the high bed goes.
_DARK, _HOLLOW, _BRIGHT = (2.6, 1.0), (1.0, 0.05), (0.6, 1.0)
_FAMILIES = {
    "bass": (_DARK, "steady"),
    "flute": (_DARK, "within"),
    "guitar": (_HOLLOW, "steady"),
    "organ": (_HOLLOW, "within"),
    "string": (_BRIGHT, "steady"),
    "vocal": (_BRIGHT, "within"),
}
# Pitch -> MIDI number that sounds, and how the low bed goes.
_PITCHES = {48: (48, "within"), 49: (48, "between"), 57: (57, "within"), 58: (57, "between")}
_PITCHES |= {66: (66, "within"), 67: (66, "between")}


def nsynth() -> Tree:
    """NSynth: notes of four seconds, which both tasks read."""
    families, pitches = list(_FAMILIES), list(_PITCHES)
    recordings, tables = [], {}
    for split, count in (("train", 30), ("valid", 6), ("test", 18)):
        notes = {}
        for number in range(count):
            # Shifted by one after every round, so that all pairs come round.
            family, pitch = families[number % 6], pitches[(number + number // 6) % 6]
            name = f"{family}_synthetic_{split}-{pitch:03}-{number:03}"
            notes[name] = {"note_str": name, "pitch": pitch, "instrument_family_str": family}
            path = f"nsynth/nsynth-{split}/audio/{name}.wav"
            recordings.append(Recording(path, partial(_note_clip, family, pitch)))
        tables[f"nsynth/nsynth-{split}/examples.json"] = json.dumps(notes)
    return Tree(tuple(recordings), tables)


def _plays(timbre, midi, bend=0.0) -> Render:
    def render(random, samples):
        return note(
            random,
            samples,
            midi,
            brightness=timbre[0] + bend,
            even=timbre[1],
            attack=0.01,
            fall=random.uniform(0.3, 1.0),
        )

    return render


def _note_clip(family, pitch, random):
    timbre, slow = _FAMILIES[family]
    midi, quick = _PITCHES[pitch]
    others = [other for other, _ in _PITCHES.values() if other != midi]
    intruder = _plays(timbre, others[random.integers(len(others))])
    beds = [Bed(5600, 7400, slow, 4.0, depth=4.0), Bed(90, 110, quick, 1.0)]
    right = _plays(timbre, midi, random.normal(0, 0.6))
    return compose(random, 4.0, 1.0, [right], [intruder], beds)


# --- MagnaTagATune --------------------------------------------------------------------------------

_INSTRUMENTS = {
    "guitar": _plays(_HOLLOW, 55),
    "violin": _plays(_BRIGHT, 76),
    "piano": _plays(_DARK, 62),
    "flute": _plays(_DARK, 88),
    "drums": lambda random, samples: noise(random, samples, band(2500, 4500)),
}
_HIGH_TAGS = {"within": "techno", "between": "ambient"}
_LOW_TAGS = {"within": "beat", "between": "slow"}
_ALSO_IN_THE_TABLE = ("not a top tag",)
# An empty file in the real data set, and here.
_KNOWN_BAD = "35644"


def magnatagatune() -> Tree:
    """MagnaTagATune: MP3 of several tags, one or two instruments and patterns of two beds."""
    from hares_tf.evaluation.tasks.magnatagatune import TAGS

    columns = ("clip_id", *TAGS, *_ALSO_IN_THE_TABLE, "mp3_path")
    names, patterns = list(_INSTRUMENTS), list(_HIGH_TAGS)
    rows, recordings = [], []
    folders = [*"0123456789ab" * 2][:20] + ["c"] * 3 + [*"def" * 4]
    for number, folder in enumerate(folders):
        first = number % 5
        second = (first + 1 + number // 5 % 4) % 5
        playing = (names[first], names[second]) if number % 3 else (names[first],)
        high, low = patterns[number // 2 % 2], patterns[number // 4 % 2]
        tags = {*playing, _HIGH_TAGS[high], _LOW_TAGS[low]}
        path = f"{folder}/mini-{number:03}-0-29.mp3"
        rows.append((number + 1, *(int(tag in tags) for tag in TAGS), 0, path))
        make = partial(_music_clip, playing, high, low)
        recordings.append(Recording(f"magnatagatune/{path}", make))
    rows.append((_KNOWN_BAD, *(0 for _ in TAGS), 0, "6/mini-empty-0-29.mp3"))
    tables = {
        "magnatagatune/annotations_final.csv": table(columns, rows, "\t"),
        "magnatagatune/6/mini-empty-0-29.mp3": "",
    }
    return Tree(tuple(recordings), tables)


def _music_clip(playing, high, low, random):
    others = [name for name in _INSTRUMENTS if name not in playing]
    intruder = _INSTRUMENTS[others[random.integers(len(others))]]
    beds = [Bed(5200, 7000, high, 3.0, depth=6.0), Bed(90, 120, low, 3.0, depth=6.0)]
    right = [_INSTRUMENTS[name] for name in playing]
    return compose(random, random.uniform(8.6, 9), 3.0, right, [intruder], beds, (3, 12))
