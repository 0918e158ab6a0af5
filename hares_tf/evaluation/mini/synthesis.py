"""Building blocks of the synthetic clips: noise, voices, notes, textures. 16 kHz throughout."""

import hashlib
from collections.abc import Callable

import numpy as np

SAMPLE_RATE = 16000

Response = Callable[[np.ndarray], np.ndarray]


def generator(*names: object) -> np.random.Generator:
    """Returns a random generator seeded by the names alone."""
    seed = hashlib.sha256("/".join(map(str, names)).encode()).digest()[:8]
    return np.random.Generator(np.random.PCG64(int.from_bytes(seed, "little")))


def normalize(waveform: np.ndarray, level: float = 1.0) -> np.ndarray:
    """Scales to a root mean square of `level`."""
    return waveform * (level / max(float(np.sqrt(np.mean(waveform**2))), 1e-9))


def amplitude(decibels):
    """Returns the factor of a level in decibels."""
    return 10 ** (decibels / 20)


def filtered(source: np.ndarray, response: Response) -> np.ndarray:
    """Multiplies the spectrum of a source by `response(frequencies in hertz)`."""
    # A multiple of 4096 keeps the transform quick.
    length = -(-len(source) // 4096) * 4096
    spectrum = np.fft.rfft(source, length) * response(np.fft.rfftfreq(length, 1 / SAMPLE_RATE))
    return np.fft.irfft(spectrum, length)[: len(source)]


def noise(random: np.random.Generator, samples: int, response: Response) -> np.ndarray:
    """Returns noise with the magnitude response `response(frequencies in hertz)`."""
    return filtered(random.standard_normal(samples), response)


def band(low: float, high: float) -> Response:
    """Returns the response of a smooth band-pass between two frequencies in hertz."""
    return lambda f: 1.0 / (1 + (low / np.maximum(f, 1.0)) ** 4) / (1 + (f / high) ** 4)


def phase(frequency: np.ndarray | float, samples: int) -> np.ndarray:
    """Returns the phase in radians of a constant or moving frequency in hertz."""
    return 2 * np.pi / SAMPLE_RATE * np.cumsum(np.broadcast_to(frequency, samples))


def tone(frequency: np.ndarray | float, samples: int) -> np.ndarray:
    """Returns a sine of a constant or moving frequency in hertz."""
    return np.sin(phase(frequency, samples))


def decay(samples: int, seconds: float) -> np.ndarray:
    """Returns an exponential decay with a time constant in seconds."""
    return np.exp(-np.arange(samples) / (seconds * SAMPLE_RATE))


def faded(waveform: np.ndarray, seconds: float = 0.012) -> np.ndarray:
    """Fades a waveform in and out."""
    length = min(round(seconds * SAMPLE_RATE), len(waveform) // 2)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(length) / max(1, length))
    waveform = waveform.copy()
    waveform[:length] *= ramp
    waveform[len(waveform) - length :] *= ramp[::-1]
    return waveform


def bursts(
    random: np.random.Generator, samples: int, per_second: float, make: Callable[[], np.ndarray]
) -> np.ndarray:
    """Returns a Poisson train of sounds `make()`, each at a random level."""
    sound = np.zeros(samples)
    for _ in range(max(1, random.poisson(per_second * samples / SAMPLE_RATE))):
        burst = make() * random.lognormal(0.0, 0.5)
        start = random.integers(0, max(1, samples - len(burst)))
        sound[start : start + len(burst)] += burst[: samples - start]
    return sound


# --- speech ---------------------------------------------------------------------------------------

# Formant center frequencies in hertz of the sounds that words are made of (textbook averages of
# adult speakers, rounded); "s" and "f" are noise bands instead.
VOWELS = {
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (270, 2290, 3010),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}
NOISES = {"s": (4000, 7000), "f": (1500, 7000)}


def voice(random: np.random.Generator, samples: int, pitch: float) -> np.ndarray:
    """Returns a train of glottal pulses whose pitch (hertz) varies slightly."""
    time = np.arange(samples) / SAMPLE_RATE
    melody = np.sin(2 * np.pi * random.uniform(0.5, 2) * time + random.uniform(0, 6))
    # Pulses are the steps of a sawtooth's phase.
    phase = np.cumsum(pitch * (1 + 0.1 * melody)) / SAMPLE_RATE
    return np.diff(np.floor(phase), prepend=0) + 0.02 * random.standard_normal(samples)


def spoken(
    random: np.random.Generator, sounds: str, samples: int, pitch: float, tract: float
) -> np.ndarray:
    """Returns a sequence of speech sounds of random lengths.

    Args:
        random: draws lengths and breath.
        sounds: letters of `VOWELS` and `NOISES`.
        samples: length of the result.
        pitch: in hertz.
        tract: factor on all formants; 1 is an average adult.
    """
    shares = random.uniform(0.7, 1.3, len(sounds))
    edges = np.round(np.concatenate([[0], np.cumsum(shares) / shares.sum()]) * samples).astype(int)
    pulses = voice(random, samples, pitch)
    word = np.zeros(samples)
    for sound, start, stop in zip(sounds, edges[:-1], edges[1:], strict=True):
        if sound in NOISES:
            low, high = NOISES[sound]
            source, level = random.standard_normal(stop - start), 0.3
            response = band(low * tract, high * tract)
        else:
            source, level = pulses[start:stop], 1.0
            response = formants([tract * center for center in VOWELS[sound]])
        word[start:stop] = level * faded(normalize(filtered(source, response)))
    return word


def formants(centers) -> Response:
    """Returns the response of resonances (hertz), each weaker than the one before."""
    return lambda f: sum(
        level / (1 + ((f - center) / (60 + 0.04 * center)) ** 2)
        for level, center in zip((1.0, 0.5, 0.25), centers, strict=True)
    )


# --- music ----------------------------------------------------------------------------------------


def note(
    random: np.random.Generator,
    samples: int,
    midi: float,
    *,
    brightness: float,
    even: float,
    attack: float,
    fall: float,
) -> np.ndarray:
    """Returns a harmonic tone.

    Args:
        random: draws vibrato and the levels of the harmonics.
        samples: length.
        midi: pitch as a MIDI number; 69 is 440 Hz.
        brightness: harmonic k has the level k ** -brightness.
        even: factor on even harmonics.
        attack, fall: seconds of the rise, and of the decay's time constant.
    """
    time = np.arange(samples) / SAMPLE_RATE
    vibrato = random.uniform(0, 0.004) * np.sin(2 * np.pi * random.uniform(4, 7) * time)
    frequency = 440 * 2 ** ((midi - 69) / 12) * (1 + vibrato)
    first, sound = phase(frequency, samples), np.zeros(samples)
    for harmonic in range(1, 11):
        if frequency.max() * harmonic < 0.48 * SAMPLE_RATE:
            level = harmonic**-brightness * (even if harmonic % 2 == 0 else 1)
            sound += level * random.uniform(0.6, 1.4) * np.sin(harmonic * first)
    return sound * decay(samples, fall) * np.minimum(1, time / attack)


# --- environment ----------------------------------------------------------------------------------


def engine(random: np.random.Generator, samples: int) -> np.ndarray:
    """Returns a hum of a moving pitch, with noise."""
    time = np.arange(samples) / SAMPLE_RATE
    base = random.uniform(30, 70) * (1 + 0.1 * np.sin(2 * np.pi * random.uniform(0.2, 1) * time))
    first = phase(base, samples)
    hum = sum(random.uniform(0.3, 1) / k * np.sin(k * first) for k in range(1, 16))
    return hum + 0.5 * noise(random, samples, band(100, 1500))


def crickets(random: np.random.Generator, samples: int) -> np.ndarray:
    """Returns a trilled tone between 3.5 and 5.5 kHz."""
    time = np.arange(samples) / SAMPLE_RATE
    trill = 0.5 + 0.5 * np.sin(2 * np.pi * random.uniform(25, 45) * time)
    return trill * tone(random.uniform(3500, 5500), samples)


def birds(random: np.random.Generator, samples: int) -> np.ndarray:
    """Returns short sweeps between 2 and 4 kHz."""

    def call():
        length = random.integers(1000, 4000)
        sweep = np.linspace(random.uniform(2000, 4000), random.uniform(2000, 4000), length)
        return tone(sweep, length) * np.hanning(length)

    return bursts(random, samples, random.uniform(5, 9), call)


def drops(random: np.random.Generator, samples: int) -> np.ndarray:
    """Returns decaying sweeps that begin between 0.5 and 1.5 kHz."""

    def drop():
        sweep = random.uniform(500, 1500) * (1 + np.arange(1600) / 1600)
        return tone(sweep, 1600) * decay(1600, 0.02)

    return bursts(random, samples, random.uniform(4, 9), drop)
