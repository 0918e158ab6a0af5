"""Small synthetic versions of AudioSet, Birdsong, TUT18 and ESC-50."""

from functools import partial

from hares_tf.evaluation.mini import synthesis
from hares_tf.evaluation.mini.scenes import Bed, compose
from hares_tf.evaluation.mini.synthesis import band, noise
from hares_tf.evaluation.mini.tree import Recording, Tree, parts, table

# Sounds between 150 and 4500 Hz that do not resemble each other.
SOUNDS = {
    "engine": synthesis.engine,
    "drops": synthesis.drops,
    "birds": synthesis.birds,
    "surf": lambda random, samples: noise(random, samples, band(500, 1200)),
    "crickets": synthesis.crickets,
}
_HISS = (5600, 7400)
_RUMBLE = (90, 200)

# --- AudioSet -------------------------------------------------------------------------------------

_TAGS = ("Engine", "Drip", "Bird", "Waves, surf", "Cricket")
_TAG_OF = dict(zip(SOUNDS, _TAGS, strict=True))
_HISS_TAGS = {"within": "Wind", "between": "Hiss"}
_RUMBLE_TAGS = {"within": "Thunder", "between": "Rumble"}
N_TAGS = 527


def audioset() -> Tree:
    """AudioSet: clips of several tags, one or two sounds and the pattern of each of two beds."""
    lists = {
        "balanced_train_segments.csv": 8,
        "unbalanced_train_segments.csv": 14,
        "eval_segments.csv": 16,
    }
    used = (*_TAGS, *_HISS_TAGS.values(), *_RUMBLE_TAGS.values())
    names = [*used, *(f"Unused tag {number}" for number in range(len(used), N_TAGS))]
    mids = {name: f"/m/mini{number:03}" for number, name in enumerate(names)}
    recordings, tables, number = [], {}, 0
    for file, count in lists.items():
        rows = []
        for _ in range(count):
            sounds, hiss, rumble = _audioset_labels(number)
            video = f"mini_{number:06}"
            # As in the published lists: a tag list has quotes, ids may be prefixed by Y on disk.
            tags = [*(_TAG_OF[sound] for sound in sounds), _HISS_TAGS[hiss], _RUMBLE_TAGS[rumble]]
            rows.append(f'{video}, 30.000, 40.000, "{",".join(mids[tag] for tag in tags)}"\n')
            make = partial(_audioset_clip, sounds, hiss, rumble)
            recordings.append(Recording(f"audioset/audio/Y{video}.wav", make))
            number += 1
        tables[f"audioset/{file}"] = "# Segments csv\n# miniature\n# YTID, start_seconds, ...\n"
        tables[f"audioset/{file}"] += "".join(rows)
    classes = ((number, mid, f'"{name}"') for number, (name, mid) in enumerate(mids.items()))
    tables["audioset/class_labels_indices.csv"] = table(("index", "mid", "display_name"), classes)
    return Tree(tuple(recordings), tables)


def _audioset_labels(number: int) -> tuple[tuple[str, ...], str, str]:
    """Returns sounds and patterns of a clip; all combinations occur."""
    names, patterns = list(SOUNDS), list(_HISS_TAGS)
    first = number % len(names)
    second = (first + 1 + number // len(names) % 4) % len(names)
    return (names[first], names[second]), patterns[number // 2 % 2], patterns[number // 4 % 2]


def _audioset_clip(sounds, hiss, rumble, random):
    others = [name for name in SOUNDS if name not in sounds]
    intruders = [SOUNDS[name] for name in random.choice(others, 2, replace=False)]
    beds = [Bed(*_HISS, hiss, 3.0), Bed(*_RUMBLE, rumble, 3.0)]
    right = [SOUNDS[name] for name in sounds]
    return compose(random, random.uniform(8.5, 10), 3.0, right, intruders, beds)


# --- Birdsong -------------------------------------------------------------------------------------

_BIRD_SETS = {
    "ff1010bird": "ff1010bird_metadata_2018.csv",
    "warblrb10k": "warblrb10k_public_metadata_2018.csv",
    "BirdVox-DCASE-20k": "BirdVoxDCASE20k_csvpublic.csv",
}


def birdsong() -> Tree:
    """Birdsong: two of three clips have the label in their sound, the third in its bed."""
    recordings, tables, splits = [], {}, []
    for set_number, (name, file) in enumerate(_BIRD_SETS.items()):
        rows = []
        for number, part in parts(10, 2, 8):
            item, bird = f"{set_number}{number:04}", number % 2
            rows.append((item, name, bird))
            splits.append((f"{item}.wav", part))
            make = partial(_bird_clip, bool(bird), number // 2 % 3 > 0)
            recordings.append(Recording(f"birdsong/{name}/wav/{item}.wav", make))
        tables[f"birdsong/{file}"] = table(("itemid", "datasetid", "hasbird"), rows)
    tables["splits/birdsong.csv"] = table(("file", "split"), splits)
    return Tree(tuple(recordings), tables)


def _bird_clip(bird, told_by_sound, random):
    if told_by_sound:
        right, intruder = SOUNDS["birds"], SOUNDS["surf"]
        if not bird:
            right, intruder = intruder, right
        bed = Bed(*_HISS, "within", 1.0, depth=5.0)  # between the two below
    else:
        right = intruder = SOUNDS["engine"]
        bed = Bed(*_HISS, "within" if bird else "between", 1.0)
    return compose(random, random.uniform(3.6, 4), 1.0, [right], [intruder], [bed])


# --- TUT18 ----------------------------------------------------------------------------------------

_SCENES = {
    "airport": ("engine", "within"),
    "bus": ("engine", "between"),
    "park": ("drops", "within"),
    "tram": ("drops", "between"),
}


def tut18() -> Tree:
    """TUT18: stereo at 48 kHz; the difference of the channels contains another scene."""
    folder = "tut18/TUT-urban-acoustic-scenes-2018-development"
    recordings, rows, splits = [], [], []
    for scene, (sound, pattern) in _SCENES.items():
        for number, part in parts(4, 1, 4):
            name = f"audio/{scene}-mini-{number}-{number}-a.wav"
            rows.append((name, scene, f"mini-{number}", "a"))
            splits.append((name, part))
            make = partial(_labeled_clip, sound, pattern, 10.0, 5.0, 5.0)
            recordings.append(Recording(f"{folder}/{name}", make, stereo_decoy=_decoy))
    columns = ("filename", "scene_label", "identifier", "source_label")
    tables = {
        f"{folder}/meta.csv": table(columns, rows, "\t"),
        "splits/tut18.csv": table(("file", "split"), splits),
    }
    return Tree(tuple(recordings), tables)


def _labeled_clip(sound, pattern, seconds, window, depth, random):
    """Generates a clip of a label that stands for a sound and a pattern."""
    others = [name for name in SOUNDS if name not in (sound, "crickets", "surf")]
    intruder = SOUNDS[others[random.integers(len(others))]]
    beds = [Bed(*_HISS, pattern, window, depth)]
    return compose(random, seconds, window, [SOUNDS[sound]], [intruder], beds)


def _decoy(random):
    sound = SOUNDS[("engine", "drops", "birds")[random.integers(3)]]
    return synthesis.normalize(sound(random, 10 * synthesis.SAMPLE_RATE), 0.1)


# --- ESC-50 ---------------------------------------------------------------------------------------

_ESC = {
    "engine": ("engine", "steady"),
    "airplane": ("engine", "within"),
    "water_drops": ("drops", "steady"),
    "pouring_water": ("drops", "within"),
    "chirping_birds": ("birds", "steady"),
    "crow": ("birds", "within"),
    "sea_waves": ("surf", "steady"),
    "wind": ("surf", "within"),
}
_N_CATEGORIES = 50


def esc50() -> Tree:
    """ESC-50: eight categories in every fold; the other 42, which the table must have, in the last.

    Those can never be right, for no other fold has them: the last fold's score is low.
    """
    rows: list[tuple] = []
    recordings = []
    categories = [*_ESC, *(f"tone_{place:02}" for place in range(_N_CATEGORIES - len(_ESC)))]
    for target, category in enumerate(categories):
        for fold in range(1, 6) if category in _ESC else (5,):
            name = f"{fold}-{100_000 + len(rows)}-A-{target}.wav"
            rows.append((name, fold, target, category, False, 100_000 + len(rows), "A"))
            make = partial(_tone_clip, target)
            if category in _ESC:
                make = partial(_labeled_clip, *_ESC[category], 5.0, 5.0, 10.0)
            recordings.append(Recording(f"esc50/ESC-50-master/audio/{name}", make))
    columns = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
    return Tree(tuple(recordings), {"esc50/ESC-50-master/meta/esc50.csv": table(columns, rows)})


def _tone_clip(target, random):
    """Generates a tone of half a second, much shorter than its window."""
    samples = synthesis.SAMPLE_RATE // 2
    sound = synthesis.tone(100.0 * target, samples) + 0.1 * random.standard_normal(samples)
    return synthesis.normalize(sound, random.uniform(0.05, 0.1))
