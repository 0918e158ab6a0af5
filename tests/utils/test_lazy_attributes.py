"""Package attributes that load on first use."""

import sys

import pytest

import hares_tf
import hares_tf.hub


def test_attributes_are_named_and_loaded():
    assert "locate" in hares_tf.hub.__all__ and "locate" in dir(hares_tf.hub)
    assert hares_tf.hub.locate is sys.modules["hares_tf.hub.loader"].locate


def test_an_unknown_attribute():
    with pytest.raises(AttributeError, match="no attribute 'lcoate'"):
        hares_tf.hub.lcoate  # noqa: B018
