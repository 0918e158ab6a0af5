"""Data that an objective cannot learn from are refused, or the run is stopped."""

import micro
import numpy as np
import pytest
import soundfile
import tensorflow as tf

from hares_tf.data.prepare import prepare
from hares_tf.jobs import Runner
from hares_tf.pretrain import PretrainError, defaults, pretrain, trainer
from hares_tf.pretrain.checkpoints import Checkpoints
from hares_tf.pretrain.dry_run import dry_run
from hares_tf.recordings import folder_source


def prepared(folder, waves: dict[str, np.ndarray], labels=None):
    for name, wave in waves.items():
        path = folder / "audio" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wave, 16_000)
    source = folder_source([folder / "audio"], labels)
    prepare(source, folder / "clips", runner=Runner(workers=1))
    return folder / "clips"


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, 8000)


def config_of(objective: str, **settings):
    config = micro.get_config()
    if objective == "classification":
        config.objective = defaults.classification().objective
    config.update(settings)
    return config


@pytest.mark.parametrize("run", ["train", "dry"])
def test_a_batch_of_one(run, clips, tmp_path):
    config = config_of("simclr", batch=1)
    with pytest.raises(PretrainError, match="simclr compares clips, so a batch needs at least 2"):
        if run == "train":
            pretrain(config, clips, tmp_path / "run")
        else:
            dry_run(config, clips, tf.distribute.get_strategy())
    assert not (tmp_path / "run").exists()


def test_a_single_clip(tmp_path):
    clips = prepared(tmp_path, {"a.wav": noise(0)})
    with pytest.raises(PretrainError, match=r"clips needs at least 2 of them, not 1"):
        pretrain(config_of("simclr", batch=2), clips, tmp_path / "run")


def test_one_label_on_all_clips(tmp_path):
    clips = prepared(tmp_path, {f"dog/{n}.wav": noise(n) for n in range(4)}, "subfolder")
    with pytest.raises(PretrainError, match=r"the same labels \(dog\)"):
        pretrain(config_of("classification", batch=2), clips, tmp_path / "run")


def test_two_labels_are_learned_from(tmp_path):
    waves = {f"{label}/{n}.wav": noise(n) for n, label in enumerate("abab")}
    clips = prepared(tmp_path, waves, "subfolder")
    config = config_of("classification", batch=2, steps=2, warmup_steps=1)
    assert pretrain(config, clips, tmp_path / "run") == 0


def test_silence(tmp_path):
    clips = prepared(tmp_path, {f"{n}.wav": np.zeros(8000) for n in range(8)})
    with pytest.raises(PretrainError, match="The gradient is zero"):
        pretrain(config_of("simclr", batch=4), clips, tmp_path / "run")


def test_steps_without_a_gradient(tmp_path):
    config = micro.get_config()
    run = trainer._Run(config, tmp_path, None, None, None, Checkpoints(tmp_path), True, None, None)
    names = ("loss", "gradient_norm")
    run._check(np.array([[1.0, 0.0], [1.0, 1.0]]), names, 0)
    run._check(np.array([[1.0, 0.0]]), names, 2)  # a trained network may be done
    with pytest.raises(PretrainError, match=r"Step 1: The gradient is zero"):
        run._check(np.array([[1.0, 1e-6], [1.0, 0.0]]), names, 0)
