"""Clips for whole runs."""

import numpy as np
import pytest
import soundfile

from hares_tf.data.prepare import prepare
from hares_tf.jobs import Runner
from hares_tf.recordings import folder_source


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Prepared clips: chords of half a second."""
    folder = tmp_path_factory.mktemp("recordings")
    random = np.random.default_rng(0)
    for number in range(24):
        hertz = random.uniform(200, 3000, 3)
        wave = 0.2 * np.sin(2 * np.pi * hertz[:, None] * np.arange(8000) / 16_000).sum(axis=0)
        soundfile.write(folder / f"{number:02}.wav", wave, 16_000)
    output = tmp_path_factory.mktemp("clips") / "prepared"
    prepare(folder_source([folder]), output, runner=Runner(workers=1))
    return output
