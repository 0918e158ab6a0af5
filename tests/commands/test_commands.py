"""Every command: a help that teaches, quickly; wrong use is one sentence and exit code 2."""

import signal
import subprocess
import sys

import pytest

from hares_tf.commands import check_data, check_handle
from hares_tf.commands import evaluate as evaluate_command
from hares_tf.commands import export as export_command
from hares_tf.commands import report as report_command

COMMANDS = {
    "evaluate": evaluate_command,
    "export": export_command,
    "check": check_handle,
    "data": check_data,
    "report": report_command,
}


@pytest.mark.parametrize("script", ["export_hub.py", "benchmarks/hares.py"])
def test_help_of_the_scripts(repository, script):
    done = subprocess.run(
        [sys.executable, str(repository / script), "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stderr == ""
    assert "--output" in done.stdout and "hares-" in done.stdout


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_help_names_every_flag_with_a_sentence(command, capsys):
    assert command.main(["--help"]) == 0
    text = capsys.readouterr().out
    flag_values = command.define_flags()
    assert len(list(flag_values)) >= 6
    for name in flag_values:
        assert f"\n  --{name}" in text
    assert "repeat this option" not in text and "<fast>" not in text


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("evaluate", [], ["--handle"]),
        ("evaluate", ["--hanlde=x"], ["hanlde", "handle"]),
        ("evaluate", ["--handle=x", "--protocol=quick"], ["protocol", "quick", "fast"]),
        ("evaluate", ["--handle=/no/such/module"], ["/no/such/module", "no such folder"]),
        ("evaluate", ["--handle=x", "stray"], ["unexpected", "stray"]),
        ("evaluate", ["--handle=x", "--sample_rate=much"], ["sample_rate", "much"]),
        ("evaluate", ["--handle=x", "--protocol=paper", "--views=many"], ["views", "online"]),
        ("data", ["--tasks=esc5"], ["esc50"]),
        ("report", ["/no/such/folder"], ["/no/such/folder"]),
        ("check", [], ["--handle"]),
        ("check", ["--handle=/no/such/module"], ["no such folder"]),
        ("export", [], ["--model", "slowfast_nfnet_f0"]),
        ("export", ["--model=log_mel_statistics"], ["--output"]),
        ("export", ["--model=slowfast_f0", "--output=o"], ["slowfast_nfnet_f0"]),
        (
            "export",
            ["--model=slowfast_nfnet_tiny", "--output=o", "--weights=/no/file.weights.h5"],
            ["/no/file.weights.h5", "no such file"],
        ),
        (
            "export",
            ["--model=slowfast_nfnet_tiny", "--output=o", "--random_weights", "--weights=x"],
            ["exclude"],
        ),
        (
            "export",
            ["--model=log_mel_statistics", "--output=o", "--seed=3"],
            ["--seed", "--random_weights"],
        ),
        ("export", ["--model=log_mel_statistics", "--output=o", "--seed=-1"], ["seed"]),
        ("export", ["--model=slowfast_nfnet_tiny", "--output=o", "--seed=99999999999"], ["seed"]),
    ],
)
def test_wrong_use_is_one_sentence_and_code_2(command, arguments, words, capsys):
    assert COMMANDS[command].main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    for word in words:
        assert word in captured.err


def test_a_reader_that_has_seen_enough(repository):
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
