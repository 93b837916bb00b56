"""Pooling's hard cases: bad input, odd arrays, what PyTorch returns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule import kernels

X = np.arange(2 * 3 * 5 * 5, dtype=np.float32).reshape(2, 3, 5, 5)
DY = np.ones((2, 3, 2, 2), np.float32)
INDICES = np.zeros((2, 3, 2, 2), np.int64)

BAD: list[tuple[str, tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
    *(
        (name, args, options, error, f"{name}: .*{match}")
        for name in ("max_pool2d", "avg_pool2d")
        for args, options, error, match in (
            (([[1.0]], 2), {}, TypeError, "'x'"),
            ((X.astype(np.int64), 2), {}, TypeError, "'x'.*int64"),
            ((X.astype(np.float16), 2), {}, TypeError, "'x'.*float16"),
            ((X[0], 2), {}, ValueError, "'x'.*4 dimensions"),
            ((np.float32(1), 2), {}, TypeError, "'x'"),
            ((X, 0), {}, ValueError, "'kernel_size'"),
            ((X, -1), {}, ValueError, "'kernel_size'"),
            ((X, (2, 0)), {}, ValueError, "'kernel_size'"),
            ((X, (2, 2, 2)), {}, ValueError, "'kernel_size'"),
            ((X, ()), {}, ValueError, "'kernel_size'"),
            ((X, 2.5), {}, TypeError, "'kernel_size'"),
            ((X, "2"), {}, TypeError, "'kernel_size'"),
            ((X, 2**31), {}, ValueError, "'kernel_size'"),
            ((X, 10**30), {}, ValueError, "'kernel_size'"),
            ((X, 6), {}, ValueError, "larger than x"),
            ((X, 2), {"stride": 0}, ValueError, "'stride'"),
            ((X, 2), {"stride": (1, -1)}, ValueError, "'stride'"),
            ((X, 2), {"padding": -1}, ValueError, "'padding'"),
            ((X, 2), {"padding": 2}, ValueError, "'padding'"),
            ((X, 3), {"padding": (0, 2)}, ValueError, "'padding'"),
            ((X[:, :0], 2), {}, ValueError, "'x'"),
            ((X[:, :, :0], 2), {}, ValueError, "'x'"),
        )
    ),
    ("max_pool2d", (X, 2), {"dilation": 0}, ValueError, "max_pool2d: .*'dilation'"),
    ("max_pool2d", (X, 3), {"dilation": 3}, ValueError, "max_pool2d: .*larger than x"),
    ("avg_pool2d", (X, 2), {"divisor_override": 0}, ValueError, "avg_pool2d: .*'divisor_override'"),
    ("avg_pool2d", (X, 2), {"divisor_override": 1.5}, TypeError, "avg_pool2d: .*'divisor_override'"),
    ("avg_pool2d", (X, 2), {"divisor_override": 2**70}, ValueError, "avg_pool2d: .*'divisor_override'"),
    *(
        ("max_pool2d_backward", args, {}, error, f"max_pool2d_backward: .*{match}")
        for args, error, match in (
            ((DY.astype(int), INDICES, X.shape), TypeError, "'dy'"),
            ((DY, INDICES[:1], X.shape), ValueError, "'indices'"),
            ((DY, INDICES.astype(np.int32), X.shape), TypeError, "'indices'"),
            ((DY, INDICES, (2, 3, 5)), ValueError, "'input_shape'"),
            ((DY, INDICES, (2, 4, 5, 5)), ValueError, "'input_shape'"),
            ((DY, INDICES, (2, 3, -5, 5)), ValueError, "negative"),
            ((DY, INDICES, (2, 3, 2**40, 2**40)), ValueError, "memory"),
            ((DY, INDICES, 5), TypeError, "'input_shape'"),
            ((DY, INDICES + 25, X.shape), ValueError, "'indices'"),
            ((DY, INDICES - 2, X.shape), ValueError, "'indices'"),
        )
    ),
    ("max_pool2d_gather", (X, INDICES + 25), {}, ValueError, "max_pool2d_gather: .*'indices'"),
    ("max_pool2d_gather", (X, INDICES[:1]), {}, ValueError, "max_pool2d_gather: .*'indices'"),
    ("avg_pool2d_backward", (DY, (2, 3, 9, 9), 2), {}, ValueError, "avg_pool2d_backward: .*'dy'"),
    ("avg_pool2d_backward", (DY, X.shape, 2), {"stride": 0}, ValueError, "avg_pool2d_backward: .*'stride'"),
    ("adaptive_avg_pool2d", (X, -1), {}, ValueError, "adaptive_avg_pool2d: .*'output_size'"),
    ("adaptive_avg_pool2d", (X, 2**31), {}, ValueError, "adaptive_avg_pool2d: .*'output_size'"),
    ("adaptive_avg_pool2d", (X, (2**30, 2**30)), {}, ValueError, "adaptive_avg_pool2d: .*memory"),
    ("adaptive_avg_pool2d", (X[:, :, :0], 2), {}, ValueError, "adaptive_avg_pool2d: .*'x'"),
    ("adaptive_avg_pool2d_backward", (DY, (2, 2, 5, 5)), {}, ValueError, "'input_shape'"),
    ("adaptive_avg_pool2d_backward", (DY, (2, 3, 0, 5)), {}, ValueError, "'input_shape'"),
]


@pytest.mark.parametrize(("name", "args", "options", "error", "match"), BAD)
def test_refuses(name: str, args: tuple[Any, ...], options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        getattr(kernels, name)(*args, **options)


def odd_views(x: np.ndarray) -> list[np.ndarray]:
    """x as arrays that aren't plain: strided, reversed, big-endian, misaligned, read-only."""
    wide = np.repeat(x, 2, axis=-1)[..., ::2]
    reversed_ = np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    big = x.astype(x.dtype.newbyteorder(">"))
    raw = np.zeros(x.nbytes + 1, np.uint8)
    raw[1:] = np.frombuffer(x.tobytes(), np.uint8)
    misaligned = raw[1:].view(x.dtype).reshape(x.shape)
    fixed = x.copy()
    fixed.flags.writeable = False
    transposed = np.ascontiguousarray(x.transpose(3, 2, 1, 0)).transpose(3, 2, 1, 0)
    return [wide, reversed_, big, misaligned, fixed, transposed]


def test_takes_any_view(isa: str) -> None:
    expected = kernels.max_pool2d(X, 2)
    for view in odd_views(X):
        got = kernels.max_pool2d(view, 2)
        np.testing.assert_array_equal(got[0], expected[0])
        np.testing.assert_array_equal(got[1], expected[1])
        np.testing.assert_array_equal(kernels.avg_pool2d(view, 2), kernels.avg_pool2d(X, 2))
        np.testing.assert_array_equal(kernels.adaptive_avg_pool2d(view, 3), kernels.adaptive_avg_pool2d(X, 3))
    for view in odd_views(expected[1]):
        np.testing.assert_array_equal(
            kernels.max_pool2d_backward(DY, view, X.shape), kernels.max_pool2d_backward(DY, expected[1], X.shape)
        )


GRID = [
    (kernel, stride, padding, dilation, ceil_mode)
    for kernel in (1, 2, (3, 2), 4)
    for stride in (None, 1, 2, (3, 1))
    for padding in (0, 1)
    for dilation in (1, 2)
    for ceil_mode in (False, True)
    if not (kernel == 1 and padding) and not (kernel == (3, 2) and padding > 1)
]


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "ceil_mode"), GRID)
def test_pools_like_torch(isa: str, kernel: Any, stride: Any, padding: int, dilation: int, ceil_mode: bool) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    x = rng.integers(-3, 4, (2, 2, 9, 38)).astype(np.float64)  # ties
    x[rng.random(x.shape) < 0.02] = np.nan
    F = torch.nn.functional
    y, indices = F.max_pool2d(torch.from_numpy(x), kernel, stride, padding, dilation, ceil_mode, return_indices=True)
    got = kernels.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode)
    np.testing.assert_array_equal(got[0], y.numpy())
    np.testing.assert_array_equal(got[1], indices.numpy())
    if dilation == 1:
        for count_include_pad in (False, True):
            options = {"ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
            clean = np.nan_to_num(x)
            want = F.avg_pool2d(torch.from_numpy(clean), kernel, stride, padding, **options)
            np.testing.assert_allclose(kernels.avg_pool2d(clean, kernel, stride, padding, **options), want, atol=1e-14)


@pytest.mark.parametrize("out", [1, 2, (3, 5), (9, 38), (11, 40), (0, 2)])
def test_adaptive_bins_are_torchs(isa: str, out: Any) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(4).standard_normal((2, 3, 9, 38))
    want = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(x), out)
    np.testing.assert_allclose(kernels.adaptive_avg_pool2d(x, out), want, atol=1e-14)
