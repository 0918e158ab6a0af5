"""Modules written by TensorFlow 2.15 (`old_stack.py`), loaded and scored by this package."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from hares_tf.commands import check_handle
from hares_tf.evaluation import Interface, evaluate
from hares_tf.hub import load

FOLDER = Path(os.environ["HARES_INTEROP"])
MODULES = {"from_keras_2": ["--sample_rate=16000"], "from_module": []}  # the second has a card


@pytest.fixture(scope="module")
def way_back():
    with np.load(FOLDER / "way_back.npz", allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.mark.parametrize("name", MODULES)
def test_the_embeddings_are_those_of_the_old_stack(name, way_back):
    output = load(FOLDER / name)(way_back["waveform"])
    found = np.asarray(output["embedding"] if isinstance(output, dict) else output)
    wanted = way_back[name]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * max(1.0, np.abs(wanted).max()))


@pytest.mark.parametrize("name", MODULES)
def test_hares_check_handle_finds_nothing_wrong(name, capsys):
    assert check_handle.main([f"--handle={FOLDER / name}", *MODULES[name]]) == 0
    printed = capsys.readouterr().out
    assert "features at 16000 Hz" in printed and "\n!" not in printed


@pytest.mark.parametrize("name", MODULES)
def test_it_is_scored(name, tmp_path):
    (result,) = evaluate(
        FOLDER / name,
        ["mini_tut18"],
        protocol="smoke",
        interface=Interface(sample_rate=16_000),
        output=tmp_path / "results",
        store=tmp_path / "store",
    )
    assert result.complete and result.score > 0
    (path,) = (tmp_path / "results").rglob("mini_tut18.json")
    assert json.loads(path.read_text())["embeddings"]["runtime"] == "tensorflow"
