"""The rules of the design that no single file shows: who imports whom, and what is cheap."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

#: What each room may import, by whole dotted paths; a room also imports itself. The most specific
#: row counts: `hub.export` is a room of its own within `hub`. "models" alone lets a room import
#: all of it but rooms listed here (`hub` does not include `hub.export`).
ALLOWED = {
    "": {"utils"},  # hares_tf itself
    "utils": set(),
    "audio": {"utils"},
    "recordings": {"utils", "audio"},
    "jobs": {"utils"},
    "runtimes": {"utils"},
    "layers": {"utils", "audio"},
    "models": {"utils", "audio", "layers"},
    "objectives": {"utils", "audio", "layers", "models"},
    "checkpoints": {"utils", "audio", "layers", "models"},
    # Loading and calling know no model of ours.
    "hub": {"utils", "audio", "runtimes"},
    "hub.export": {"utils", "audio", "layers", "models", "checkpoints", "hub", "runtimes"},
    # Rooms of the evaluation, bottom-up. A handle is all that it knows of a model.
    "evaluation.errors": {"utils"},
    "evaluation.encoders": {"utils", "audio", "runtimes", "hub", "evaluation.errors"},
    "evaluation.tasks": {"utils", "audio", "recordings", "evaluation.errors"},
    "evaluation.embeddings": {
        *("utils", "audio", "recordings", "jobs", "hub"),
        *("evaluation.errors", "evaluation.encoders", "evaluation.tasks"),
    },
    "evaluation.heads": {"utils", "evaluation.errors", "evaluation.tasks"},
    "evaluation.results": {"utils", "evaluation.errors", "evaluation.tasks"},
    "evaluation.protocols": {
        *("utils", "evaluation.errors", "evaluation.tasks"),
        *("evaluation.embeddings", "evaluation.heads"),
    },
    "evaluation.published": {"evaluation.errors"},
    "evaluation.report": {
        *("utils", "hub", "evaluation.errors", "evaluation.encoders", "evaluation.tasks"),
        *("evaluation.results", "evaluation.published"),
    },
    # The mini suite is made of the readers of the real tasks, so the names of all suites are
    # resolved above both.
    "evaluation.mini": {"utils", "evaluation.tasks"},
    "evaluation.suites": {
        *("utils", "evaluation.errors", "evaluation.tasks", "evaluation.mini"),
    },
}
EVALUATION = {room for room in ALLOWED if room.startswith("evaluation.")}
ALLOWED |= {
    # The files at the top tell the whole story.
    "evaluation": {"utils", "audio", "recordings", "jobs", "runtimes", "hub", *EVALUATION},
    # Clips of HARES tasks are training clips, too.
    "data": {
        *("utils", "audio", "recordings", "jobs"),
        *("evaluation.tasks", "evaluation.suites"),
    },
    "pretrain": {
        *("utils", "audio", "layers", "models", "objectives", "checkpoints", "data"),
        # The probe scores an encoder while it trains.
        *("evaluation", "evaluation.tasks", "evaluation.suites"),
    },
    "finetune": {
        *("utils", "audio", "recordings", "models", "hub", "hub.export"),
        *EVALUATION,
    },
}
#: Every command may import everything; nothing imports a command.
ALLOWED["commands"] = set(ALLOWED) - {""}
VERSION = "__version__"


def _room(module: str) -> str:
    """The room of a dotted name below hares_tf: the longest one that it lies in."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        room = ".".join(parts[:length])
        if room in ALLOWED:
            return room
    return ""


def _imports(path: Path, package: str) -> Iterator[str]:
    """Dotted names below hares_tf that a file imports, anywhere in it, lazy attributes included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "attach":
            for home in ast.literal_eval(node.args[1]).values():
                yield f"{package}.{home}".removeprefix(".")
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name.removeprefix("hares_tf.") for name in names if name.startswith("hares_tf"))


def _violations(package: Path) -> list[str]:
    wrong = []
    for path in sorted(package.rglob("*.py")):
        module = ".".join(path.relative_to(package).with_suffix("").parts)
        own = _room(module.removesuffix(".__init__"))
        package_name = module.rpartition(".")[0]
        for name in sorted(set(_imports(path, package_name))):
            other = _room(name)
            if name != VERSION and other != own and other not in ALLOWED[own]:
                wrong.append(f"{module} imports {name}")
    return wrong


def test_imports_go_one_way(repository):
    assert _violations(repository / "hares_tf") == []


def test_a_lazy_attribute_counts_as_an_import(tmp_path):
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "__init__.py").write_text('attach(__name__, {"name": "export.exporter"})')
    assert _violations(tmp_path) == ["hub.__init__ imports hub.export.exporter"]


def test_every_folder_is_a_room(repository):
    folders = {
        path.name
        for path in (repository / "hares_tf").iterdir()
        if path.is_dir() and path.name != "__pycache__"
    }
    assert folders == {room for room in ALLOWED if room and "." not in room}
    rooms = {
        path.name
        for path in (repository / "hares_tf" / "evaluation").iterdir()
        if path.is_dir() and path.name != "__pycache__"
    }
    assert {f"evaluation.{room}" for room in rooms} <= set(ALLOWED)


@pytest.mark.parametrize(
    ("room", "other"),
    [(room, other) for room in ALLOWED for other in ALLOWED if room != other and other],
)
def test_the_import_rule_catches_a_violation_of_every_arrow(tmp_path, room, other):
    file = tmp_path.joinpath(*room.split(".")) / "planted.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"def late():\n    from hares_tf.{other}.some_module import something\n")
    module = f"{room}.planted".removeprefix(".")
    planted = [f"{module} imports {other}.some_module.something"]
    assert _violations(tmp_path) == ([] if other in ALLOWED[room] else planted)


def test_the_rule_itself_goes_one_way():
    """Rooms can be put into an order in which each imports only those before it."""
    left = {room: set(others) for room, others in ALLOWED.items()}
    while ready := [room for room, others in left.items() if not others & set(left)]:
        for room in ready:
            del left[room]
    assert not left


@pytest.mark.parametrize(
    "statement",
    [
        "import hares_tf",
        "from hares_tf.audio import load_audio",
        "from hares_tf.models import list_models; list_models()",
        "from hares_tf.hub import locate",
        "from hares_tf.evaluation import evaluate",
        "import hares_tf.commands.evaluate, hares_tf.commands.export",
        "import hares_tf.commands.pretrain",
        "import hares_tf.commands.finetune, hares_tf.finetune.pipeline",
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
    assert set(importing) <= {"grouped_convolution.py", "gradient_checkpointing.py"}
