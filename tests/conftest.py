"""Shared fixtures: where the real recordings are, and quiet, deterministic runs."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# TensorFlow's default depends on the processor. Without oneDNN native grouped convolutions have no
# gradient, and sums in bfloat16 are less exact; what has to run there too asks for it by itself.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with real recordings, from HARES_SHARED or beside the repository."""
    shared = Path(os.environ.get("HARES_SHARED", REPOSITORY.parent / "shared"))
    if not (shared / "data").is_dir():
        pytest.skip(f"no real recordings at {shared} (set HARES_SHARED)")
    return shared


@pytest.fixture(scope="session")
def exact_bfloat16_sums() -> None:
    """Skips where TensorFlow adds up gradients in bfloat16, whatever the code asks for."""
    from hares_tf.pretrain.numerics import sums_bfloat16_exactly

    if not sums_bfloat16_exactly():
        pytest.skip("gradients are added up in bfloat16 on this processor")


@pytest.fixture(scope="session")
def shared_by_processes(tmp_path_factory) -> Path:
    """One folder for all of pytest's processes: what takes long is made once for all of them."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(autouse=True, scope="session")
def private_caches(shared_by_processes):
    """No test reads or writes the caches of the person who runs it."""
    os.environ["HARES_CACHE_DIR"] = str(shared_by_processes / "cache")


def _exported(folder: Path, name: str) -> Path:
    """A module exported the way a user does it, by the command."""
    from hares_tf.commands import export as command
    from hares_tf.utils.files import locked

    output = folder / name
    weights = [] if name == "log_mel_statistics" else ["--random_weights", "--seed=0"]
    with locked(folder / f"{name}.lock"):
        if not output.exists():  # a module appears whole
            assert command.main([f"--model={name}", f"--output={output}", *weights]) == 0
    return output


@pytest.fixture(scope="session")
def statistics_module(shared_by_processes) -> Path:
    """The exported `log_mel_statistics`."""
    return _exported(shared_by_processes, "log_mel_statistics")


@pytest.fixture(scope="session")
def tiny_module(shared_by_processes) -> Path:
    """The exported `slowfast_nfnet_tiny` with random weights."""
    return _exported(shared_by_processes, "slowfast_nfnet_tiny")


@pytest.fixture(scope="session")
def micro_module(shared_by_processes) -> Path:
    """The same with the network of `micro`, for what does not depend on it."""
    import micro

    return _exported(shared_by_processes, micro.NAME)
