"""What all commands share: a help that teaches, rules for flags, errors, exit codes."""

import errno
import importlib
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hares_tf.commands.program import Command
from hares_tf.utils.errors import HaresError

MODULES = (
    "check_data",
    "check_handle",
    "evaluate",
    "export",
    "finetune",
    "prepare",
    "pretrain",
    "report",
    "share",
)
COMMANDS = {name: importlib.import_module(f"hares_tf.commands.{name}") for name in MODULES}
#: A command line that is complete, so that only what a test adds to it is wrong.
COMPLETE = {
    "check_data": [],
    "check_handle": ["--handle=x"],
    "evaluate": ["--handle=x"],
    "export": ["--model=log_mel_statistics", "--output=o"],
    "finetune": ["--handle=x", "--audio=y", "--output=o"],
    "prepare": ["--audio=x", "--output=o"],
    "pretrain": ["--config=demo", "--data=x", "--workdir=w"],
    "report": ["--results=x"],
    "share": ["--handle=x", "--archive=m.tar.gz"],
}


def test_every_command_is_installed_and_tested(repository):
    settings = (repository / "setup.cfg").read_text()
    for name in MODULES:
        script = "hares-" + name.replace("_", "-")
        assert f"{script} = hares_tf.commands.{name}:main\n" in settings
        assert COMMANDS[name].COMMAND.name == script
    shared = {"__init__", "declaration", "flags", "program"}
    files = {path.stem for path in Path(COMMANDS["share"].__file__).parent.glob("*.py")}
    assert files == shared | {*MODULES}


def test_only_commands_parse_flags(repository):
    package = repository / "hares_tf"
    parsing = {
        path.relative_to(package).parts[0]
        for path in package.rglob("*.py")
        if re.search(r"^\s*(from|import) (absl|argparse)\b", path.read_text(), re.MULTILINE)
    }
    assert parsing == {"commands"}


@pytest.mark.parametrize("name", MODULES)
def test_help_teaches_quickly_and_without_tensorflow(name):
    code = (
        f"import sys, time\nfrom hares_tf.commands import {name} as c\n"
        "assert c.main(['--help']) == 0\n"
        "assert not {'tensorflow', 'keras', 'sklearn'} & set(sys.modules)\n"
        "assert time.process_time() < 2, time.process_time()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    command = COMMANDS[name].COMMAND
    assert done.stdout.startswith(f"{command.name}: ")
    assert done.stdout.count(f"\n    {command.name} ") >= 2, "at least two examples"
    assert max(map(len, done.stdout.splitlines())) <= 100
    for title, group in command.groups.items():
        assert f"\n\n{title}:\n" in done.stdout
        for flag in group:
            assert f"\n  --{flag.name}" in done.stdout
            assert flag.help[0].isupper() or flag.help.split()[0].endswith((":", ","))
            assert flag.help.endswith(".")
    assert "\n  --debug\n" in done.stdout


@pytest.mark.parametrize("script", ["export_hub.py", "benchmarks/hares.py"])
def test_help_of_the_scripts(repository, script):
    done = subprocess.run(
        [sys.executable, str(repository / script), "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stderr == ""
    assert "--output" in done.stdout and "hares-" in done.stdout


def test_one_name_means_one_thing():
    """Flags of one name are of one type, and flags of one meaning have one name."""
    parsers = {}
    for module in COMMANDS.values():
        for flag in module.COMMAND.all_flags:
            parsers.setdefault(flag.name, set()).add(type(flag.parser))
    # Several modules, results or folders at once make sense for some commands only.
    assert {name for name, types in parsers.items() if len(types) > 1} == {
        *("handle", "results", "audio", "output", "name")
    }
    assert not {"quiet", "json_progress", "task", "flavour", "normalise"} & set(parsers)
    for name in ("evaluate", "finetune", "prepare", "pretrain", "report", "check_data"):
        (progress,) = [f for f in COMMANDS[name].COMMAND.all_flags if f.name == "progress"]
        assert progress.parser.enum_values == ["bar", "json", "none"]


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        *((name, ["--hanlde_=x"], ["There is no flag --hanlde_"]) for name in MODULES),
        *((name, ["--debug=perhaps"], ["--debug=perhaps: give true"]) for name in MODULES),
        ("evaluate", ["--hanlde=x"], ["did you mean --handle?"]),
        ("evaluate", ["--protocol=quick"], ["--protocol=quick: give one of fast, paper, smoke."]),
        ("evaluate", ["--sample_rate=much"], ["--sample_rate=much: give an integer"]),
        ("evaluate", ["--protocol=paper", "--views=many"], ["--views=many", "online or grid"]),
        ("evaluate", ["--views=2"], ["--views goes with --protocol=paper."]),
        ("evaluate", ["--runner=FlinkRunner"], ["--runner goes with --embed_only."]),
        ("evaluate", ["--protocol=paper", "--views=online", "--embed_only"], ["--views=online"]),
        ("evaluate", ["stray"], ["Unexpected argument 'stray'"]),
        ("evaluate", ["--output"], ["--output"]),
        ("check_handle", [], ["x", "no such folder"]),
        ("check_data", ["--tasks=esc5"], ["esc50"]),
        ("pretrain", ["--tpu=x"], ["--tpu goes with --strategy=tpu."]),
        ("pretrain", ["--config.batch=many"], ["--config.batch", "many"]),
        ("report", ["--published=5"], ["--published=5: give one of 2, 3, 4, 6, 7, 8, 9."]),
        ("share", ["one", "two"], ["Unexpected argument"]),
        ("share", ["--results=r"], ["--results goes with --card."]),
        ("export", ["--weights=/no/file.weights.h5"], ["/no/file.weights.h5", "no such file"]),
        ("export", ["--random_weights", "--weights=x"], ["exclude each other"]),
        ("export", ["--serving_root=x"], ["--output and --serving_root exclude each other"]),
        ("export", ["--step=best"], ["--step goes with --checkpoint."]),
        ("export", ["--seed=3"], ["--seed goes with --random_weights."]),
        ("export", ["--random_weights", "--seed=-1"], ["--seed=-1: give"]),
        ("export", ["--random_weights", "--seed=99999999999"], ["--seed=99999999999: give"]),
        (
            "export",
            ["--checkpoint=x", "--step=some"],
            ["--step=some: give a whole number or b"],
        ),
        ("export", ["--quantize=int8"], ["--quantize goes with --format=tflite."]),
        ("export", ["--format=tflite"], ["--model goes with --format=saved_model."]),
        ("finetune", ["--split_column=s"], ["--split_column goes with --labels=FILE.csv."]),
    ],
)
def test_wrong_use_is_one_sentence_and_code_2(name, arguments, words, capsys):
    assert COMMANDS[name].main([*COMPLETE[name], *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    assert captured.err.startswith(f"{COMMANDS[name].COMMAND.name}: ")
    assert captured.err.count("\n") == 1
    for word in words:
        assert word in captured.err


@pytest.mark.parametrize(
    ("name", "arguments", "missing"),
    [
        ("check_handle", [], "--handle is required."),
        ("evaluate", [], "--handle is required."),
        ("evaluate", ["--handle="], "--handle is required."),
        ("export", [], "Give --output or --serving_root."),
        ("export", ["--output=o"], "--model is required without --checkpoint"),
        ("export", ["--format=tflite", "--output=o"], "--handle is required."),
        ("finetune", [], "--handle and --output and --audio are required."),
        ("prepare", [], "Give --audio, --tasks or --verify."),
        ("prepare", ["--verify"], "--output is required."),
        ("pretrain", ["--config=demo"], "--data and --workdir are required."),
        ("report", [], "--results is required."),
        ("share", [], "--handle is required."),
        ("share", ["--handle=x", "--card=m.md"], "--license is required."),
    ],
)
def test_what_is_missing_is_named(name, arguments, missing, capsys):
    assert COMMANDS[name].main(arguments) == 2
    assert missing in capsys.readouterr().err


def _raising(error):
    def run(_values):
        raise error

    return Command("hares-test", "fails.", {}, run)


def test_sigterm(capsys):
    def run(_values):
        signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    assert Command("hares-test", "is terminated.", {}, run).main([]) == 143
    assert capsys.readouterr().err == "\nhares-test: terminated; finished parts are kept\n"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (HaresError("It is broken."), 2, "hares-test: It is broken.\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/a/path"),
            2,
            "hares-test: /a/path: No space left on device; check the path, its permissions and the "
            "free space.\n",
        ),
        (KeyboardInterrupt(), 130, "\nhares-test: interrupted; finished parts are kept\n"),
    ],
)
def test_endings(error, code, text, capsys):
    assert _raising(error).main([]) == code
    assert capsys.readouterr().err == text


def test_debug_shows_where_an_error_comes_from(capsys):
    command = _raising(HaresError("It is broken."))
    assert command.main(["--debug"]) == 2
    text = capsys.readouterr().err
    assert text.startswith("Traceback (most recent call last):") and "in run\n" in text
    assert text.endswith("\nhares-test: It is broken.\n")
    assert replace(command, run=lambda values: 7 if values.debug else 0).main(["--debug"]) == 7


def test_a_bug_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        _raising(ZeroDivisionError()).main([])


def test_a_reader_that_is_gone(repository):
    """As with `| head`: no traceback."""
    process = subprocess.Popen(
        [sys.executable, str(repository / "export_hub.py"), "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 128 + signal.SIGPIPE
