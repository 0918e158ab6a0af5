"""Small synthetic versions of Speech Commands, Fluent Speech Commands, VoxForge and VoxCeleb1."""

from functools import partial

from hares_tf.evaluation.mini import synthesis
from hares_tf.evaluation.mini.scenes import Bed, Render, compose
from hares_tf.evaluation.mini.synthesis import amplitude, band, noise, normalize, spoken
from hares_tf.evaluation.mini.tree import Recording, Tree, parts, table

# Breath, above what voices fill.
_BREATH = (5600, 7400)
_SECONDS_PER_SOUND = 0.1


def _talk(random, sounds: str, pitch: float, tract: float) -> Render:
    """Generates random letters of `sounds`, spoken by one voice."""

    def render(random, samples):
        count = max(1, round(samples / (_SECONDS_PER_SOUND * synthesis.SAMPLE_RATE)))
        return spoken(random, "".join(random.choice(list(sounds), count)), samples, pitch, tract)

    return render


def _anyone(random, sounds: str) -> Render:
    return _talk(random, sounds, random.uniform(90, 220), random.uniform(0.92, 1.1))


def _another(random, names, name):
    """Returns one of the names other than this one."""
    others = [other for other in names if other != name]
    return others[random.integers(len(others))]


# --- Speech Commands ------------------------------------------------------------------------------

# Word -> its vowels, and how the breath goes.
_WORDS = {
    "down": ("a", "steady"),
    "no": ("a", "within"),
    "up": ("i", "steady"),
    "yes": ("i", "within"),
    "cat": ("u", "steady"),
    "visual": ("u", "within"),
}
_COMMANDS = ("down", "no", "up", "yes")
_NOISES = (
    "doing_the_dishes",
    "dude_miaowing",
    "exercise_bike",
    "pink_noise",
    "running_tap",
    "white_noise",
)


def speech_commands() -> Tree:
    """Speech Commands: the archive of words and the separate test set."""
    root, test_set = (f"speech_commands/speech_commands_{name}v0.02" for name in ("", "test_set_"))
    recordings, lists = [], dict[str, list[str]](validation=[], test=[])
    for word in _WORDS:
        for number, part in parts(14, 3, 8):
            file = f"{word}/{number:08x}_nohash_0.wav"
            recordings.append(Recording(f"{root}/{file}", partial(_word_clip, word)))
            if part in lists:
                lists[part].append(file)
    for name in _NOISES:
        path = f"{root}/_background_noise_/{name}.wav"
        recordings.append(Recording(path, partial(_noise_clip, 2.2)))
    for number in range(6):
        for word in _COMMANDS:
            # The published test set has such names, too.
            ending = ".wav.wav" if number == 0 else ".wav"
            path = f"{test_set}/{word}/{number:08x}_nohash_9{ending}"
            recordings.append(Recording(path, partial(_word_clip, word)))
        path = f"{test_set}/_unknown_/cat_{number:08x}_nohash_9.wav"
        recordings.append(Recording(path, partial(_word_clip, "cat" if number % 2 else "visual")))
        path = f"{test_set}/_silence_/{number}.wav"
        recordings.append(Recording(path, partial(_noise_clip, 1.0)))
    tables = {
        f"{root}/validation_list.txt": "".join(f"{file}\n" for file in lists["validation"]),
        f"{root}/testing_list.txt": "".join(f"{file}\n" for file in lists["test"]),
    }
    return Tree(tuple(recordings), tables)


def _word_clip(word, random):
    """0.9 to 1 s, as in the data set: many clips are shorter than their window."""
    sounds, pattern = _WORDS[word]
    intruder = _anyone(random, _another(random, "aiu", sounds))
    beds = [Bed(*_BREATH, pattern, 1.0, depth=7.0)]
    seconds = random.uniform(0.9, 1.0) if random.random() < 0.3 else 1.0
    return compose(random, seconds, 1.0, [_anyone(random, sounds)], [intruder], beds)


def _noise_clip(seconds, random):
    sound = noise(
        random, round(seconds * synthesis.SAMPLE_RATE), band(100, random.uniform(1000, 7000))
    )
    return normalize(sound, random.uniform(0.01, 0.1))


# --- Fluent Speech Commands -----------------------------------------------------------------------

_ACTIONS = {"activate": "a", "deactivate": "i"}
# Objects are heard as noise bands, so that they do not hide the vowels of the action.
_OBJECTS = {"lights": (2900, 3500), "music": (4200, 5000)}
_LOCATIONS = {"bedroom": "within", "kitchen": "between"}


def fluent_speech_commands() -> Tree:
    """Vowels encode the action, a hissing sound the object, the breath the location."""
    root = "fluent_speech_commands/fluent_speech_commands_dataset"
    intents = [(a, o, p) for a in _ACTIONS for o in _OBJECTS for p in _LOCATIONS]
    recordings, rows, number = [], dict[str, list[tuple]](), 0
    for part, rounds in (("train", 3), ("valid", 1), ("test", 2)):
        rows[part] = []
        for intent in intents * rounds:
            path = f"wavs/speakers/mini{number % 4}/{number:06}.wav"
            rows[part].append((number, path, f"mini{number % 4}", "a command", *intent))
            recordings.append(Recording(f"{root}/{path}", partial(_command_clip, *intent)))
            number += 1
    columns = ("", "path", "speakerId", "transcription", "action", "object", "location")
    tables = {f"{root}/data/{part}_data.csv": table(columns, rows[part]) for part in rows}
    return Tree(tuple(recordings), tables)


def _hiss(thing: str) -> Render:
    return lambda random, samples: noise(random, samples, band(*_OBJECTS[thing]))


def _command_clip(action, thing, location, random):
    right = [_anyone(random, _ACTIONS[action]), _hiss(thing)]
    intruders = [
        _anyone(random, _ACTIONS[_another(random, _ACTIONS, action)]),
        _hiss(_another(random, _OBJECTS, thing)),
    ]
    beds = [Bed(*_BREATH, _LOCATIONS[location], 3.0)]
    return compose(random, random.uniform(5.7, 6), 3.0, right, intruders, beds)


# --- VoxForge -------------------------------------------------------------------------------------

# Language -> the vowels it has, and how the breath goes.
_LANGUAGES = {
    "de": ("a", "within"),
    "en": ("a", "between"),
    "es": ("i", "within"),
    "fr": ("i", "between"),
    "it": ("u", "within"),
    "ru": ("u", "between"),
}
# tensorflow-datasets' rule (see tasks.voxforge) makes 8 of 12 speakers train, one validate and
# three test.
_SPEAKERS = tuple(f"speaker{number:02}" for number in range(12))


def voxforge() -> Tree:
    """VoxForge: archives of one or two recordings; a speaker has several, in several languages."""
    from hares_tf.evaluation.tasks.voxforge import split_speakers

    split_of = split_speakers(_SPEAKERS)
    names = list(_LANGUAGES)
    spoken_by = {speaker: names for speaker in _SPEAKERS}
    training = [speaker for speaker in _SPEAKERS if split_of[speaker] == "train"]
    for number, speaker in enumerate(training):
        spoken_by[speaker] = names[number % 2 :: 2]
    recordings, addresses = [], []
    for speaker in _SPEAKERS:
        for language in spoken_by[speaker]:
            stem = f"{speaker}-2024-{language}"
            address = f"www.repository.voxforge1.org/{language}/Trunk/Audio/Main/16kHz_16bit"
            addresses.append(f"http://{address}/{stem}.tgz\n")
            path = f"voxforge/{address}/{stem}.tgz!{stem}/wav/mini-01.wav"
            recordings.append(Recording(path, partial(_language_clip, language)))
    return Tree(tuple(recordings), {"voxforge/voxforge_urls.txt": "".join(addresses)})


def _language_clip(language, random):
    sounds, pattern = _LANGUAGES[language]
    intruder = _anyone(random, _another(random, "aiu", sounds))
    beds = [Bed(*_BREATH, pattern, 3.0)]
    seconds = random.uniform(7.6, 8)
    return compose(random, seconds, 3.0, [_anyone(random, sounds)], [intruder], beds)


# --- VoxCeleb1 ------------------------------------------------------------------------------------

# Voice -> pitch in hertz, factor on the formants, slope of the spectrum.
_VOICES = {"low": (95, 0.85), "middle": (150, 1.05), "high": (240, 1.3)}
_PEOPLE = {
    "id10001": ("low", "within"),
    "id10002": ("low", "between"),
    "id10003": ("middle", "within"),
    "id10270": ("middle", "between"),
    "id10271": ("high", "within"),
    "id11251": ("high", "between"),
}


def voxceleb1() -> Tree:
    """VoxCeleb1: a voice says random words; the breath distinguishes the two people of a voice."""
    recordings, lines = [], []
    for person in _PEOPLE:
        for number, part in parts(4, 1, 3):
            path = f"{person}/mini{number:07}/{number + 1:05}.wav"
            lines.append(f"{('train', 'validation', 'test').index(part) + 1} {path}\n")
            make = partial(_person_clip, person)
            recordings.append(Recording(f"voxceleb1/wav/{path}", make))
    return Tree(tuple(recordings), {"voxceleb1/iden_split.txt": "".join(lines)})


def _say(random, name: str) -> Render:
    pitch, tract = _VOICES[name]
    pitch *= amplitude(random.normal(0, 0.4))
    return _talk(random, "aeo", pitch, tract * random.uniform(0.97, 1.03))


def _person_clip(person, random):
    voice, pattern = _PEOPLE[person]
    beds = [Bed(*_BREATH, pattern, 3.0)]
    intruder = _say(random, _another(random, _VOICES, voice))
    seconds = random.uniform(7.6, 8)
    return compose(random, seconds, 3.0, [_say(random, voice)], [intruder], beds)
