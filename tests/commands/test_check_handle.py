"""`hares-check-handle`: the report on a module."""

from hares_tf.commands import check_handle


def test_command(statistics_module, capsys):
    assert check_handle.main([f"--handle={statistics_module}"]) == 0
    text = capsys.readouterr().out
    assert "160 features at 16000 Hz" in text and "times real time" in text and "!" not in text
