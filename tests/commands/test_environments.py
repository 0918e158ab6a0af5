"""Commands and imports in environments that are not set up for them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hares_tf.utils import cache, temporary
from hares_tf.utils.cache import CacheError, cache_dir
from hares_tf.utils.files import atomic_directory

RATE = 16_000
EXPORT = ("hares_tf.commands.export", "--model=log_mel_statistics", "--output=exported")
COMMANDS = {
    "export": EXPORT,
    "finetune": (
        "hares_tf.commands.finetune",
        "--handle=module",
        "--audio=sounds",
        "--output=tuned",
        "--epochs=1",
        "--progress=none",
    ),
    "evaluate": (
        "hares_tf.commands.evaluate",
        "--handle=module",
        "--tasks=task.toml",
        "--protocol=smoke",
        "--output=results",
        "--progress=none",
    ),
    "check_handle": ("hares_tf.commands.check_handle", "--handle=module"),
    "prepare": (
        "hares_tf.commands.prepare",
        "--audio=sounds",
        "--output=clips",
        "--progress=none",
    ),
}
TASK = """
id = "tones"
version = 1
domain = "music"
manifest = "clips.csv"
window_seconds = 1.0
head = "linear"
metric = "accuracy"
[columns]
file = "file"
label = "label"
split = "split"
"""


@pytest.fixture
def folder(tmp_path, statistics_module):
    """Recordings, a task and a module; the labels and a file have names beyond ASCII."""
    (tmp_path / "module").symlink_to(statistics_module)
    rows = ["file,label,split"]
    for label, frequency in (("tief", 200), ("höher", 400)):
        (tmp_path / "sounds" / label).mkdir(parents=True)
        for index in range(6):
            wave = np.sin(np.arange(RATE) * (frequency + 20 * index) * 2 * np.pi / RATE)
            path = tmp_path / "sounds" / label / f"é{index}.wav"
            soundfile.write(path, wave, RATE)
            split = ("train", "validation", "test")[index % 3]
            rows.append(f"{path.relative_to(tmp_path)},{label},{split}")
    (tmp_path / "clips.csv").write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "task.toml").write_text(TASK, encoding="utf-8")
    return tmp_path


def ran(arguments, folder, **environment) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        timeout=300,
    )


def settings(folder: Path, text: str) -> dict[str, str]:
    """A folder of Keras' settings."""
    home = folder / "keras"
    home.mkdir()
    (home / "keras.json").write_text(text)
    return {"KERAS_HOME": str(home), "KERAS_BACKEND": ""}


def ends_with_a_sentence(result: subprocess.CompletedProcess, *words: str):
    error = result.stderr.decode()
    assert result.returncode == 2 and "Traceback" not in error
    last = error.splitlines()[-1]
    assert last.endswith(".") and all(word in last for word in words)


def test_a_backend_that_keras_does_not_know(tmp_path):
    result = ran(EXPORT, tmp_path, KERAS_BACKEND="theano")
    ends_with_a_sentence(result, "hares-export: ", "by KERAS_BACKEND=theano", "=tensorflow.")
    assert list(tmp_path.iterdir()) == []


BROKEN = [
    '{"backend": "theano"}',
    '{"floatx": "float99"}',
    '["floatx"]',
    '{"epsilon": 1}',
]


@pytest.mark.slow
@pytest.mark.parametrize("text", BROKEN)
def test_settings_of_keras_that_it_refuses(text, tmp_path):
    result = ran(EXPORT, tmp_path, **settings(tmp_path, text))
    ends_with_a_sentence(result, str(tmp_path / "keras" / "keras.json"), "remove the file")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["theano", "numpy"])
@pytest.mark.parametrize("command", ["export", "finetune"])
def test_commands_that_need_keras_on_tensorflow(command, backend, folder):
    result = ran(COMMANDS[command], folder, KERAS_BACKEND=backend)
    ends_with_a_sentence(result, f"by KERAS_BACKEND={backend}", "=tensorflow.")


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "from hares_tf.hub import HubLayer",
        "from hares_tf.models import create_model; create_model('slowfast_nfnet_tiny')",
        "from hares_tf.objectives import create_objective; create_objective('simclr')",
    ],
)
def test_imports_of_the_library(code):
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_BACKEND": "theano"},
        capture_output=True,
        text=True,
    )
    last = result.stderr.splitlines()[-1]
    assert last.startswith("hares_tf.utils.keras.KerasError: Keras cannot be imported")


HARMLESS = {
    "float64": '{"floatx": "float64"}',
    "float16": '{"floatx": "float16"}',
    "channels_first": '{"image_data_format": "channels_first"}',
    "damaged": '{"floatx": ',
}


@pytest.mark.slow
@pytest.mark.parametrize("text", HARMLESS.values(), ids=HARMLESS)
@pytest.mark.parametrize("command", ["export", "finetune"])
def test_settings_of_keras_that_do_not_matter(command, text, folder):
    result = ran(COMMANDS[command], folder, **settings(folder, text))
    assert result.returncode == 0, result.stderr.decode()


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"TF_USE_LEGACY_KERAS": "1"},
        {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
    ],
    ids=["legacy_keras", "ascii"],
)
@pytest.mark.parametrize("command", COMMANDS)
def test_other_environments(command, environment, folder):
    result = ran(COMMANDS[command], folder, **environment)
    assert result.returncode == 0, result.stderr.decode()


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_closed_streams(command, folder):
    """Nothing that is written lands in a file that got the number of a closed stream."""
    arguments = " ".join(COMMANDS[command])
    closed = f"'{sys.executable}' -m {arguments} >&- 2>&- <&-"
    assert subprocess.run(["/bin/sh", "-c", closed], cwd=folder, timeout=300).returncode == 0


def test_output_that_cannot_show_a_name():
    code = "from hares_tf.commands.program import Command; import sys\n"
    code += "Command('hares-test', 'Prints.', {}, lambda _: print('h\\u00f6her \\udcff')).main([])"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    assert result.stdout == b"h\\xf6her \\udcff\n"


@pytest.fixture
def no_cache(monkeypatch):
    for name in (cache.VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_a_user_without_a_home(no_cache, monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    with pytest.raises(CacheError, match=r"has no home folder.*HARES_CACHE_DIR"):
        cache_dir()


def test_a_cache_that_cannot_be_created(no_cache, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(CacheError, match=r"cannot be created: Not a directory\. Set HARES_"):
        cache_dir()


KILLED = """
import os, signal, sys
from hares_tf.utils.files import atomic_directory, atomic_file
with atomic_directory(sys.argv[1]) as folder, atomic_file(sys.argv[2]) as file:
    (folder / "part").touch()
    file.touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_cache_is_cleared_of_what_killed_processes_left(monkeypatch, tmp_path):
    folder = tmp_path / "cache"
    (folder / "modules").mkdir(parents=True)
    command = [sys.executable, "-c", KILLED, folder / "suite", folder / "modules" / ("n" * 240)]
    assert subprocess.run(command).returncode == -9
    foreign = folder / f"{temporary.PREFIX}01234567.1.2-0123456789ab-of-another-machine"
    foreign.touch()
    other = folder / f"{temporary.PREFIX}not-ours"
    other.touch()
    with atomic_directory(folder / "mine") as mine:
        assert len(list(folder.glob(".tmp-*"))) == 4
        assert len(list((folder / "modules").iterdir())) == 1
        monkeypatch.setenv(cache.VARIABLE, str(folder))
        assert cache_dir() == folder
        assert set(folder.iterdir()) == {folder / "modules", foreign, other, mine}
        assert list((folder / "modules").iterdir()) == []
    os.utime(foreign, (0, 0))
    temporary.remove_abandoned(folder)
    assert set(folder.iterdir()) == {folder / "modules", folder / "mine", other}
