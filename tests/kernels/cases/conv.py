"""Convolutions: every option, around the register tile (14 x 32), the K block (256), the span (4096), direct paths."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import reference
from tests.kernels.cases import Case, channels_last, integers, normal

# x, weight, options
CONVS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 1, 1, 1), (1, 1, 1, 1), {}),
    ((2, 1, 28, 28), (6, 1, 5, 5), {}),  # LeNet's first
    ((2, 6, 12, 12), (16, 6, 5, 5), {}),  # and second
    ((2, 3, 9, 31), (13, 3, 3, 3), {"padding": 1}),
    ((2, 3, 5, 32), (14, 3, 3, 3), {"padding": 1}),
    ((2, 3, 5, 33), (15, 3, 3, 3), {"padding": 1}),
    ((2, 16, 9, 9), (3, 16, 3, 3), {"padding": (1, 0)}),
    ((1, 29, 7, 7), (29, 29, 3, 3), {"padding": 1}),  # K = 261: more than a block
    ((3, 28, 8, 8), (33, 28, 3, 3), {"padding": 1}),
    ((2, 8, 11, 13), (5, 8, 3, 3), {"stride": 2, "padding": 1}),
    ((2, 8, 12, 40), (5, 8, 3, 2), {"stride": (2, 3), "padding": (1, 1)}),
    ((1, 3, 30, 30), (8, 3, 7, 7), {"stride": 2, "padding": 3}),
    ((2, 4, 11, 17), (6, 4, 3, 3), {"stride": 4, "padding": 1}),  # some inputs are never read
    ((2, 4, 14, 17), (6, 4, 3, 3), {"dilation": 2, "padding": 2}),
    ((2, 4, 19, 17), (6, 4, 3, 4), {"stride": (2, 3), "dilation": (3, 2), "padding": (2, 3)}),
    ((2, 4, 19, 17), (6, 4, 3, 3), {"stride": (4, 2), "dilation": (2, 4), "padding": 4}),
    ((2, 5, 4, 4), (7, 5, 4, 4), {"padding": 5}),
    ((2, 33, 9, 9), (40, 33, 1, 1), {}),
    ((2, 33, 9, 10), (17, 33, 1, 1), {"stride": 2}),
    ((1, 3, 9, 10), (17, 3, 1, 1), {"padding": 1}),
    ((2, 12, 9, 9), (9, 4, 3, 3), {"groups": 3, "padding": 1}),
    ((2, 8, 9, 9), (8, 4, 3, 3), {"groups": 2, "stride": 2, "padding": 1}),
    ((2, 5, 9, 17), (5, 1, 3, 3), {"groups": 5, "padding": 1}),  # depthwise
    ((2, 5, 9, 70), (5, 1, 3, 3), {"groups": 5, "padding": 1, "stride": 2}),
    ((2, 3, 20, 33), (6, 1, 5, 3), {"groups": 3, "padding": 2, "dilation": (1, 2)}),
    ((2, 3, 20, 33), (9, 1, 3, 3), {"groups": 3, "stride": 3}),
    ((2, 4, 18, 20), (4, 1, 17, 17), {"groups": 4, "padding": 8}),  # 289 taps: more than a block
    ((9, 3, 17, 17), (5, 3, 3, 3), {"padding": 1}),  # dW over 2601 pixels: many blocks
    ((5, 2, 32, 32), (3, 2, 3, 3), {"padding": 1}),  # dW over 5120: two spans
    ((20, 3, 32, 32), (3, 1, 3, 3), {"groups": 3, "padding": 1}),  # two partial sums of a depthwise dW
    ((1, 8, 40, 40), (30, 8, 3, 3), {"padding": 1}),  # several chunks of one image
    ((2, 460, 3, 3), (3, 460, 3, 3), {"padding": 1}),  # K = 4140: two spans
    ((3, 2, 5, 5), (4, 2, 5, 5), {}),  # one position
    # Windows of 3 x 3 with as many channels as Winograd's transforms pay for, in float32:
    ((1, 16, 6, 6), (16, 16, 3, 3), {"padding": 1}),  # one block
    ((3, 16, 32, 32), (16, 16, 3, 3), {"padding": 1}),  # bands of an image
    ((40, 17, 8, 8), (33, 17, 3, 3), {"padding": 1}),  # images together; odd channels
    ((2, 31, 13, 11), (40, 31, 3, 3), {"padding": (0, 2)}),  # half of the last tiles
    ((2, 24, 2, 300), (24, 24, 3, 3), {"padding": 1}),  # a row in parts
    ((1, 32, 5, 1030), (32, 32, 3, 3), {}),
    ((3, 64, 12, 10), (96, 32, 3, 3), {"groups": 2, "padding": 1}),
    ((2, 270, 6, 4), (50, 270, 3, 3), {"padding": 1}),  # two blocks of channels; dW in pieces of the outputs
    ((2, 16, 1, 2), (32, 16, 3, 3), {"padding": 2}),  # more padding than image
    # Nearly whole vecs of channels, which direct convolutions take in lanes:
    ((3, 20, 17, 29), (24, 20, 3, 3), {"stride": 2, "padding": 1}),
    ((2, 32, 16, 16), (40, 32, 3, 3), {"stride": 2, "padding": (1, 0)}),
    ((1, 16, 12, 300), (16, 16, 5, 5), {"padding": 2}),  # a row in parts
    ((2, 64, 10, 12), (48, 16, 3, 3), {"groups": 4, "stride": 2}),
    ((2, 24, 15, 16), (20, 24, 3, 3), {"stride": 2, "dilation": 2, "padding": 3}),
    ((1, 500, 5, 15), (33, 500, 3, 3), {"stride": (1, 2), "padding": 1}),  # two spans
    ((2, 16, 40, 9), (31, 16, 2, 4), {"stride": (3, 1), "padding": (0, 3)}),
    ((17, 12, 17, 16), (40, 12, 3, 3), {"stride": 2, "padding": 1}),  # dW in chunks of 2 images, the last of 1
    ((35, 12, 13, 11), (30, 12, 3, 3), {"stride": 2, "padding": 1}),  # in equal ones of 5, where 3 would do
    ((2, 144, 9, 13), (64, 72, 1, 1), {"stride": 2, "groups": 2}),
    # Input gradients with strides in lanes, whole rows of phases at a time:
    ((2, 16, 11, 13), (32, 16, 3, 3), {"stride": 2, "padding": 1}),
    ((1, 31, 7, 9), (24, 31, 4, 5), {"stride": (1, 3), "padding": (1, 2)}),
    ((2, 48, 9, 14), (20, 48, 5, 5), {"stride": (2, 4), "padding": 2, "dilation": (1, 3)}),
    ((2, 32, 8, 7), (48, 32, 1, 1), {"stride": 2}),  # phases that see no tap
    ((2, 32, 6, 3), (24, 32, 3, 3), {"stride": (2, 4), "padding": 1}),  # fewer columns than phases
    ((2, 24, 8, 1), (32, 24, 2, 2), {"stride": (3, 4), "padding": (3, 1), "dilation": (1, 2)}),
    ((2, 16, 9, 12), (40, 16, 7, 7), {"stride": 5, "padding": 3}),  # more phases than are taken together
    ((2, 1, 9, 16), (16, 1, 7, 7), {"stride": 5, "padding": 3}),
    ((1, 16, 6, 5), (1100, 16, 4, 4), {"stride": 2, "padding": 1}),  # two spans
    ((1, 16, 2, 1101), (16, 16, 2, 3), {"stride": 2, "padding": 1}),  # rows in two pieces
    ((1, 32, 34, 41), (260, 32, 3, 3), {"stride": 2, "padding": 1}),  # several bands of rows
    # One tap, and channels enough for products of planes:
    ((3, 40, 7, 9), (37, 40, 1, 1), {}),
    ((17, 66, 6, 7), (64, 33, 1, 1), {"groups": 2}),  # in chunks of 2 images, the last of 1
    ((1, 48, 33, 35), (100, 48, 1, 1), {}),  # an image in two parts
    ((2, 100, 32, 32), (48, 100, 1, 1), {}),  # planes of 4 KB: rows in one set of the L1
    ((9, 48, 1, 4100), (96, 48, 1, 1), {}),  # more positions than a span
    ((0, 40, 5, 4), (33, 40, 1, 1), {}),
    # Images enough to fill lanes, and a window and channels that use each of their pixels often:
    ((16, 6, 12, 12), (16, 6, 5, 5), {}),
    ((13, 12, 8, 9), (18, 12, 5, 5), {"padding": 2}),  # three of the lanes are empty; two blocks of k
    ((30, 6, 13, 11), (20, 6, 4, 3), {"stride": (2, 1), "padding": (3, 0)}),
    ((16, 12, 9, 9), (18, 6, 4, 4), {"groups": 2, "padding": 1}),
    ((24, 8, 19, 17), (12, 8, 5, 5), {"stride": (2, 3), "dilation": (3, 2), "padding": (7, 5)}),
    ((14, 16, 9, 7), (40, 16, 4, 5), {"stride": (3, 2), "padding": (1, 4)}),
    ((15, 9, 35, 34), (8, 9, 5, 5), {"padding": (3, 1)}),  # bands and strips of a plane
    ((12, 40, 6, 3), (5, 40, 5, 2), {"padding": (4, 0)}),  # rows and taps beyond the plane
    ((16, 7, 19, 17), (13, 7, 5, 5), {"stride": (2, 3), "dilation": (3, 2), "padding": (7, 5)}),
    ((31, 5, 24, 29), (11, 5, 6, 6), {"padding": (0, 3)}),  # bands of a gradient, in several chunks
    ((40, 9, 7, 6), (10, 9, 4, 4), {"padding": (2, 0)}),
    # Depthwise, by windows whose sums are held in registers, and by groups of any taps:
    ((3, 19, 7, 18), (19, 1, 3, 3), {"groups": 19, "padding": 1}),
    ((2, 33, 11, 20), (33, 1, 5, 5), {"groups": 33, "padding": 2}),
    ((2, 18, 14, 37), (18, 1, 7, 7), {"groups": 18, "padding": 3}),
    ((2, 20, 13, 21), (20, 1, 3, 3), {"groups": 20, "padding": 1, "stride": 2}),
    ((2, 17, 12, 15), (17, 1, 5, 5), {"groups": 17, "padding": (3, 0), "stride": 2}),
    ((1, 16, 16, 17), (16, 1, 7, 7), {"groups": 16, "padding": 5, "stride": 2}),
    ((2, 16, 9, 300), (16, 1, 3, 3), {"groups": 16, "padding": 1}),  # a row in parts
    ((1, 24, 3, 550), (24, 1, 2, 5), {"groups": 24, "stride": (1, 2), "padding": (0, 4)}),
    ((2, 10, 12, 13), (20, 1, 3, 4), {"groups": 10, "dilation": (2, 3), "padding": 4}),
    ((2, 20, 2, 3), (20, 1, 7, 7), {"groups": 20, "padding": 4}),  # most of each window sees padding
    ((2, 17, 6, 5), (17, 1, 1, 1), {"groups": 17}),
    # Small planes, or strides: vecs of channels.
    ((3, 30, 7, 9), (30, 1, 3, 3), {"groups": 30, "padding": 1}),
    ((2, 14, 14, 13), (14, 1, 3, 3), {"groups": 14, "padding": 1, "stride": 2}),
    ((2, 44, 9, 8), (44, 1, 5, 5), {"groups": 44, "padding": (4, 2), "stride": (2, 3)}),
    ((2, 15, 11, 7), (15, 1, 2, 2), {"groups": 15, "stride": 3}),  # some inputs are never read
    ((19, 16, 5, 4), (16, 1, 7, 7), {"groups": 16, "padding": 3}),
    ((2, 15, 9, 10), (15, 1, 3, 2), {"groups": 15, "dilation": (2, 3), "padding": 2}),
    ((2, 30, 9, 12), (30, 1, 5, 5), {"groups": 30, "padding": 2}),
    ((1, 14, 12, 13), (14, 1, 5, 5), {"groups": 14, "dilation": 2, "padding": (4, 3)}),
    ((1, 31, 40, 40), (31, 1, 3, 3), {"groups": 31, "stride": 4, "dilation": 2}),
    ((0, 3, 8, 8), (4, 3, 3, 3), {}),
    ((0, 4, 8, 8), (4, 1, 3, 3), {"groups": 4}),
    ((2, 0, 8, 8), (4, 0, 3, 3), {}),
    ((2, 18, 1, 9), (9, 18, 1, 1), {"padding": (1, 0), "stride": (3, 1)}),  # sees nothing but padding
    ((2, 18, 6, 7), (9, 18, 1, 1), {}),
]


def adds_in_own_order(x: tuple[int, ...], w: tuple[int, ...]) -> bool:
    """Whether the weight gradient of channels_last images adds in another order than that of planes."""
    return w[2:] == (1, 1) or (w[1] == 1 and w[0] <= 2 * x[1] and w[2] * w[3] <= 256)


def text(x: tuple[int, ...], w: tuple[int, ...], options: dict[str, Any]) -> str:
    shapes = ["x".join(map(str, x)), "x".join(map(str, w))]
    return "-".join([*shapes, *(f"{k}{v}" for k, v in options.items())]).replace(" ", "")


def condition(name: str) -> Any:
    """The sum of the magnitudes of the products: the twin on magnitudes."""

    def scale(*args: Any, **kwargs: Any) -> Any:
        return [getattr(reference, name)(*(np.abs(a) if isinstance(a, np.ndarray) else a for a in args), **kwargs)]

    return scale


def with_shape(make: Any, shape: tuple[int, ...]) -> Any:
    return lambda rng, dtype: (*make(rng, dtype), shape)


# Error of a sum of at most 256 terms in one chain, then of block sums: some ulps of the sum of magnitudes suffice, as
# rounding errors of either sign cancel; a chain of 256 could in the worst case err by 128.
ULPS = 16

CASES = []
for x, w, o in CONVS:
    y = reference.conv2d(np.zeros(x), np.zeros(w), **o).shape
    calls: list[tuple[str, Any, Any]] = [
        ("conv2d", normal(x, w), integers(x, w)),
        ("conv2d_backward_input", with_shape(normal(y, w), x), with_shape(integers(y, w), x)),
        ("conv2d_backward_weight", with_shape(normal(y, x), w), with_shape(integers(y, x), w)),
        ("conv2d_backward_bias", normal(y), integers(y)),
    ]
    for name, args, whole in calls:
        options = {} if name == "conv2d_backward_bias" else o
        CASES.append(Case(name, text(x, w, o), args, options, ulps=ULPS, scale=condition(name), integers=whole))
        if name == "conv2d_backward_weight" and adds_in_own_order(x, w):
            CASES.append(channels_last(CASES[-1]))


def with_residual(make: Any, o: dict[str, Any]) -> Any:
    """(x, weight, bias, stride, padding, dilation, groups, activation, residual)."""

    def args(rng: np.random.Generator, dtype: np.dtype) -> tuple[Any, ...]:
        x, w, bias, residual = make(rng, dtype)
        options = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | o
        return x, w, bias, *options.values(), "relu", residual

    return args


for x, w, o in CONVS[1::2]:  # some of every way
    y = reference.conv2d(np.zeros(x), np.zeros(w), **o).shape
    made, exact = (with_residual(f(x, w, w[:1], y), o) for f in (normal, integers))
    case = Case("conv2d", f"residual-{text(x, w, o)}", made, {}, ULPS, condition("conv2d"), exact)
    CASES += [case, channels_last(case)]
for x, w, o in (CONVS[3], CONVS[22]):
    bias = (w[0],)
    for activation in ("none", "relu", "leaky_relu"):
        CASES.append(
            Case(
                "conv2d",
                f"bias-{activation}-{text(x, w, o)}",
                normal(x, w, bias),
                {**o, "activation": activation},
                ulps=ULPS,
                scale=condition("conv2d"),
                integers=integers(x, w, bias) if activation != "leaky_relu" else None,
            )
        )
