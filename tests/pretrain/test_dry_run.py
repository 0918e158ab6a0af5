"""What `--dry_run` says, against what is known."""

import re

import micro
import pytest
import tensorflow as tf

from hares_tf.commands import pretrain as command
from hares_tf.pretrain import PretrainError
from hares_tf.pretrain.dry_run import dry_run

STRATEGY = tf.distribute.get_strategy()


def said(pattern, lines):
    """The number that stands in front of or behind something."""
    (number,) = re.findall(pattern.replace("NUMBER", r"([\d,.]+(?:e-\d+)?)"), " | ".join(lines))
    return float(number.replace(",", ""))


@pytest.fixture(scope="module")
def plain(clips):
    """What is said of the small network as it is."""
    return dry_run(micro.get_config(), clips, STRATEGY)


def test_sizes_are_those_of_the_run(plain):
    config, lines = micro.get_config(), plain
    learner = micro.awake_learner(config)
    assert said("NUMBER parameters, ", lines) == learner.encoder.count_params()
    assert said("NUMBER more in the head", lines) == learner.head.count_params()
    assert said("NUMBER clips, ", lines) == 24
    assert said("NUMBER epochs", lines) == config.steps * config.batch / 24


@pytest.mark.slow
def test_activations_are_those_of_clips(clips, monkeypatch):
    """Whatever batch is looked at, and fewer with gradient checkpointing."""
    config = micro.get_config()
    found = []
    for batches, gradient_checkpointing in (((2, 4), False), ((3, 8), False), ((2, 4), True)):
        monkeypatch.setattr("hares_tf.pretrain.dry_run._TRACED_CLIPS", batches)
        config.model.gradient_checkpointing = gradient_checkpointing
        found.append(said("activations NUMBER MiB", dry_run(config, clips, STRATEGY)))
    assert found[0] == pytest.approx(found[1], rel=0.02)
    assert found[2] < 0.7 * found[0]


@pytest.mark.slow
def test_operations_are_those_of_products(clips):
    """Three times the forward pass, of which a wide projector is nearly all."""
    config = micro.get_config()
    config.objective.update({"hidden": 4096, "layers": 2, "size": 128})
    lines = dry_run(config, clips, STRATEGY)
    head = 2 * (24 * 4096 + 4096 * 4096 + 4096 * 128)
    expected = 3 * 2 * config.batch * head / 1e9  # in two views
    assert said("replica: NUMBER GFLOP", lines) == pytest.approx(expected, rel=0.1)
    config.batch *= 2
    assert said("replica: NUMBER GFLOP", dry_run(config, clips, STRATEGY)) == pytest.approx(
        2 * said("replica: NUMBER GFLOP", lines), rel=0.01
    )


@pytest.mark.slow
def test_chunks_save_activations_and_cost_a_forward_pass(clips, plain):
    config = micro.get_config()
    config.chunk = 2
    chunked = dry_run(config, clips, STRATEGY)
    assert any("in chunks of 2 crops" in line for line in chunked)
    operations = [said("replica: NUMBER GFLOP", lines) for lines in (plain, chunked)]
    assert operations[1] / operations[0] == pytest.approx(4 / 3, rel=0.02)
    # The two crops of one clip at a time instead of eight clips', whose spectrograms stay.
    memory = [said("roughly NUMBER GiB", lines) for lines in (plain, chunked)]
    state, activations = said("optimizer NUMBER GiB", plain), said("activations NUMBER MiB", plain)
    assert memory[0] - memory[1] == pytest.approx(7 * activations / 1024, rel=0.15)
    assert memory[1] - state == pytest.approx(memory[0] - state - 7 * activations / 1024, abs=2e-4)


def test_what_a_run_would_refuse_is_refused(clips):
    config = micro.get_config()
    config.chunk = 5
    with pytest.raises(PretrainError, match="chunk=5"):
        dry_run(config, clips, STRATEGY)


@pytest.mark.slow
def test_the_command_with_a_strategy(clips, tmp_path, capsys):
    flags = [f"--config={micro.__file__}", f"--data={clips}", f"--workdir={tmp_path / 'run'}"]
    assert command.main([*flags, "--strategy=mirrored", "--dry_run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert said("on each of NUMBER replica", lines) >= 1
    assert said("NUMBER parameters, ", lines) == 1320
    assert not (tmp_path / "run").exists()
