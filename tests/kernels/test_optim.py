"""The optimizer kernels: refusals that write nothing, extreme norms, long counters, PyTorch's own updates."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

from chainrule import kernels

Array = np.ndarray


def adam_args() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    lists: dict[str, Any] = {
        name: [np.abs(rng.standard_normal(s)).astype(np.float32) for s in ((3, 4), (5,))]
        for name in ("params", "grads", "exp_avgs", "exp_avg_sqs", "max_exp_avg_sqs")
    }
    return {**lists, "steps": [np.array(1), np.array(2)], "lr": 0.1}


def sgd_args() -> dict[str, Any]:
    a = adam_args()
    return {"params": a["params"], "grads": a["grads"], "buffers": a["exp_avgs"], "steps": a["steps"], "lr": 0.1}


def clip_args() -> dict[str, Any]:
    return {"grads": adam_args()["grads"], "max_norm": 0.1}


def value_args() -> dict[str, Any]:
    return {"grads": adam_args()["grads"], "limit": 0.1}


ARGS = {"adam": adam_args, "sgd": sgd_args, "clip_grad_norm": clip_args, "clip_grad_value": value_args}


def read_only(a: Array) -> Array:
    a.flags.writeable = False
    return a


def replaced(args: dict[str, Any], name: str, item: Any) -> None:
    args[name][1] = item


LISTS = [
    *(("adam", n) for n in ("params", "grads", "exp_avgs", "exp_avg_sqs", "max_exp_avg_sqs")),
    *(("sgd", n) for n in ("params", "grads", "buffers")),
    ("clip_grad_norm", "grads"),
    ("clip_grad_value", "grads"),
]
WRITTEN = [(op, n) for op, n in LISTS if n != "grads" or op.startswith("clip")]


def refused(op: str, args: dict[str, Any], error: type[Exception], match: str) -> None:
    before = copy.deepcopy(args)
    with pytest.raises(error, match=match):
        getattr(kernels, op)(**args)
    for name, value in before.items():
        if isinstance(value, list):
            for old, new in zip(value, args[name], strict=True):
                np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(("op", "name"), LISTS)
@pytest.mark.parametrize(
    ("item", "error"),
    [
        (None, TypeError),
        ([1.0] * 5, TypeError),
        (np.zeros(5), TypeError),
        (np.zeros(5, np.float16), TypeError),
        (np.zeros(5, np.int64), TypeError),
        (np.zeros(5, np.complex64), TypeError),
    ],
)
def test_wrong_items(op: str, name: str, item: Any, error: type[Exception]) -> None:
    args = ARGS[op]()
    replaced(args, name, item)
    refused(op, args, error, rf"^{op}: argument '{name}\[1\]'")


@pytest.mark.parametrize(("op", "name"), [x for x in LISTS if not x[0].startswith("clip") and x[1] != "params"])
@pytest.mark.parametrize("shape", [(4,), (6,), (5, 1), (1, 5), (0,), ()])
def test_wrong_shapes(op: str, name: str, shape: tuple[int, ...]) -> None:
    args = ARGS[op]()
    replaced(args, name, np.zeros(shape, np.float32))
    refused(op, args, ValueError, rf"^{op}: argument '{name}\[1\]'.*shape of params\[1\], \(5,\)")


@pytest.mark.parametrize(("op", "name"), WRITTEN)
@pytest.mark.parametrize(
    "item",
    [
        np.zeros(10, np.float32)[::2],
        np.zeros(5, np.float32)[::-1],
        np.zeros(5, ">f4"),
        np.zeros(21, np.uint8)[1:].view(np.float32),
        read_only(np.zeros(5, np.float32)),
    ],
    ids=["strided", "backwards", "big-endian", "misaligned", "read-only"],
)
def test_written_arrays_that_cannot_be_written_in_place(op: str, name: str, item: Array) -> None:
    args = ARGS[op]()
    replaced(args, name, item)
    refused(op, args, (ValueError, TypeError), rf"^{op}: argument '{name}\[1\]'")  # type: ignore[arg-type]


@pytest.mark.parametrize("op", ["adam", "sgd"])
@pytest.mark.parametrize(
    "view",
    [
        lambda g: np.repeat(g, 2)[::2],
        lambda g: g[::-1].copy()[::-1],
        lambda g: g.astype(">f4"),
        lambda g: np.frombuffer(b"x" + g.tobytes(), np.uint8)[1:].view(np.float32),
        lambda g: read_only(g.copy()),
    ],
    ids=["strided", "backwards", "big-endian", "misaligned", "read-only"],
)
def test_gradients_may_be_any_view(op: str, view: Any) -> None:
    plain, viewed = ARGS[op](), ARGS[op]()
    replaced(viewed, "grads", view(viewed["grads"][1]))
    for a, b in zip(getattr(kernels, op)(**plain), getattr(kernels, op)(**viewed), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("op", "name"), [*(x for x in LISTS if x[0] in ("adam", "sgd")), ("adam", "steps")])
def test_lists_of_other_lengths(op: str, name: str) -> None:
    args = ARGS[op]()
    args[name] = args[name][:1]
    other = "grads" if name == "params" else name
    refused(op, args, ValueError, rf"^{op}: argument '{other}' is a list of \d, want as many as 'params', \d$")


@pytest.mark.parametrize("op", list(ARGS))
@pytest.mark.parametrize("bad", [None, 1, np.zeros(3, np.float32), "abc"])
def test_what_is_no_list(op: str, bad: Any) -> None:
    args = ARGS[op]()
    name = "grads" if op.startswith("clip") else "params"
    args[name] = bad
    refused(op, args, TypeError, rf"^{op}: argument '{name}' is .*, want a list of arrays")


@pytest.mark.parametrize(
    ("op", "first", "second"),
    [
        ("adam", "params", "params"),
        ("adam", "params", "exp_avgs"),
        ("adam", "exp_avg_sqs", "max_exp_avg_sqs"),
        ("adam", "params", "grads"),
        ("sgd", "params", "buffers"),
        ("sgd", "buffers", "grads"),
        ("clip_grad_norm", "grads", "grads"),
        ("clip_grad_value", "grads", "grads"),
    ],
)
def test_shared_memory_is_refused(op: str, first: str, second: str) -> None:
    args = ARGS[op]()
    args[second][1] = args[first][0].reshape(-1)[2:7]
    refused(op, args, ValueError, rf"^{op}: two of the arrays share memory")


def test_one_counter_for_two_parameters_is_refused() -> None:
    args = adam_args()
    args["steps"] = [args["steps"][0]] * 2
    refused("adam", args, ValueError, "^adam: two of the arrays share memory")


def test_gradients_may_share_memory() -> None:
    base = np.ones(8, np.float32)
    a, b = kernels.sgd([np.zeros(5, np.float32), np.zeros(5, np.float32)], [base[:5], base[3:]], lr=1.0)
    np.testing.assert_array_equal(a, -np.ones(5))
    np.testing.assert_array_equal(b, -np.ones(5))


@pytest.mark.parametrize(
    ("op", "name", "value"),
    [
        ("adam", "lr", math.nan),
        ("adam", "lr", math.inf),
        ("adam", "beta1", 1.0),
        ("adam", "beta1", -0.1),
        ("adam", "beta2", 1.5),
        ("adam", "beta2", math.nan),
        ("adam", "eps", -1e-8),
        ("adam", "weight_decay", math.nan),
        ("sgd", "lr", math.nan),
        ("sgd", "momentum", math.inf),
        ("sgd", "dampening", math.nan),
        ("sgd", "weight_decay", -math.inf),
        ("clip_grad_norm", "max_norm", -1.0),
        ("clip_grad_norm", "max_norm", math.nan),
        ("clip_grad_value", "limit", -1.0),
        ("clip_grad_value", "limit", math.nan),
    ],
)
def test_bad_settings(op: str, name: str, value: float) -> None:
    refused(op, {**ARGS[op](), name: value}, ValueError, f"^{op}: argument '{name}'")


@pytest.mark.parametrize("bad", [np.array(-1), np.zeros(2, np.int64), read_only(np.array(1))])
def test_bad_counters(bad: Array) -> None:
    args = adam_args()
    replaced(args, "steps", bad)
    refused("adam", args, ValueError, r"^adam: argument 'steps\[1\]'")


@pytest.mark.parametrize("bad", [np.array(1, np.int32), np.array(1.0), 1])
def test_counters_of_another_type(bad: Any) -> None:
    args = adam_args()
    replaced(args, "steps", bad)
    refused("adam", args, TypeError, r"^adam: argument 'steps\[1\]'")


def test_momentum_needs_its_state() -> None:
    args = {**sgd_args(), "buffers": None, "steps": None, "momentum": 0.9}
    refused("sgd", args, ValueError, "^sgd: momentum needs 'buffers' and 'steps'")
    refused("sgd", {**sgd_args(), "steps": None}, ValueError, "^sgd: 'buffers' and 'steps' come together")


@pytest.mark.parametrize("step", [0, 9, 2**24 - 1, 2**24, 2**24 + 1, 2**40, 2**53 + 2])
def test_bias_correction_over_the_whole_counter(step: int, isa: str) -> None:
    """In float64 the corrections agree with Python's own power to the last bits, and the counter never sticks."""
    beta1, beta2 = 1 - 2.0**-24, 1 - 2.0**-26  # slow enough that 2^24 steps leave a visible correction
    p, g, m, v, t = np.zeros(3), np.ones(3), np.full(3, 0.5), np.full(3, 0.25), np.array(step)
    kernels.adam([p], [g], [m], [v], None, [t], lr=1.0, beta1=beta1, beta2=beta2, eps=0.0)
    assert t == step + 1
    expected = -m / (1 - beta1 ** (step + 1)) / (np.sqrt(v) / math.sqrt(1 - beta2 ** (step + 1)))
    np.testing.assert_allclose(p, expected, rtol=1e-14)


def test_counters_of_a_list_differ(isa: str) -> None:
    """Each tensor is corrected by its own counter."""
    together = adam_args()
    together["steps"] = [np.array(3), np.array(700)]
    alone = [{k: [v[i]] if isinstance(v, list) else v for k, v in copy.deepcopy(together).items()} for i in range(2)]
    whole = kernels.adam(**together)
    parts = [kernels.adam(**a) for a in alone]
    for i, array in enumerate(whole):
        np.testing.assert_array_equal(array, parts[i % 2][i // 2])


@pytest.mark.parametrize("scale", [1e-320, 1e-300, 1e-160, 1e-150, 1.0, 1e150, 1e160, 1e300])
def test_the_norm_of_extreme_float64(scale: float, isa: str) -> None:
    x = np.random.default_rng(0).uniform(0.5, 1, 300)
    norm = kernels.total_norm([x[:100] * scale, x[100:] * scale])
    expected = math.hypot(*(x * scale))
    np.testing.assert_allclose(norm, expected, rtol=1e-14, atol=2e-323)


def test_the_norm_of_a_wide_range(isa: str) -> None:
    assert kernels.total_norm([np.array([1e-200, 3e-160, 4e-160])]) == pytest.approx(5e-160, rel=1e-14)
    assert kernels.total_norm([np.array([3e-150, 1e-155, 4e-150])]) == pytest.approx(5e-150, rel=1e-9)
    assert kernels.total_norm([np.array([3e200, 4e200, 1.0, 1e-300])]) == pytest.approx(5e200, rel=1e-14)


def test_the_norm_of_extreme_float32(isa: str) -> None:
    assert kernels.total_norm([np.array([3e30, 4e30], np.float32)]) == np.float32(5e30)
    assert kernels.total_norm([np.array([3e-40, 4e-40], np.float32)]) == pytest.approx(5e-40, rel=1e-5)
    assert kernels.total_norm([np.full(4, 3e38, np.float32)]) == np.inf


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_norms_that_are_not_finite(bad: float, dtype: Any, isa: str) -> None:
    g = np.ones(40, dtype)
    g[17] = bad
    expected = np.nan if np.isnan(bad) else np.inf
    np.testing.assert_equal(kernels.total_norm([g]), np.asarray(expected, dtype))
    norm, clipped = kernels.clip_grad_norm([g], 1.0)
    np.testing.assert_equal(norm, np.asarray(expected, dtype))
    if np.isnan(bad):
        assert np.isnan(clipped).all()  # as PyTorch: NaN reaches every gradient
    else:
        assert np.isnan(clipped[17])
        assert (np.delete(clipped, 17) == 0).all()


def test_an_empty_list_has_norm_zero() -> None:
    norm = kernels.total_norm([])
    assert norm == 0
    assert norm.shape == ()
    assert kernels.clip_grad_norm([], 1.0) == [0]
    assert kernels.sgd([], [], lr=0.1) == []


def test_clipping_keeps_nan(isa: str) -> None:
    (g,) = kernels.clip_grad_value([np.array([np.nan, np.inf, -np.inf, 0.25, -3], np.float32)], 0.5)
    np.testing.assert_array_equal(g, np.array([np.nan, 0.5, -0.5, 0.25, -0.5], np.float32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_outside_the_arrays_is_written(dtype: Any, isa: str, threads: int) -> None:
    """Parameters and state as neighbours in one buffer: each call writes its slices and not the gaps."""
    sizes = [1, 7, 15, 16, 17, 31, 8191, 8192, 8193]
    buffer = np.full(4 * (sum(sizes) + len(sizes)), 7, dtype)
    lists: list[list[Array]] = [[], [], [], []]
    inside = np.zeros(buffer.shape, bool)
    at = 0
    for part in lists:
        for n in sizes:
            part.append(buffer[at : at + n])
            inside[at : at + n] = True
            at += n + 1
    grads = [np.ones(n, dtype) for n in sizes]
    kernels.adam(lists[0], grads, lists[1], lists[2], lists[3], [np.array(0) for _ in sizes], lr=0.1)
    kernels.sgd(lists[0], grads, lists[1], [np.array(1) for _ in sizes], lr=0.1, momentum=0.9)
    kernels.clip_grad_norm(lists[0], 0.5)
    kernels.clip_grad_value(lists[3], 0.5)
    assert (buffer[~inside] == 7).all()
    assert (buffer[inside] != 7).all()
