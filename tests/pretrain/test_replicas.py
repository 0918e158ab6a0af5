"""Several replicas compute what one device computes, to the noise of float32."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(__file__).with_name("replica_program.py")


def start(output, objective, replicas, *kind, **environment):
    path = os.pathsep.join([str(PROGRAM.parents[n]) for n in (2, 1, 0)])
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(output), objective, str(replicas), *kind],
        env={**os.environ, "PYTHONPATH": path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(processes):
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-3000:]


@pytest.fixture(
    scope="module", params=["simclr", pytest.param("classification", marks=pytest.mark.slow)]
)
def runs(request, tmp_path_factory):
    """`(objective, folder)`: the step on one device and on four replicas."""
    folder = tmp_path_factory.mktemp(request.param)
    finish([start(folder / f"{n}.npz", request.param, n) for n in (1, 4)])
    return request.param, folder


def assert_equal_steps(one, many):
    """Gradients, metrics and parameters after a step.

    Sums over replicas are added in another order. Where a gradient is nothing but the rounding of
    such sums (a kernel of few inputs has none left after standardization), Adam makes a full step
    of whatever is there: parameters are compared where the gradient is more than noise.
    """
    assert one.keys() == many.keys()
    for name in one:
        if name.startswith(("metric/", "ranking/")):
            np.testing.assert_allclose(many[name], one[name], rtol=1e-5, atol=1e-6, err_msg=name)
    moments = [name for name in one if name.endswith("_momentum")]
    parameters = [name for name in one if name.startswith(("encoder/", "head/"))]
    assert len(moments) == len(parameters) > 100
    largest = max(np.abs(one[name]).max() for name in moments)
    compared = total = 0
    for moment, parameter in zip(moments, parameters, strict=True):
        noise = 1e-6 * largest
        np.testing.assert_allclose(many[moment], one[moment], rtol=1e-4, atol=noise)
        clear = np.abs(one[moment]) > 100 * noise
        compared, total = compared + clear.sum(), total + clear.size
        np.testing.assert_allclose(
            many[parameter][clear], one[parameter][clear], rtol=0, atol=1e-5, err_msg=parameter
        )
    assert compared > 0.3 * total


def load(path):
    with np.load(path) as file:
        return dict(file)


def test_four_replicas_equal_one_device(runs):
    _, folder = runs
    assert_equal_steps(load(folder / "1.npz"), load(folder / "4.npz"))


@pytest.mark.slow
def test_gradient_caching_on_replicas_equals_one_device(runs):
    """Two chunks on each of four replicas, whose negatives come from all of them."""
    objective, folder = runs
    if objective == "classification":
        pytest.skip("one view of two clips is no more than a chunk")
    finish([start(folder / "cached.npz", objective, 4, "cached")])
    assert_equal_steps(load(folder / "1.npz"), load(folder / "cached.npz"))


def test_the_comparison_notices_a_wrong_scale(runs):
    """Gradients that are a mean over the replicas instead of a sum are far beyond the tolerance."""
    _, folder = runs
    one, many = load(folder / "1.npz"), load(folder / "4.npz")
    moment = next(name for name in one if name.endswith("_momentum") and np.abs(one[name]).max())
    many[moment] = many[moment] / 4
    with pytest.raises(AssertionError):
        assert_equal_steps(one, many)


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_two_workers_equal_one_device(runs):
    objective, folder = runs
    workers = [f"localhost:{free_port()}" for _ in range(2)]
    processes = []
    for index in range(2):
        task = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        output = folder / f"worker{index}.npz"
        processes.append(start(output, objective, 2, "multi_worker", TF_CONFIG=json.dumps(task)))
    finish(processes)
    for index in range(2):
        assert_equal_steps(load(folder / "1.npz"), load(folder / f"worker{index}.npz"))
