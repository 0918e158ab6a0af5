"""The encoder and the objective of the guides work in pretraining and export."""

import re
import sys

import pytest
import soundfile

from hares_tf.commands import export as export_command
from hares_tf.commands import pretrain as pretrain_command

PLUGIN_LINES = 45


@pytest.fixture
def programs(repository, tmp_path, monkeypatch):
    """Writes the Python blocks of a guide as files named in their first lines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def write(guide):
        text = (repository / "docs" / guide).read_text()
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            name = re.match(r'"""(\w+\.py)', block)[1]
            assert len(block.splitlines()) <= PLUGIN_LINES
            (tmp_path / name).write_text(block)

    random = __import__("numpy").random.default_rng(0)
    for number in range(8):
        (tmp_path / "audio").mkdir(exist_ok=True)
        soundfile.write(tmp_path / f"audio/{number}.wav", random.normal(0, 0.1, 8000), 16_000)
    monkeypatch.setenv("HARES_CACHE_DIR", str(tmp_path / "cache"))
    return write


SMALL = [
    *(f"--config.{setting}" for setting in ("batch=4", "steps=2", "warmup_steps=1")),
    *("--config.crops.seconds=0.1", "--config.precision=float32", "--progress=none"),
    *("--data=audio", "--workdir=run"),
]


def test_an_encoder_of_ones_own(programs, tmp_path):
    programs("add-an-encoder.md")
    plugin = "--plugin=my_encoder.py"
    flags = ["--config=small_simclr", "--config.model.name=mean_spectrum"]
    head = ["--config.objective.hidden=8", "--config.objective.size=4"]
    assert pretrain_command.main([plugin, *flags, *head, *SMALL]) == 0
    assert export_command.main([plugin, "--checkpoint=run", "--output=module"]) == 0
    assert (tmp_path / "module" / "saved_model.pb").is_file()


def test_an_objective_of_ones_own(programs, tmp_path):
    programs("add-an-objective.md")
    flags = [
        "--plugin=my_objective.py",
        "--config=mine.py",
        "--config.model.name=log_mel_statistics",
    ]
    assert pretrain_command.main([*flags, *SMALL]) == 0
    assert list((tmp_path / "run" / "checkpoints").glob("step-*.npz"))


def test_plugins_that_cannot_be_imported(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("1 / 0")
    for plugin, words in {
        "broken.py": "division by zero",
        "absent.py": "no such file",
        "no_such_module": "No module named",
    }.items():
        assert export_command.main([f"--plugin={plugin}", "--model=x", "--output=m"]) == 2
        assert words in capsys.readouterr().err
