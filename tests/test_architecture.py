"""The rules of the design that no single file shows: who imports whom, and what is cheap."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

# A package may import those named here, and itself. hub.loader is listed apart: it alone resolves
# handles, and evaluation may use it because it knows no models.
ALLOWED = {
    "audio": set(),
    "layers": {"audio"},
    "models": {"audio", "layers"},
    "objectives": {"audio", "layers", "models"},
    "jobs": set(),
    # Clips of a task, and how progress is told.
    "data": {"audio", "evaluation", "jobs"},
    "pretrain": {"audio", "layers", "models", "objectives", "data", "evaluation"},
    "hub": {"audio", "layers", "models", "runtimes"},
    "hub.loader": set(),
    # Other engines than TensorFlow, for SavedModels of any kind.
    "runtimes": set(),
    "evaluation": {"audio", "hub.loader", "jobs", "runtimes"},
    "finetune": {"audio", "models", "data", "hub", "hub.loader", "evaluation"},
    # A module with its scores.
    "share": {"hub", "hub.loader", "evaluation"},
}
SHARED = {"command", "errors", "files", "lazy", "quiet"}


def _component(module: str) -> str:
    """The design's name for a dotted module below hares_tf."""
    parts = module.split(".")
    return "hub.loader" if parts[:2] == ["hub", "loader"] else parts[0]


def _imports(path: Path) -> set[str]:
    """Dotted names below hares_tf that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {name.removeprefix("hares_tf.") for name in names if name.startswith("hares_tf.")}
    return found


def _violations(package: Path) -> list[str]:
    wrong = []
    for path in sorted(package.rglob("*.py")):
        module = ".".join(path.relative_to(package).with_suffix("").parts)
        own = _component(module)
        for name in _imports(path):
            other = _component(name)
            allowed = {own, own.split(".")[0], *ALLOWED.get(own, set()), *SHARED}
            if own == "hub":
                allowed.add("hub.loader")
            if other not in allowed and name != "__version__":
                wrong.append(f"{module} imports {name}")
    return wrong


def test_imports_go_one_way(repository):
    assert _violations(repository / "hares_tf") == []


def test_the_import_rule_catches_a_violation(tmp_path):
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "bad.py").write_text("from hares_tf.models import create_model\n")
    assert _violations(tmp_path) == ["evaluation.bad imports models.create_model"]


def test_hub_loader_uses_no_models(repository):
    used = {_component(name) for name in _imports(repository / "hares_tf/hub/loader.py")}
    assert used <= SHARED | {"hub"}


@pytest.mark.parametrize(
    "statement",
    [
        "import hares_tf",
        "from hares_tf.audio import load_audio",
        "from hares_tf.models import list_models; list_models()",
        "from hares_tf.hub import locate",
        "from hares_tf.evaluation import evaluate",
        "import hares_tf.evaluation.command, hares_tf.hub.command",
        "import hares_tf.pretrain.command",
        "import hares_tf.finetune.command, hares_tf.finetune.pipeline",
        "from hares_tf.pretrain import load_config; load_config('slowfast_nfnet_f0_simclr')",
    ],
)
def test_light_imports_stay_light(statement):
    code = f"{statement}\nimport sys\nassert not {{'tensorflow', 'keras'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "package", ["audio.frontend", "layers", "models.waveform_encoder", "objectives"]
)
def test_networks_import_no_tensorflow_themselves(repository, package):
    """Keras ops only, but for the convolution primitive and XLA's barrier, which have two ways."""
    base = repository / "hares_tf" / package.replace(".", "/")
    files = sorted(base.rglob("*.py")) if base.is_dir() else [base.with_suffix(".py")]
    assert files
    importing = [
        path.name
        for path in files
        if any(
            isinstance(node, ast.Import) and any(a.name == "tensorflow" for a in node.names)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    ]
    assert set(importing) <= {"grouped_convolution.py", "rematerialisation.py"}
