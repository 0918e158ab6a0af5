"""A PyTorch encoder in the environment that `pip install hares-tf` and `pip install torch` leave.

Run by `make test-torch` in an environment of its own: installing PyTorch must not raise setuptools
to a version without pkg_resources, which tensorflow_hub imports.
"""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from hares_tf.commands.evaluate import main

ENCODER = """
import torch

network = torch.jit.load("encoder.pt").eval()


def embed(batch):
    with torch.no_grad():
        return network(torch.from_numpy(batch)).numpy()


embed.sample_rate = 16000
embed.fingerprint = "encoder.pt"
"""
SAVE = """
import torch

network = torch.nn.Sequential(
    torch.nn.Unflatten(1, (1, -1)), torch.nn.Conv1d(1, 8, 400, 160), torch.nn.ReLU(),
    torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten(),
)
torch.jit.script(network).save("encoder.pt")
"""


def test_setuptools_suits_tensorflow_hub_and_pytorch():
    assert metadata.version("torch")
    major = int(metadata.version("setuptools").split(".")[0])
    assert 77 <= major < 82
    for statement in ("import tensorflow_hub", "import torch, tensorflow_hub"):
        subprocess.run([sys.executable, "-c", statement], check=True)


def test_the_documented_encoder_is_scored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARES_CACHE_DIR", str(tmp_path / "cache"))
    Path("my_encoder.py").write_text(ENCODER)
    subprocess.run([sys.executable, "-c", SAVE], check=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    flags = ["--handle=python:my_encoder:embed", "--tasks=mini_tut18", "--protocol=smoke"]
    assert main([*flags, "--output=results"]) == 0
    assert list(Path("results").rglob("mini_tut18.json"))


def test_the_encoder_is_the_one_in_the_guide(request):
    guide = request.config.rootpath / "docs" / "evaluate-your-model.md"
    if not guide.is_file():
        pytest.skip("no guide here")
    body = ENCODER.split("embed.sample_rate")[0].strip()
    assert body.removeprefix("import torch").strip() in guide.read_text()
