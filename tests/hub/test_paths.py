"""Modules in folders whose names TensorFlow takes for patterns."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from hares_tf.hub import archive, load
from hares_tf.utils.tensorflow import literal_path

NAMES = ["m [1]", "[!a]", "back\\slash", "*", "?", "{a}", "50%s", "it's", 'a"b', "new\nline", "m@2"]


class Scaled(tf.Module):
    def __init__(self, scale: float):
        super().__init__()
        self.scale = tf.Variable([float(scale)])

    @tf.function(input_signature=[tf.TensorSpec([None, None])])
    def __call__(self, waveform):
        return waveform[:, :1] * self.scale


def first_value(module) -> float:
    return float(module(tf.ones([1, 10]))[0, 0])


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """Two modules that differ in their weights alone."""
    folder = tmp_path_factory.mktemp("modules")
    for scale in (2, 3):
        tf.saved_model.save(Scaled(scale), str(folder / str(scale)))
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_module_is_loaded(name, modules, tmp_path):
    folder = tmp_path / name
    shutil.copytree(modules / "2", folder)
    shutil.copytree(modules / "3", tmp_path / "other")
    assert first_value(load(folder)) == 2
    shutil.move(folder, tmp_path / "moved")
    shutil.copytree(modules / "3", folder)
    assert first_value(load(folder)) == 3


@pytest.mark.parametrize("name", ["cache [1]", "a\\b"])
def test_a_module_is_unpacked_and_saved_again(name, modules, tmp_path, monkeypatch):
    monkeypatch.setenv("HARES_CACHE_DIR", str(tmp_path / name))
    archive.pack(modules / "2", tmp_path / "module.tar.gz")
    module = load(tmp_path / "module.tar.gz")
    assert first_value(module) == 2
    tf.saved_model.save(module, str(tmp_path / name / "again"))
    assert first_value(load(tmp_path / name / "again")) == 2


def test_plain_paths_stay_as_they_are(tmp_path):
    assert literal_path(tmp_path) == str(tmp_path)


def test_a_pattern_is_given_as_a_link(tmp_path):
    folder = tmp_path / "[ab]"
    folder.mkdir()
    np.save(folder / "x.npy", np.ones(1))
    link = literal_path(folder)
    assert "[" not in link and np.load(f"{link}/x.npy") == 1
    assert literal_path(folder) == link
