"""Tasks that users declare in Python: the guide's example, run as it is printed."""

import json
import re
import shlex
import sys
import zipfile

import numpy as np
import pytest
import soundfile

from hares_tf.commands import check_data, evaluate
from hares_tf.evaluation import EvaluationError
from hares_tf.evaluation.suites import resolve
from hares_tf.utils.user_code import UserCodeError

COMMANDS = {"hares-check-data": check_data.main, "hares-evaluate": evaluate.main}
BREEDS = ("beagle", "collie", "husky", "poodle", "pug")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


@pytest.fixture
def barks(folder, repository, statistics_module):
    """The guide's files, and a data set of the size that it states."""
    (folder / "exports").mkdir()
    (folder / "exports" / "f0").symlink_to(statistics_module)
    guide = (repository / "docs" / "add-a-task.md").read_text()
    program, use = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    (folder / "barks.py").write_text(program)
    (folder / "use.py").write_text(use)
    data = folder / "data" / "barks"
    data.mkdir(parents=True)
    rows = ["file,breed,split"]
    with zipfile.ZipFile(data / "barks.zip", "w") as archive:
        for number, breed in enumerate(BREEDS * 200):
            wave = np.sin(np.arange(1600) * (0.1 + 0.2 * BREEDS.index(breed) + 1e-5 * number))
            soundfile.write(folder / "clip.wav", 0.1 * wave, 16_000)
            archive.write(folder / "clip.wav", f"{number}.wav")
            rows.append(f"{number}.wav,{breed},{'test' if number < 200 else 'train'}")
    (data / "barks.csv").write_text("\n".join(rows))
    return guide


def test_the_guide_as_it_is_printed(barks, folder, capsys):
    printed = re.findall(r"^hares-.*barks\.py.*$", barks, re.MULTILINE)
    assert [line.split()[0] for line in printed] == list(COMMANDS)
    codes = [COMMANDS[name](arguments) for name, *arguments in map(shlex.split, printed)]
    assert codes == [0, 0]
    result = json.loads(next((folder / "results").rglob("barks.json")).read_text())
    assert result["clips"]["n_used"] == 1000
    assert result["score"] == 100 and result["complete"]
    capsys.readouterr()
    assert evaluate.main(["--data_dir=data", "--handle=exports/f0", "--tasks=barks:TASK"]) == 0
    assert "finished before" in capsys.readouterr().err


def test_the_program_of_the_guide(barks, folder, capsys):
    sys.path.insert(0, str(folder))  # as `python use.py` does
    exec(compile((folder / "use.py").read_text(), "use.py", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.splitlines()[-1] == "100.0"


DECLARED = """
from hares_tf.evaluation.tasks import Task
from hares_tf.evaluation.tasks.declaration import Windows
from beside import DOMAIN

def task(name):
    return Task(name, 1, DOMAIN, Windows(1.0), "linear", "accuracy", read=lambda places: None)

"""


def test_several_tasks_and_a_module_beside_the_file(folder):
    (folder / "mine").mkdir()
    (folder / "mine" / "beside.py").write_text("DOMAIN = 'music'")
    (folder / "mine" / "two_tasks.py").write_text(DECLARED + "TASKS = [task('a'), task('b')]")
    tasks = resolve(["mine/two_tasks.py"])
    assert [(task.id, task.domain, task.source) for task in tasks] == [
        ("a", "music", "mine/two_tasks.py"),
        ("b", "music", "mine/two_tasks.py"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.py", "x = 1", "none.py has no TASK or TASKS"),
        ("number.py", "TASK = 1", "number.py has no TASK or TASKS that is a"),
        ("taken.py", DECLARED + "TASK = task('esc50')", "'esc50' is the id of a task of HARES"),
        ("json.py", "1 / 0", r"division by zero \(ZeroDivisionError in .*json.py, line 1\)"),
        ("absent.py", None, "There is no such file"),
        ("no_module:TASK", None, "No module named 'no_module'"),
        ("json:TASK", None, "json has no TASK that"),
    ],
)
def test_what_is_refused(name, text, message, folder):
    (folder / "beside.py").write_text("DOMAIN = 'speech'")
    if text is not None:
        (folder / name).write_text(text)
    with pytest.raises((EvaluationError, UserCodeError), match=message):
        resolve([name])


def test_a_task_file_that_lacks_its_ending(folder):
    (folder / "mine.py").touch()
    with pytest.raises(EvaluationError, match=r"did you mean the task file mine\.py"):
        resolve(["mine"])
