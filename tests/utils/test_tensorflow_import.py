"""Opening TensorFlow: quiet, with float32 that is float32, and loud when it fails."""

import ast
import subprocess
import sys

import pytest
import tensorflow as tf

from hares_tf.utils.errors import HaresError
from hares_tf.utils.tensorflow import import_tensorflow


def _run(code, **options):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, **options)


@pytest.fixture
def tf32():
    """TensorFlow as it comes: TF32 is allowed."""
    tf.config.experimental.enable_tensor_float_32_execution(True)
    yield tf.config.experimental.tensor_float_32_execution_enabled
    tf.config.experimental.enable_tensor_float_32_execution(False)


def test_float32_is_exact(tf32):
    assert tf32()
    assert import_tensorflow() is tf
    assert not tf32()


def test_loading_a_module_makes_float32_exact(tf32, statistics_module):
    """By way of it: the encoders of an evaluation, `HubLayer`, fine-tuning."""
    from hares_tf import hub

    hub.load(statistics_module)
    assert not tf32()


def test_an_export_makes_float32_exact(tf32, tmp_path):
    from hares_tf.hub.export.exporter import export_module
    from hares_tf.models import create_model

    model = create_model("log_mel_statistics")
    export_module(model, tmp_path / "m", weights={"source": "none"})
    assert not tf32()


def test_training_makes_float32_exact(tf32, tmp_path):
    from hares_tf.pretrain import load_config
    from hares_tf.pretrain.trainer import pretrain

    with pytest.raises(HaresError):
        pretrain(load_config("demo"), tmp_path / "no clips", tmp_path / "run")
    assert not tf32()


def test_the_import_is_quiet():
    done = _run(
        "from hares_tf.utils.tensorflow import import_tensorflow; tf = import_tensorflow()\n"
        "import keras\n"
        "assert not tf.config.experimental.tensor_float_32_execution_enabled()\n"
        "print(float(tf.reduce_sum(tf.ones([3]))))"
    )
    assert done.returncode == 0 and done.stdout == "3.0\n" and done.stderr == ""


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        ("raise ImportError('libcudart is missing')", "libcudart is missing"),
        ("sys.exit(7)", "a message of C++"),
        ("os.abort()", "a message of C++"),
    ],
)
def test_a_failing_import_is_not_silent(ending, text, tmp_path):
    """With a TensorFlow that fails while it is imported."""
    (tmp_path / "tensorflow.py").write_text(
        f"import os, sys\nos.write(2, b'a message of C++\\n')\n{ending}\n"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from hares_tf.utils.tensorflow import import_tensorflow; import_tensorflow()"
    )
    done = _run(code)
    assert done.returncode != 0
    assert "a message of C++" in done.stderr and text in done.stderr


def test_tensorflow_is_opened_in_one_place(repository):
    """Only `quiet_start` silences the import, and only `utils.tensorflow` sets the precision."""
    silencing, setting = [], []
    for path in sorted((repository / "hares_tf").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        names = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
        where = path.relative_to(repository / "hares_tf").as_posix()
        silencing += [where] * ("hidden_stderr" in names)
        setting += [where] * ("enable_tensor_float_32_execution" in text)
    assert silencing == ["runtimes/litert.py", "utils/quiet.py"]
    # The conformance check runs as a program of its own.
    assert setting == ["hub/export/conformance.py", "utils/tensorflow.py"]
