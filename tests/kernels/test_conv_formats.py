"""Convolutions of images in either memory format."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule import kernels, reference
from tests.kernels.cases.conv import CONVS, adds_in_own_order

RNG = np.random.default_rng(7)
FORMATS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    *CONVS,
    ((2, 40, 9, 11), (40, 1, 3, 3), {"groups": 40, "padding": 1}),
    ((2, 18, 9, 70), (36, 1, 3, 3), {"groups": 18, "padding": 1}),  # two outputs for an input
    ((2, 36, 9, 8), (18, 2, 3, 3), {"groups": 18, "padding": 1}),  # and two inputs for an output
    ((1, 17, 12, 13), (17, 1, 5, 5), {"groups": 17, "stride": 2, "padding": 2}),
    ((1, 17, 3, 2), (17, 1, 3, 3), {"groups": 17, "padding": 1}),
    ((2, 16, 9, 10), (16, 1, 3, 3), {"groups": 16, "dilation": 2, "padding": 2}),
]


def channels_last(x: Any) -> Any:
    """The same values, with the strides of an array whose channels come last."""
    out = np.empty((x.shape[0], *x.shape[2:], x.shape[1]), x.dtype).transpose(0, 3, 1, 2)
    out[...] = x
    return out


def pixels_follow_each_other(x: Any) -> bool:
    _, c, _, w = x.shape
    return x.size == 0 or [s // x.itemsize for s in x.strides[1:]] == [1, w * c, c]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("x", "w", "o"), FORMATS, ids=lambda v: str(v).replace(" ", ""))
def test_memory_formats_have_the_same_bits(isa: str, dtype: Any, x: Any, w: Any, o: dict[str, Any]) -> None:
    """The result has the format of the first images; weights and biases have none."""
    rng = np.random.default_rng(8)
    a, b, bias = (rng.standard_normal(s).astype(dtype) for s in (x, w, w[:1]))
    y = kernels.conv2d(a, b, bias, **o, activation="relu")
    got = kernels.conv2d(channels_last(a), b, bias, **o, activation="relu")
    np.testing.assert_array_equal(got, y)
    assert pixels_follow_each_other(got) or a.size == 0
    dy = rng.standard_normal(y.shape).astype(dtype)
    dx = kernels.conv2d_backward_input(channels_last(dy), b, x, **o)
    np.testing.assert_array_equal(dx, kernels.conv2d_backward_input(dy, b, x, **o))
    assert pixels_follow_each_other(dx)
    np.testing.assert_array_equal(kernels.conv2d_backward_bias(channels_last(dy)), kernels.conv2d_backward_bias(dy))
    dw = kernels.conv2d_backward_weight(channels_last(dy), channels_last(a), w, **o)
    np.testing.assert_array_equal(kernels.conv2d_backward_weight(dy, channels_last(a), w, **o), dw)
    planes = kernels.conv2d_backward_weight(dy, a, w, **o)
    if adds_in_own_order(x, w):
        scale = reference.conv2d_backward_weight(np.abs(dy), np.abs(a), w, **o)
        np.testing.assert_array_less(np.abs(dw - planes), 16 * np.finfo(dtype).eps * scale + np.finfo(dtype).tiny)
    else:
        np.testing.assert_array_equal(dw, planes)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("shape", [(5, 16, 8, 8), (18, 30, 7, 5), (1, 45, 12, 6)])
def test_small_planes_channels_add_in_the_order_of_channels_last(
    isa: str, threads: int, shape: Any, stride: int, dtype: Any
) -> None:
    rng = np.random.default_rng(11)
    x, w = rng.standard_normal(shape).astype(dtype), (shape[1], 1, 3, 3)
    o: Any = {"stride": stride, "padding": 1, "groups": shape[1]}
    dy = rng.standard_normal(kernels.conv2d(x, np.ones(w, dtype), **o).shape).astype(dtype)
    want = kernels.conv2d_backward_weight(channels_last(dy), channels_last(x), w, **o)
    np.testing.assert_array_equal(kernels.conv2d_backward_weight(dy, x, w, **o), want)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("x", "w", "o"), FORMATS, ids=lambda v: str(v).replace(" ", ""))
def test_a_residual_has_the_bits_of_an_addition_afterwards(isa: str, dtype: Any, x: Any, w: Any, o: Any) -> None:
    """Whichever way the convolution is computed, and whatever the format of the residual."""
    rng = np.random.default_rng(10)
    a, b, bias = (rng.standard_normal(s).astype(dtype) for s in (x, w, w[:1]))
    r = rng.standard_normal(kernels.conv2d(a, b, **o).shape).astype(dtype)
    for given, activation in ((bias, "relu"), (bias, "gelu"), (None, "none")):
        y = kernels.add(kernels.conv2d(a, b, given, **o), r)
        want = y if activation == "none" else getattr(kernels, activation)(y)
        for images in (a, channels_last(a)):
            for residual in (r, channels_last(r)):
                got = kernels.conv2d(images, b, given, **o, activation=activation, residual=residual)
                np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("shape", [(2, 1, 1), (3, 5, 7), (5, 31, 29)])
def test_one_taps_weight_gradient_is_a_linear_layers(isa: str, shape: Any, groups: int, dtype: Any) -> None:
    batch, h, w = shape
    rng = np.random.default_rng(10)
    x, dy = (rng.standard_normal((batch, c, h, w)).astype(dtype) for c in (groups * 18, groups * 7))
    dw = kernels.conv2d_backward_weight(channels_last(dy), channels_last(x), (groups * 7, 18, 1, 1), groups=groups)
    for g in range(groups):
        of_g = slice(g * 7, g * 7 + 7)
        pixels, outputs = (
            a[:, part].transpose(0, 2, 3, 1).reshape(batch * h * w, -1)
            for a, part in ((x, slice(g * 18, g * 18 + 18)), (dy, of_g))
        )
        expected = kernels.linear_backward(outputs, pixels, np.zeros((7, 18), dtype), needs=(False, True, False))[1]
        np.testing.assert_array_equal(dw[of_g, :, 0, 0], expected)


@pytest.mark.parametrize("window", [(3, 1), (3, 2), (5, 1), (7, 1), (4, 1), (4, 3)], ids=str)
def test_a_depthwise_weight_gradient_is_a_chain_of_positions(isa: str, window: tuple[int, int]) -> None:
    """In channels_last: one chain for at most 256 positions of an image, whatever lane and channels are beside it."""
    k, stride = window
    rng = np.random.default_rng(11)
    options = {"padding": k // 2, "stride": stride}
    x = rng.standard_normal((3, 41, 13, 17)).astype(np.float32)
    y = kernels.conv2d(x, np.ones((41, 1, k, k), np.float32), **options, groups=41)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    dw = kernels.conv2d_backward_weight(channels_last(dy), channels_last(x), (41, 1, k, k), **options, groups=41)
    for begin, end in ((0, 2), (15, 18), (38, 41)):
        some = [channels_last(a[:, begin:end]) for a in (dy, x)]
        got = kernels.conv2d_backward_weight(*some, (end - begin, 1, k, k), **options, groups=end - begin)
        np.testing.assert_array_equal(got, dw[begin:end])
    padded = np.pad(x[0, 40].astype(np.float64), k // 2)
    chain = np.zeros((k, k), np.float32)
    for v, u in np.ndindex(y.shape[2:]):  # float64 holds a product of two float32, and all but exactly its sum
        seen = padded[v * stride : v * stride + k, u * stride : u * stride + k]
        term = seen * np.float64(dy[0, 40, v, u])
        chain = (chain + (term.astype(np.float32) if isa == "generic" else term)).astype(np.float32)  # without FMA
    first = [channels_last(a[:1]) for a in (dy, x)]
    got = kernels.conv2d_backward_weight(*first, (41, 1, k, k), **options, groups=41)
    np.testing.assert_array_equal(got[40, 0], chain)


def test_threads_do_not_change_the_bits_of_channels_last(isa: str, threads: int) -> None:
    """Against planes, whose kernels' tests cover every number of threads; or as the twins' cases do."""
    rng = np.random.default_rng(9)
    for x, w, o in FORMATS[3:]:
        a, b = (rng.standard_normal(s).astype(np.float32) for s in (x, w))
        y = kernels.conv2d(channels_last(a), b, **o)
        np.testing.assert_array_equal(y, kernels.conv2d(a, b, **o))
        twice = kernels.conv2d(channels_last(a), b, **o, residual=y)
        np.testing.assert_array_equal(twice, kernels.add(y, y))
        planes = np.ascontiguousarray(y)
        dx, db = kernels.conv2d_backward_input(y, b, x, **o), kernels.conv2d_backward_bias(y)
        np.testing.assert_array_equal(dx, kernels.conv2d_backward_input(planes, b, x, **o))
        np.testing.assert_array_equal(db, kernels.conv2d_backward_bias(planes))
        if not adds_in_own_order(x, w):
            dw = kernels.conv2d_backward_weight(y, channels_last(a), w, **o)
            np.testing.assert_array_equal(dw, kernels.conv2d_backward_weight(planes, a, w, **o))


def test_images_of_one_channel_or_one_pixel_keep_their_format(isa: str) -> None:
    pixels = channels_last(RNG.standard_normal((2, 8, 1, 1)).astype(np.float32))
    assert pixels_follow_each_other(kernels.conv2d(pixels, np.ones((4, 8, 1, 1), np.float32)))
    one = np.ones((2, 9, 9, 1), np.float32).transpose(0, 3, 1, 2)
    planes = np.lib.stride_tricks.as_strided(one, strides=(81 * 4, 4, 9 * 4, 4))
    assert pixels_follow_each_other(kernels.conv2d(planes, np.ones((4, 1, 3, 3), np.float32)))


def test_strided_channels_last_is_taken_as_any_view(isa: str) -> None:
    x, w = RNG.standard_normal((4, 16, 12, 12)), RNG.standard_normal((8, 16, 3, 3))
    wide = channels_last(x)
    for view in (wide[::2], wide[:, ::2], wide[:, :, 1:], wide[..., ::-1], wide[1:3]):
        want = kernels.conv2d(np.ascontiguousarray(view), w[:, : view.shape[1]])
        np.testing.assert_array_equal(kernels.conv2d(view, w[:, : view.shape[1]]), want)
    assert pixels_follow_each_other(kernels.conv2d(wide[1:3], w))
    swapped = wide.astype(">f8", order="K")
    np.testing.assert_array_equal(kernels.conv2d(swapped, w), kernels.conv2d(x, w))


def test_nan_stays_where_it_is_seen_in_channels_last(isa: str) -> None:
    for x, w, o in (((3, 32, 12, 12), (32, 32, 3, 3), {}), ((2, 20, 12, 12), (20, 1, 3, 3), {"groups": 20})):
        a, b = (RNG.standard_normal(s).astype(np.float32) for s in (x, w))
        a[1, 2, 5, 7] = np.nan
        y = kernels.conv2d(channels_last(a), b, padding=1, **o)
        np.testing.assert_array_equal(y, kernels.conv2d(a, b, padding=1, **o))
        expected = np.zeros(y.shape, bool)
        expected[1, slice(None) if o == {} else 2, 4:7, 6:9] = True
        np.testing.assert_array_equal(np.isnan(y), expected)
