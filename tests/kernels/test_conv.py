"""Convolutions' hard cases: bad input, odd arrays, other paths with the same bits, what PyTorch computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule import kernels, reference
from tests.kernels.cases import conv, laid_out
from tests.kernels.test_pool import odd_views

RNG = np.random.default_rng(5)
X = RNG.standard_normal((2, 4, 6, 7)).astype(np.float32)
W = RNG.standard_normal((6, 2, 3, 3)).astype(np.float32)
DY = RNG.standard_normal((2, 6, 4, 5)).astype(np.float32)
G2 = {"groups": 2}

WINDOWS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"stride": 0}, ValueError, "'stride'"),
    ({"stride": (1, -1)}, ValueError, "'stride'"),
    ({"stride": 1.5}, TypeError, "'stride'"),
    ({"stride": 2**31}, ValueError, "'stride'"),
    ({"padding": -1}, ValueError, "'padding'"),
    ({"padding": (1, 2, 3)}, ValueError, "'padding'"),
    ({"padding": "same"}, TypeError, "'padding'"),
    ({"padding": 10**20}, ValueError, "'padding'"),
    ({"dilation": 0}, ValueError, "'dilation'"),
    ({"dilation": (1, -2)}, ValueError, "'dilation'"),
    ({"dilation": 4}, ValueError, "larger than"),
    ({"groups": 0}, ValueError, "'groups'"),
    ({"groups": -2}, ValueError, "'groups'"),
    ({"groups": 2.0}, TypeError, "'groups'"),
    ({"groups": (2, 2)}, TypeError, "'groups'"),
    ({"groups": 4}, ValueError, "'groups'"),
    ({"groups": 1}, ValueError, "'weight'"),
    ({"groups": 3}, ValueError, "'weight'"),
]
CALLS: dict[str, tuple[Any, ...]] = {
    "conv2d": (X, W),
    "conv2d_backward_input": (DY, W, X.shape),
    "conv2d_backward_weight": (DY, X, W.shape),
}
BAD: list[tuple[str, tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
    *(
        (name, args, {**G2, **options}, error, match)
        for name, args in CALLS.items()
        for options, error, match in WINDOWS
    ),
    ("conv2d", ([1.0], W), G2, TypeError, "'x'"),
    ("conv2d", (X.astype(np.int32), W), G2, TypeError, "'x'.*int32"),
    ("conv2d", (X, W.astype(np.float64)), G2, TypeError, "'weight'.*float64"),
    ("conv2d", (X[0], W), G2, ValueError, "'x'.*4 dimensions"),
    ("conv2d", (X, W[0]), G2, ValueError, "'weight'.*4 dimensions"),
    ("conv2d", (X, W[:0]), {}, ValueError, "'groups'"),
    ("conv2d", (X, W[:, :, :0]), G2, ValueError, "'weight'"),
    ("conv2d", (X, W, np.zeros(5, np.float32)), G2, ValueError, "'bias'"),
    ("conv2d", (X, W, np.zeros((6, 1), np.float32)), G2, ValueError, "'bias'"),
    ("conv2d", (X, W, np.zeros(6)), G2, TypeError, "'bias'"),
    ("conv2d", (X, W), {**G2, "residual": [1.0]}, TypeError, "'residual'"),
    ("conv2d", (X, W), {**G2, "residual": DY[0]}, ValueError, "'residual'.*4 dimensions"),
    ("conv2d", (X, W), {**G2, "residual": DY[:1]}, ValueError, r"'residual'.*shape \(2, 6, 4, 5\)"),
    ("conv2d", (X, W), {**G2, "residual": X}, ValueError, "'residual'"),
    ("conv2d", (X, W), {**G2, "residual": DY.astype(np.float64)}, TypeError, "'residual'.*float64"),
    ("conv2d", (X, W), {**G2, "activation": "sine"}, ValueError, "activation"),
    ("conv2d", (X[:, :, :2], W), G2, ValueError, "larger than"),
    ("conv2d", (X[:, :, :0], W), G2, ValueError, "larger than"),
    ("conv2d", (X, W), {**G2, "padding": 2**30}, ValueError, "memory"),
    ("conv2d_backward_input", (DY[:, :, 1:], W, X.shape), G2, ValueError, "'dy'"),
    ("conv2d_backward_input", (DY[:1], W, X.shape), G2, ValueError, "'dy'"),
    ("conv2d_backward_input", (DY, W.astype(np.float64), X.shape), G2, TypeError, "'weight'"),
    ("conv2d_backward_input", (DY, W, X.shape[1:]), G2, ValueError, "'input_shape'"),
    ("conv2d_backward_input", (DY, W, (2, 4, -6, 7)), G2, ValueError, "negative"),
    ("conv2d_backward_input", (DY, W, (2, 4, 2**40, 2**40)), G2, ValueError, "memory"),
    ("conv2d_backward_weight", (DY, X[:1], W.shape), G2, ValueError, "'dy'"),
    ("conv2d_backward_weight", (DY, X.astype(np.float64), W.shape), G2, TypeError, "'x'"),
    ("conv2d_backward_weight", (DY, X, (6, 2, 3)), G2, ValueError, "'weight_shape'"),
    ("conv2d_backward_weight", (DY, X, (6, 2, 2, 3)), G2, ValueError, "'dy'"),
    ("conv2d_backward_weight", (DY, X, (6, 2, 0, 3)), G2, ValueError, "'weight'"),
    ("conv2d_backward_bias", (DY[0],), {}, ValueError, "'dy'"),
    ("conv2d_backward_bias", (DY.astype(np.float16),), {}, TypeError, "'dy'"),
]


@pytest.mark.parametrize(("name", "args", "options", "error", "match"), BAD)
def test_refuses(name: str, args: tuple[Any, ...], options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"(?s){name}: .*{match}"):
        getattr(kernels, name)(*args, **options)


def test_takes_any_view(isa: str) -> None:
    for name, args in CALLS.items():
        expected = getattr(kernels, name)(*args, **G2)
        for first, second in zip(odd_views(args[0]), odd_views(args[1]), strict=True):
            got = getattr(kernels, name)(first, second, *args[2:], **G2)
            np.testing.assert_array_equal(got, expected)
    expected = kernels.conv2d(X, W, **G2, residual=DY)
    for view in odd_views(DY):
        np.testing.assert_array_equal(kernels.conv2d(X, W, **G2, residual=view), expected)


@pytest.mark.parametrize(
    ("x", "w"),
    [
        ((9, 20, 17, 19), (18, 20, 3, 3)),
        ((9, 32, 8, 8), (32, 32, 3, 3)),
        ((30, 11, 14, 9), (14, 11, 5, 5)),  # in lanes of images, alone in lanes of positions
    ],
)
def test_an_image_has_the_same_bits_in_any_batch(isa: str, x: Any, w: Any) -> None:
    x, w = (RNG.standard_normal(shape).astype(np.float32) for shape in (x, w))
    y = kernels.conv2d(x, w, padding=1)
    dx = kernels.conv2d_backward_input(y, w, x.shape, padding=1)
    for i in (0, 4, 8):
        one = slice(i, i + 1)
        np.testing.assert_array_equal(kernels.conv2d(x[one], w, padding=1), y[one])
        np.testing.assert_array_equal(kernels.conv2d_backward_input(y[one], w, x[one].shape, padding=1), dx[one])


def test_direct_and_product_have_the_same_bits(isa: str) -> None:
    """Two output channels per group are computed straight from the planes, three as a product."""
    x = RNG.standard_normal((2, 3, 21, 37)).astype(np.float32)
    w = RNG.standard_normal((3, 3, 3, 3)).astype(np.float32)
    for options in ({"padding": 1}, {"stride": 2, "dilation": 2, "padding": 1}):
        y = kernels.conv2d(x, w, **options)
        np.testing.assert_array_equal(kernels.conv2d(x, w[:2], **options), y[:, :2])
        dx = kernels.conv2d_backward_input(y, w, x.shape, **options)
        part = kernels.conv2d_backward_input(y, np.ascontiguousarray(w[:, :2]), (2, 2, 21, 37), **options)
        np.testing.assert_array_equal(part, dx[:, :2])


def test_a_pointwise_convolution_is_a_matrix_product(isa: str) -> None:
    x = RNG.standard_normal((3, 300, 5, 7)).astype(np.float32)
    w = RNG.standard_normal((20, 300, 1, 1)).astype(np.float32)
    product = kernels.matmul(w.reshape(20, 300), x.reshape(3, 300, 35))
    np.testing.assert_array_equal(kernels.conv2d(x, w).reshape(3, 20, 35), product)


def test_nan_stays_where_it_is_seen(isa: str, threads: int) -> None:
    x = np.ones((2, 3, 12, 12), np.float32)
    x[1, 2, 5, 7] = np.nan
    y = kernels.conv2d(x, np.ones((4, 3, 3, 3), np.float32), padding=1)
    expected = np.zeros(y.shape, bool)
    expected[1, :, 4:7, 6:9] = True
    np.testing.assert_array_equal(np.isnan(y), expected)


@pytest.mark.parametrize("last", [False, True])
def test_infinite_weights_meet_the_padding_in_any_batch(isa: str, last: bool) -> None:
    """Infinity times the padding's zeros is NaN, also where lanes of images leave the padding out."""
    x, w = (RNG.standard_normal(shape).astype(np.float32) for shape in ((16, 6, 12, 12), (16, 6, 5, 5)))
    w[3, 2, 0, 1] = np.inf
    x = laid_out(x) if last else x
    y = kernels.conv2d(x, w, padding=2)
    dx = kernels.conv2d_backward_input(np.ones_like(y), w, x.shape, padding=2)
    assert np.isnan(y[:, 3, :2]).all()
    assert np.isfinite(y[:, :3]).all()
    assert np.isnan(dx[:, 2, -1]).all()
    one = slice(5, 6)
    np.testing.assert_array_equal(kernels.conv2d(x[one], w, padding=2), y[one])
    np.testing.assert_array_equal(
        kernels.conv2d_backward_input(np.ones_like(y[one]), w, x[one].shape, padding=2), dx[one]
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_what_overflows_is_computed_without_transforms(isa: str, threads: int, value: float) -> None:
    """Winograd's transforms would spread it over a tile; the other images keep their bits."""
    x = RNG.standard_normal((5, 32, 16, 16)).astype(np.float32)
    w = RNG.standard_normal((32, 32, 3, 3)).astype(np.float32)
    bias = RNG.standard_normal(32).astype(np.float32)
    y, dx = kernels.conv2d(x, w, bias, padding=1), kernels.conv2d_backward_input(x, w, x.shape, padding=1)
    odd = x.copy()
    odd[3, 7, 5, 6] = odd[3, 20, 11, 0] = value
    for got, clean, want in (
        (kernels.conv2d(odd, w, bias, padding=1), y, reference.conv2d(odd.astype(float), w, bias, padding=1)),
        (
            kernels.conv2d_backward_input(odd, w, x.shape, padding=1),
            dx,
            reference.conv2d_backward_input(odd.astype(float), w.astype(float), x.shape, padding=1),
        ),
    ):
        with np.errstate(over="ignore"):
            want = want.astype(np.float32)
        np.testing.assert_array_equal(got[[0, 1, 2, 4]], clean[[0, 1, 2, 4]])
        near = np.zeros(got.shape, bool)
        near[3, :, 4:7, 5:8] = near[3, :, 10:13, :2] = True
        np.testing.assert_array_equal(np.isfinite(got) | near, True)
        np.testing.assert_array_equal(got[near & ~np.isfinite(want)], want[near & ~np.isfinite(want)])
        np.testing.assert_allclose(got[~near], clean[~near], rtol=0, atol=1e-4)
    dy = RNG.standard_normal(y.shape).astype(np.float32)
    dw = kernels.conv2d_backward_weight(dy, odd, w.shape, padding=1)
    if np.isfinite(value):
        dy[3] *= 1e-20
        dw = kernels.conv2d_backward_weight(dy, odd, w.shape, padding=1)
    with np.errstate(invalid="ignore"):
        want = reference.conv2d_backward_weight(dy.astype(float), odd.astype(float), w.shape, padding=1)
    np.testing.assert_array_equal(dw[~np.isfinite(want)], want[~np.isfinite(want)])
    np.testing.assert_array_equal(np.isfinite(dw), np.isfinite(want))


@pytest.mark.parametrize("last", [False, True])
def test_a_residual_of_images_that_overflow(isa: str, threads: int, last: bool) -> None:
    """It is added once, also to what is computed again; its own infinities are no reason to."""
    x, w, r = (RNG.standard_normal(s).astype(np.float32) for s in ((5, 32, 16, 16), (32, 32, 3, 3), (5, 32, 16, 16)))
    x[3, 7, 5, 6] = np.inf
    r[1, 3, 0, 2] = r[3, 2, 5, 6] = -np.inf
    if last:
        x, r = laid_out(x), laid_out(r)
    want = kernels.relu(kernels.add(kernels.conv2d(x, w, padding=1), r))
    np.testing.assert_array_equal(kernels.conv2d(x, w, padding=1, activation="relu", residual=r), want)


def test_no_input_channels_leave_the_bias(isa: str) -> None:
    """A sum of no terms is 0 (torch leaves the bias out here)."""
    bias = np.array([1, -2, 3], np.float32)
    y = kernels.conv2d(np.zeros((2, 0, 5, 5), np.float32), np.zeros((3, 0, 3, 3), np.float32), bias)
    np.testing.assert_array_equal(y, np.broadcast_to(bias[:, None, None], (2, 3, 3, 3)))


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("pixels", [(0, 5), (5, 0), (0, 0)])
def test_images_without_pixels_are_padding(isa: str, pixels: tuple[int, int], last: bool) -> None:
    for channels, outputs, groups in ((1, 2, 1), (2, 3, 1), (16, 16, 1), (16, 16, 16)):
        for options in ({"padding": 2}, {"padding": 2, "stride": 2}):
            x, w = (
                np.zeros((2, channels, *pixels), np.float32),
                np.ones((outputs, channels // groups, 3, 3), np.float32),
            )
            x = laid_out(x) if last else x
            y = kernels.conv2d(x, w, **options, groups=groups)
            assert not y.any()
            dy = np.ones_like(y)
            assert kernels.conv2d_backward_input(dy, w, x.shape, **options, groups=groups).shape == x.shape
            assert not kernels.conv2d_backward_weight(dy, x, w.shape, **options, groups=groups).any()


@pytest.mark.parametrize(("x", "w", "o"), [c for c in conv.CONVS if c[0][1]], ids=lambda v: str(v).replace(" ", ""))
def test_computes_what_torch_computes(x: Any, w: Any, o: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(6)
    a, b, bias = (rng.standard_normal(s) for s in (x, w, w[:1]))
    ta, tb, tbias = (torch.from_numpy(v).requires_grad_() for v in (a, b, bias))
    want = torch.nn.functional.conv2d(ta, tb, tbias, **o)
    y = kernels.conv2d(a, b, bias, **o)
    np.testing.assert_allclose(y, want.detach(), rtol=1e-12, atol=1e-11)
    dy = rng.standard_normal(y.shape)
    grads = torch.autograd.grad(want, (ta, tb, tbias), torch.from_numpy(dy))
    tolerance = {"rtol": 1e-12, "atol": 1e-11}
    np.testing.assert_allclose(kernels.conv2d_backward_input(dy, b, x, **o), grads[0], **tolerance)
    np.testing.assert_allclose(kernels.conv2d_backward_weight(dy, a, w, **o), grads[1], **tolerance)
    np.testing.assert_allclose(kernels.conv2d_backward_bias(dy), grads[2], **tolerance)
