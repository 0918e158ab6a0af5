"""The mini suite: synthetic tasks, one per domain, generated in code.

They show that the whole path works and let models be compared in a minute; they say nothing about
real recordings. The suite is written once as ordinary files (wav, CSV manifest, task file) into the
cache folder and then read like anybody's own task.

* `mini_pitch` (music): which of 12 semitones, over random octaves, timbres, vibrato and noise.
* `mini_keywords` (speech): which of 8 three-part words, by formant synthesis with random speakers,
  tempo and noise; four of the words are the others spoken backwards, so that a mean over time does
  not tell them apart.
* `mini_textures` (environment): which of 8 textures, at random levels, colours and densities; five
  folds, SVM head.

Every clip is a pure function of (suite version, task, clip number).
"""

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hares_tf.evaluation.tasks.declaration import Task
from hares_tf.evaluation.tasks.task_file import read_task_file
from hares_tf.files import atomic_directory, cache_dir

VERSION = 1
SAMPLE_RATE = 16000
_SIZES = "sizes.json"

PITCHES = ("c", "cs", "d", "ds", "e", "f", "fs", "g", "gs", "a", "as", "b")
# Formant centre frequencies in hertz of the sounds that words are made of (textbook averages of
# adult speakers, rounded); "s" and "f" are noise bands instead.
VOWELS = {
    "a": (730, 1090, 2440),
    "i": (270, 2290, 3010),
    "u": (300, 870, 2240),
    "o": (570, 840, 2410),
}
NOISES = {"s": (4000, 7000), "f": (1500, 7000)}
WORDS = ("sai", "ias", "fou", "uof", "aio", "oia", "sua", "aus")


def mini_task_ids() -> tuple[str, ...]:
    """Ids of the suite's tasks."""
    return tuple(_TASKS)


def mini_suite() -> list[Task]:
    """The tasks of the suite; the first call on a machine writes its files (a few seconds)."""
    folder = cache_dir() / f"mini-{VERSION}"
    if not _is_whole(folder):
        try:
            with atomic_directory(folder, overwrite=True) as temporary:
                write_suite(temporary)
                sizes = {
                    str(p.relative_to(temporary)): p.stat().st_size for p in temporary.rglob("*.*")
                }
                (temporary / _SIZES).write_text(json.dumps(sizes), encoding="utf-8")
        except OSError:
            # Another process may have been faster; anything else is a real failure.
            if not _is_whole(folder):
                raise
    return [read_task_file(folder / f"{task_id}.toml") for task_id in _TASKS]


def _is_whole(folder: Path) -> bool:
    """Whether nothing of the suite was deleted or cut, as cleaners of cache folders do."""
    try:
        sizes = json.loads((folder / _SIZES).read_text(encoding="utf-8"))
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def write_suite(folder: Path) -> None:
    """Writes audio, manifests and task files of the whole suite into `folder`."""
    import soundfile

    for task_id, (domain, seconds, labels, per_label, folds, synthesise) in _TASKS.items():
        (folder / task_id).mkdir()
        part_name = "fold" if folds else "split"
        with open(folder / f"{task_id}.csv", "w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["file", "label", part_name])
            for number in range(len(labels) * per_label):
                label, take = labels[number % len(labels)], number // len(labels)
                name = f"{task_id}/{label}_{take:03d}.wav"
                waveform = synthesise(_random(task_id, number), label, round(seconds * SAMPLE_RATE))
                soundfile.write(folder / name, _to_int16(waveform), SAMPLE_RATE, subtype="PCM_16")
                rows.writerow([name, label, take % 5 + 1 if folds else _split(take, per_label)])
        head = "svm" if folds else "linear"
        (folder / f"{task_id}.toml").write_text(
            f'version = {VERSION}\ndomain = "{domain}"\nmanifest = "{task_id}.csv"\n'
            f'window_seconds = {seconds}\nhead = "{head}"\n\n[columns]\nfile = "file"\n'
            f'label = "label"\n{part_name} = "{part_name}"\n',
            encoding="utf-8",
        )


def _random(task_id: str, number: int) -> np.random.Generator:
    seed = hashlib.sha256(f"mini-{VERSION}/{task_id}/{number}".encode()).digest()[:8]
    return np.random.Generator(np.random.PCG64(int.from_bytes(seed, "little")))


def _split(take: int, takes: int) -> str:
    return "train" if take < 0.6 * takes else "validation" if take < 0.75 * takes else "test"


def _to_int16(waveform: np.ndarray) -> np.ndarray:
    return np.round(32767 * np.clip(waveform, -1, 1)).astype(np.int16)


# --- building blocks ------------------------------------------------------------------------------


def _normalise(waveform: np.ndarray, level: float) -> np.ndarray:
    """Scales to a root mean square of `level`."""
    return waveform * (level / max(float(np.sqrt(np.mean(waveform**2))), 1e-9))


def _filtered_noise(random: np.random.Generator, samples: int, response: Callable) -> np.ndarray:
    """White noise with the magnitude response `response(frequencies in hertz)`."""
    spectrum = np.fft.rfft(random.standard_normal(samples))
    return np.fft.irfft(spectrum * response(np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)), samples)


def _band(low: float, high: float) -> Callable:
    return lambda f: 1.0 / (1 + (low / np.maximum(f, 1.0)) ** 4) / (1 + (f / high) ** 4)


def _with_noise(random: np.random.Generator, waveform: np.ndarray, decibels: float) -> np.ndarray:
    """Adds coloured background noise `decibels` below the signal, at a random overall level."""
    slope = random.uniform(0.0, 1.0)
    noise = _filtered_noise(random, len(waveform), lambda f: (np.maximum(f, 50.0) / 50) ** -slope)
    mixed = _normalise(waveform, 1.0) + _normalise(noise, 10 ** (-decibels / 20))
    return _normalise(mixed, random.uniform(0.03, 0.12))


def _bursts(
    random: np.random.Generator, samples: int, per_second: float, make: Callable
) -> np.ndarray:
    """A Poisson train of sounds `make()`, each at a random level."""
    sound = np.zeros(samples)
    for _ in range(max(1, random.poisson(per_second * samples / SAMPLE_RATE))):
        burst = make() * random.lognormal(0.0, 0.5)
        start = random.integers(0, max(1, samples - len(burst)))
        sound[start : start + len(burst)] += burst[: samples - start]
    return sound


def _decay(samples: int, seconds: float) -> np.ndarray:
    return np.exp(-np.arange(samples) / (seconds * SAMPLE_RATE))


def _tone(frequency: np.ndarray | float, samples: int) -> np.ndarray:
    return np.sin(2 * np.pi * np.cumsum(np.broadcast_to(frequency, samples)) / SAMPLE_RATE)


# --- the three tasks ------------------------------------------------------------------------------


def _pitch_clip(random: np.random.Generator, label: str, samples: int) -> np.ndarray:
    octave = random.integers(3, 7)
    midi = 12 * (octave + 1) + PITCHES.index(label) + random.normal(0, 0.08)
    time = np.arange(samples) / SAMPLE_RATE
    vibrato = random.uniform(0, 0.006) * np.sin(2 * np.pi * random.uniform(4, 7) * time)
    frequency = 440 * 2 ** ((midi - 69) / 12) * (1 + vibrato)
    brightness, odd = random.uniform(0.8, 2.2), random.uniform(0.1, 1.0)
    note = np.zeros(samples)
    for harmonic in range(1, 9):
        if frequency.max() * harmonic < 0.48 * SAMPLE_RATE:
            level = harmonic**-brightness * (odd if harmonic % 2 == 0 else 1)
            note += level * random.uniform(0.5, 1.5) * _tone(frequency * harmonic, samples)
    note *= _decay(samples, random.uniform(0.2, 2.0))
    note *= np.minimum(1, time / random.uniform(0.005, 0.08))
    return _with_noise(random, note, random.uniform(-4, 14))


def _keyword_clip(random: np.random.Generator, label: str, samples: int) -> np.ndarray:
    pitch, tract = random.uniform(90, 240), random.uniform(0.85, 1.2)
    length = round(samples * random.uniform(0.5, 0.85))
    shares = random.uniform(0.7, 1.3, len(label))
    edges = np.concatenate([[0], np.cumsum(shares) / shares.sum()]) * length
    frequency = pitch * (
        1
        + 0.1
        * np.sin(
            2 * np.pi * random.uniform(0.5, 2) * np.arange(length) / SAMPLE_RATE
            + random.uniform(0, 6)
        )
    )
    # A train of glottal pulses, as the sign changes of a sawtooth's phase.
    phase = np.cumsum(frequency) / SAMPLE_RATE
    pulses = np.diff(np.floor(phase), prepend=0) + 0.02 * random.standard_normal(length)
    word = np.zeros(length)
    for sound, start, stop in zip(label, edges[:-1], edges[1:], strict=True):
        envelope = _soft_gate(length, start, stop)
        if sound in NOISES:
            low, high = NOISES[sound]
            word += (
                0.3
                * envelope
                * _normalise(_filtered_noise(random, length, _band(low * tract, high * tract)), 1.0)
            )
        else:
            response = _formants(tuple(tract * formant for formant in VOWELS[sound]))
            voiced = np.fft.irfft(
                np.fft.rfft(pulses) * response(np.fft.rfftfreq(length, 1 / SAMPLE_RATE)), length
            )
            word += envelope * _normalise(voiced, 1.0)
    clip = np.zeros(samples)
    start = random.integers(0, samples - length)
    clip[start : start + length] = word
    return _with_noise(random, clip, random.uniform(3, 20))


def _soft_gate(samples: int, start: float, stop: float) -> np.ndarray:
    """One between start and stop, with edges of about 15 ms."""
    position, edge = np.arange(samples), 0.015 * SAMPLE_RATE
    return (
        1
        / (1 + np.exp(-np.clip((position - start) / edge, -40, 40)))
        / (1 + np.exp(-np.clip((stop - position) / edge, -40, 40)))
    )


def _formants(centres: tuple[float, ...]) -> Callable:
    return lambda f: sum(
        level / (1 + ((f - centre) / (60 + 0.04 * centre)) ** 2)
        for level, centre in zip((1.0, 0.5, 0.25), centres, strict=True)
    )


def _rain(random, samples, time):
    drops = _bursts(
        random,
        samples,
        random.uniform(150, 400),
        lambda: random.standard_normal(160) * _decay(160, 0.002),
    )
    hiss = _filtered_noise(random, samples, _band(random.uniform(600, 1500), 7000))
    return 0.4 * hiss + 0.5 * drops


def _wind(random, samples, time):
    band = _band(80, random.uniform(300, 900))
    return _filtered_noise(random, samples, band) * _swell(random, time, 0.8, 2.0)


def _waves(random, samples, time):
    band = _band(200, random.uniform(700, 3000))
    return _filtered_noise(random, samples, band) * _swell(random, time, 0.25, 0.5)


def _swell(random, time, slowest, fastest):
    rate = random.uniform(slowest, fastest)
    return 0.2 + (0.5 + 0.5 * np.sin(2 * np.pi * rate * time + random.uniform(0, 6))) ** 2


def _crackle(random, samples, time):
    pops = _bursts(
        random,
        samples,
        random.uniform(15, 40),
        lambda: random.standard_normal(320) * _decay(320, 0.003),
    )
    return pops + 0.02 * _filtered_noise(random, samples, _band(60, 500))


def _engine(random, samples, time):
    wobble = 1 + 0.1 * np.sin(2 * np.pi * random.uniform(0.2, 1) * time)
    base = random.uniform(30, 70) * wobble
    hum = sum(random.uniform(0.3, 1) / k * _tone(base * k, samples) for k in range(1, 16))
    return hum + 0.5 * _filtered_noise(random, samples, _band(100, 1500))


def _crickets(random, samples, time):
    chirps = 0.5 + 0.5 * np.sign(np.sin(2 * np.pi * random.uniform(3, 8) * time))
    trill = 0.5 + 0.5 * np.sin(2 * np.pi * random.uniform(25, 45) * time)
    return chirps * trill * _tone(random.uniform(2000, 5500), samples)


def _birds(random, samples, time):
    def call():
        length = random.integers(1000, 4000)
        sweep = np.linspace(random.uniform(2000, 5000), random.uniform(2000, 5000), length)
        return _tone(sweep, length) * np.hanning(length)

    return _bursts(random, samples, random.uniform(2, 6), call)


def _drops(random, samples, time):
    def drop():
        sweep = random.uniform(500, 2500) * (1 + np.arange(1600) / 1600)
        return _tone(sweep, 1600) * _decay(1600, 0.02)

    return _bursts(random, samples, random.uniform(2, 6), drop)


TEXTURES = {
    "rain": _rain,
    "wind": _wind,
    "waves": _waves,
    "crackle": _crackle,
    "engine": _engine,
    "crickets": _crickets,
    "birds": _birds,
    "drops": _drops,
}


def _texture_clip(random: np.random.Generator, label: str, samples: int) -> np.ndarray:
    sound = TEXTURES[label](random, samples, np.arange(samples) / SAMPLE_RATE)
    return _with_noise(random, sound, random.uniform(-14, 4))


# id -> (domain, seconds per clip, labels, clips per label, folds?, synthesis)
_TASKS = {
    "mini_pitch": ("music", 1.0, PITCHES, 30, False, _pitch_clip),
    "mini_keywords": ("speech", 1.0, WORDS, 60, False, _keyword_clip),
    "mini_textures": ("environment", 3.0, tuple(TEXTURES), 25, True, _texture_clip),
}
