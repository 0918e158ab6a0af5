"""Configurations and what a user may change in them."""

import sys

import pytest

from hares_tf.commands.prepare import main as prepare_main
from hares_tf.commands.pretrain import main
from hares_tf.models.errors import ModelError
from hares_tf.pretrain import PretrainError, load_config
from hares_tf.pretrain.config_names import list_configs
from hares_tf.utils.errors import HaresError


@pytest.mark.parametrize("name", list_configs())
def test_every_shipped_configuration_is_valid(name):
    config = load_config(name)
    assert config.steps > config.warmup_steps > 0
    assert config.objective.name in name or name == "demo"


def test_found_by_name_by_repository_path_and_by_file(tmp_path, repository):
    by_name = load_config("small_simclr")
    assert load_config("hares_tf/pretrain/configs/small_simclr.py") == by_name
    copy = tmp_path / "mine.py"
    copy.write_text((repository / "hares_tf/pretrain/configs/small_simclr.py").read_text())
    assert load_config(str(copy)) == by_name


def test_overrides_take_the_type_of_what_they_replace():
    config = load_config(
        "demo",
        ["batch=64", "learning_rate=3e-4", "objective.mixing=none", "crops.seconds=2",
         "jit_compile=true",
         "probe.tasks=mini_tut18, mini_esc50", "probe.every=50", "objective.temperature=0.5"],
    )  # fmt: skip
    assert (config.batch, config.learning_rate, config.objective.mixing) == (64, 3e-4, "none")
    assert config.crops.seconds == 2.0 and isinstance(config.crops.seconds, float)
    assert config.jit_compile is True and config.objective.temperature == 0.5
    assert config.probe.tasks == ("mini_tut18", "mini_esc50")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("batch", "write --config.batch=VALUE"),
        ("batsch=3", "did you mean batch"),
        ("crops=3", "no key 'crops'"),
        ("crop.seconds=3", "no section 'crop'"),
        ("batch.size=3", "no section 'batch'"),
        ("batch=many", "whole number, not 'many'"),
        ("batch=1.5", "whole number"),
        ("batch=1e400", "whole number"),
        ("batch=__import__('os')", "whole number"),
        ("jit_compile=1", "true or false"),
        ("learning_rate=fast", "a number, not 'fast'"),
        ("learning_rate=0", "learning_rate must be above 0"),
        ("learning_rate=1e999", "learning_rate"),
        ("batch=0", "batch must be at least 1"),
        ("warmup_steps=300", "does not fit into 300 steps"),
        ("precision=float16", "mixed_bfloat16"),
        ("precision=float64", "mixed_bfloat16"),
        ("seed=5000000000", "below 2"),
        ("probe.every=-5", "must not be negative"),
        ("probe.tasks=mini", "set probe.every"),
        ("crops.fraction=1.5", "at most 1"),
        ("objective.name=moco", "did you mean classification or "),
        ("objective.mixing=spectrum", "log_mel, mel, waveform, none"),
        ("crops.pad=mirror", "zeros"),
    ],
)
def test_wrong_overrides_are_explained(override, message):
    with pytest.raises(HaresError, match=message):
        load_config("demo", [override])


def test_a_configuration_imports_its_neighbor(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "shared_settings.py").write_text("BATCH = 48\n")
    (tmp_path / "with_neighbor.py").write_text(
        "from shared_settings import BATCH\nfrom hares_tf.pretrain import defaults\n\n\n"
        "def get_config():\n    config = defaults.simclr()\n    config.batch = BATCH\n"
        "    return config\n"
    )
    assert load_config(str(tmp_path / "with_neighbor.py")).batch == 48


def test_unknown_configurations_and_files(tmp_path):
    with pytest.raises(PretrainError, match="did you mean small_simclr"):
        load_config("small_simcrl")
    with pytest.raises(PretrainError, match="no such file"):
        load_config(str(tmp_path / "absent.py"))
    for number, (text, message) in enumerate(
        (
            ("import math\n\n1 / 0\n", r"division by zero \(ZeroDivisionError in .*0.py, line 3\)"),
            ("import no_such_module\n", r"'no_such_module' \(ModuleNotFoundError in .*, line 1\)"),
            ("def get_config(:\n", r"invalid syntax \(SyntaxError in .*, line 1\)"),
            ("def get_config():\n    return {}['x']\n", "KeyError"),
            ("def get_config():\n    return {}\n", "no ConfigDict"),
            (
                "import ml_collections\n\n\nget_config = ml_collections.ConfigDict\n",
                "has no batch",
            ),
            ("x = 1\n", "no function get_config"),
        )
    ):
        broken = tmp_path / f"broken{number}.py"
        broken.write_text(text)
        with pytest.raises(HaresError, match=message):
            load_config(str(broken))
    with pytest.raises(ModelError, match="slowfast_nfnet_tiny"):
        load_config("demo", ["model.name=slowfast_nfnet_tini"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--config and --data"),
        (["--config=demo"], "--data and --workdir are required"),
        (["--config=demo", "--data=x"], "--workdir is required"),
        (["--config=demo", "--data=x", "--workdir=y", "--labels=subfolder"], "takes no --labels"),
        (["--config=demo", "--data=x", "--workdir=y", "--strategy=gpu"], "strategy"),
        (["--config=demo", "--config.batch=x", "--data=x", "--workdir=y"], "whole number"),
        (["--config=demo", "--data=/nowhere/at/all", "--workdir=y"], "/nowhere/at/all"),
    ],
)
def test_the_command_explains_mistakes(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "y").exists()


def test_multi_worker_needs_its_cluster(capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    arguments = ["--config=demo", "--data=x", f"--workdir={tmp_path}", "--strategy=multi_worker"]
    assert main(arguments) == 2
    assert "TF_CONFIG" in capsys.readouterr().err


def test_without_a_tpu_the_command_says_so(capsys, tmp_path):
    arguments = ["--config=demo", "--data=x", f"--workdir={tmp_path}", "--strategy=tpu"]
    assert main(arguments) == 2
    assert "docs/tpu.md" in capsys.readouterr().err


def test_several_tasks_are_joined_without_labels(tmp_path, capsys):
    tasks = ["--tasks=mini_tut18", "--tasks=mini_nsynth_pitch"]
    assert prepare_main([*tasks, f"--output={tmp_path / 'clips'}", "--progress=none"]) == 0
    from hares_tf.data import open_clips
    from hares_tf.evaluation.suites import resolve
    from hares_tf.evaluation.tasks import Places

    expected = sum(
        clip.part == "train"
        for task in resolve(["mini_tut18", "mini_nsynth_pitch"], None)
        for clip in task.read(Places()).clips
    )
    clips = open_clips(tmp_path / "clips")
    assert clips.n_clips == expected > 40 and clips.label_names == ()
    assert prepare_main([tasks[0], tasks[0], f"--output={tmp_path / 'twice'}"]) == 2
    assert "twice" in capsys.readouterr().err
