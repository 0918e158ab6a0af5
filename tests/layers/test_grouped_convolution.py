"""The convolution primitive against a plain NumPy convolution, in both of its forms."""

import numpy as np
import pytest
import tensorflow as tf

from hares_tf.layers import grouped_conv2d, grouped_convolution


def numpy_convolution(x, kernel, bias, strides):
    """Grouped SAME convolution by its definition, in float64."""
    x, kernel = x.astype(np.float64), kernel.astype(np.float64)
    sizes = [-(-n // s) for n, s in zip(x.shape[1:3], strides, strict=True)]
    padding = [(0, 0)]
    for size, out, step, taps in zip(x.shape[1:3], sizes, strides, kernel.shape, strict=False):
        total = max((out - 1) * step + taps - size, 0)
        padding.append((total // 2, total - total // 2))
    x = np.pad(x, [*padding, (0, 0)])
    groups = x.shape[3] // kernel.shape[2]
    filters = kernel.shape[3] // groups
    y = np.zeros((x.shape[0], *sizes, kernel.shape[3]))
    for i, j in np.ndindex(*sizes):
        rows = slice(i * strides[0], i * strides[0] + kernel.shape[0])
        columns = slice(j * strides[1], j * strides[1] + kernel.shape[1])
        for group in range(groups):
            part = x[:, rows, columns, group * kernel.shape[2] : (group + 1) * kernel.shape[2]]
            outputs = slice(group * filters, (group + 1) * filters)
            y[:, i, j, outputs] = np.einsum("btfc,tfco->bo", part, kernel[..., outputs])
    return y + bias


CASES = [
    # kernel size, strides, groups
    ((3, 1), (1, 2), 3),
    ((1, 3), (1, 1), 2),
    ((3, 3), (2, 2), 1),
    ((7, 1), (4, 1), 1),
    ((1, 1), (1, 2), 2),
]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size,strides,groups", CASES)
def test_definition(size, strides, groups, dtype, training):
    generator = np.random.default_rng(0)
    x = generator.standard_normal((2, 9, 8, 12)).astype(dtype)
    kernel = generator.standard_normal((*size, 12 // groups, 6)).astype(dtype)
    bias = generator.standard_normal(6).astype(dtype)
    y = grouped_conv2d(
        x=tf.constant(x), kernel=kernel, bias=bias, strides=strides, training=training
    )
    assert y.dtype == dtype
    # A sum of up to 108 products of unit normals.
    limit = {"float32": 3e-5, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(y, numpy_convolution(x, kernel, bias, strides), rtol=0, atol=limit)


def operations(dtype, training):
    """Operations in the graph of a grouped convolution, functions it calls included."""

    @tf.function
    def convolve(x, kernel, bias):
        return grouped_conv2d(x, kernel, bias, training=training)

    graph = convolve.get_concrete_function(
        tf.TensorSpec((None, None, None, 12), dtype),
        tf.TensorSpec((3, 1, 4, 6), dtype),
        tf.TensorSpec((6,), dtype),
    ).graph.as_graph_def(add_shapes=False)
    assert len(graph.library.function) == 0
    return [node.op for node in graph.node]


@pytest.mark.parametrize(
    "dtype,training,accelerator,convolutions",
    [
        ("float32", False, False, 1),
        ("float32", True, False, 3),
        ("float32", True, True, 1),
        ("bfloat16", False, False, 1),
        ("float64", False, False, 3),
        ("float64", True, True, 3),
    ],
)
def test_native_and_split(monkeypatch, dtype, training, accelerator, convolutions):
    monkeypatch.setattr(grouped_convolution, "accelerator_present", lambda: accelerator)
    assert operations(dtype, training).count("Conv2D") == convolutions
