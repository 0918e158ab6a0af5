"""Modules for the tests of every runtime."""

import pytest
from runtimes.runtime_modules import log_spectrum, save


@pytest.fixture(scope="module")
def two_layers(tmp_path_factory):
    return save(tmp_path_factory.mktemp("modules") / "two_layers")


@pytest.fixture(scope="module")
def spectral(tmp_path_factory):
    return save(tmp_path_factory.mktemp("modules") / "spectral", network=log_spectrum)
