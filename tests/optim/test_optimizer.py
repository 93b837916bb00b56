"""The optimizers' own behaviour: groups, state, refusals, interrupted steps, long runs."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import threading
from typing import Any

import numpy as np
import pytest

from chainrule import kernels, optim
from chainrule.tensor import Tensor

MAKERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
]
each_maker = pytest.mark.parametrize(("name", "options"), MAKERS)


def leaf(*values: float, dtype: Any = np.float32) -> Tensor:
    return Tensor(np.array(values, dtype), requires_grad=True)


def with_grad(p: Tensor, *values: float) -> Tensor:
    p.grad = Tensor(np.array(values, p.dtype))
    return p


@each_maker
def test_float32_and_float64_parameters_in_one_group(name: str, options: dict[str, Any]) -> None:
    a, b = with_grad(leaf(1, 2), 1, -1), with_grad(leaf(1, 2, dtype=np.float64), 1, -1)
    opt = getattr(optim, name)([a, b], **options)
    opt.step()
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-6)
    assert a.detach().numpy()[0] != 1
    assert (a.dtype, b.dtype) == (np.float32, np.float64)


@each_maker
def test_a_parameter_without_gradient_is_left_alone(name: str, options: dict[str, Any]) -> None:
    a, b = with_grad(leaf(1), 1), leaf(2)
    opt = getattr(optim, name)([a, b], **options)
    opt.step()
    assert b.item() == 2
    assert b not in opt.state
    assert a.item() != 1


@each_maker
def test_updates_go_into_the_same_memory_and_count_as_modifications(name: str, options: dict[str, Any]) -> None:
    a = with_grad(leaf(1), 1)
    memory, version = a.detach().numpy(), a._version
    getattr(optim, name)([a], **options).step()
    assert memory[0] == a.item() != 1
    assert a._version > version


@each_maker
def test_pickle_and_deepcopy_continue_bit_for_bit(name: str, options: dict[str, Any]) -> None:
    a = with_grad(leaf(1, 2, 3), 1, 2, 3)
    opt = getattr(optim, name)([a], **options)
    opt.step()
    others = [copy.deepcopy(opt), pickle.loads(pickle.dumps(opt))]
    for o in (opt, *others):
        p = o.param_groups[0]["params"][0]
        with_grad(p, 3, 2, 1)
        o.step()
        np.testing.assert_array_equal(p.detach().numpy(), a.detach().numpy())
    assert others[0].param_groups[0]["params"][0] is not a


def test_groups_have_their_own_options() -> None:
    a, b = with_grad(leaf(1), 1), with_grad(leaf(1), 1)
    opt = optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.25)
    opt.step()
    assert (a.item(), b.item()) == (0.75, 0.5)
    opt.param_groups[0]["lr"] = 0.125
    opt.add_param_group({"params": [c := with_grad(leaf(1), 1)], "lr": 1.0})
    opt.step()
    assert (a.item(), b.item(), c.item()) == (0.625, 0.0, 0.0)


def test_named_parameters() -> None:
    opt = optim.SGD([("w", leaf(1)), ("b", leaf(2))], lr=0.1)
    assert opt.param_groups[0]["param_names"] == ["w", "b"]
    assert opt.state_dict()["param_groups"][0]["param_names"] == ["w", "b"]


def test_zero_grad() -> None:
    a = with_grad(leaf(1), 1)
    opt = optim.SGD([a])
    kept = a.grad
    opt.zero_grad(set_to_none=False)
    assert a.grad is not None
    assert a.grad.item() == 0
    assert kept is not None
    assert kept.item() == 0
    opt.zero_grad()
    assert a.grad is None


def test_closure_and_hooks() -> None:
    a = leaf(1)
    opt = optim.SGD([a], lr=0.5)
    calls: list[str] = []
    opt.register_step_pre_hook(lambda *_: calls.append("pre"))
    removed = opt.register_step_pre_hook(lambda *_: calls.append("removed"))
    opt.register_step_post_hook(lambda *_: calls.append("post"))
    removed.remove()

    def closure() -> str:
        calls.append("closure")
        with_grad(a, 1)
        return "loss"

    assert opt.step(closure) == "loss"
    assert calls == ["pre", "closure", "post"]
    assert a.item() == 0.5


@pytest.mark.parametrize(
    ("params", "error", "match"),
    [
        (leaf(1), TypeError, "should be an iterable of Tensors or dicts"),
        ([], ValueError, "empty parameter list"),
        ([1.0], TypeError, "can only optimize Tensors"),
        ([np.zeros(3)], TypeError, "can only optimize Tensors"),
        ([{"params": {leaf(1)}}], TypeError, "ordered collections"),
        ([leaf(1)] * 2, ValueError, "duplicate parameters|share memory"),
        ([("a", leaf(1)), leaf(2)], ValueError, "names"),
    ],
)
def test_bad_parameters(params: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        optim.SGD(params)


def test_one_parameter_in_two_groups_is_refused() -> None:
    a = leaf(1)
    with pytest.raises(ValueError, match="more than one parameter group"):
        optim.SGD([{"params": [a]}, {"params": [a]}])


def test_differentiable_is_refused() -> None:
    for maker in (optim.SGD, optim.Adam, optim.AdamW):
        with pytest.raises(ValueError, match="differentiable"):
            maker([leaf(1)], differentiable=True)


@each_maker
def test_a_state_dict_that_does_not_fit_changes_nothing(name: str, options: dict[str, Any]) -> None:
    a, b = with_grad(leaf(1, 2), 1, 1), with_grad(leaf(3), 1)
    opt = getattr(optim, name)([a, b], **options)
    opt.step()
    groups, state = copy.deepcopy(opt.param_groups[0]["lr"]), opt.state_dict()
    good = copy.deepcopy(state)

    def bad(change: Any) -> None:
        broken = copy.deepcopy(good)
        broken["param_groups"][0]["lr"] = 77.0
        change(broken)
        with pytest.raises(ValueError, match=r"loaded state dict|Invalid"):
            opt.load_state_dict(broken)
        assert opt.param_groups[0]["lr"] == groups
        now = opt.state_dict()
        for i, values in state["state"].items():
            assert all(now["state"][i][k] is v for k, v in values.items())

    bad(lambda d: d["param_groups"].append(d["param_groups"][0]))
    bad(lambda d: d["param_groups"][0]["params"].pop())
    bad(lambda d: d["param_groups"][0].update(lr=-1.0))
    bad(lambda d: d["state"].update({7: {}}))
    bad(lambda d: d["state"].setdefault(0, {}).update(exp_avg=np.zeros(3, np.float32)))


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_the_counter_goes_on_past_2_to_the_24(name: str) -> None:
    """A float32 counter, as PyTorch's, sticks at 2^24."""
    a = leaf(1)
    opt = getattr(optim, name)([a])
    with_grad(a, 1)
    opt.step()
    saved = opt.state_dict()
    saved["state"][0]["step"] = Tensor(np.array(2**24, np.int64))
    opt.load_state_dict(saved)
    for _ in range(3):
        opt.step()
    assert opt.state[a]["step"].item() == 2**24 + 3


@pytest.mark.parametrize("delay", [0.3, 0.35, 0.4])
def test_an_interrupt_never_leaves_a_torn_step(delay: float) -> None:
    """Ctrl-C while a long step runs: every tensor has taken as many steps as its counter says, all equally many.

    Counters that are large and all different make a step of tiny tensors long: each needs its own bias correction.
    """
    count, first = 60_000, 2**52
    p, m, v = ([np.zeros(1) for _ in range(count)] for _ in range(3))
    grads = [np.ones(1)] * count
    steps = [np.array(first + i) for i in range(count)]
    done = threading.Event()

    def interrupt() -> None:
        if not done.wait(delay):
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        thread.start()
        for _ in range(1000):
            kernels.adam(p, grads, m, v, None, steps, lr=0.5, beta1=0.5, beta2=0.5, eps=0.0)
    done.set()
    thread.join()
    taken = {int(s) - first - i for i, s in enumerate(steps)}
    assert len(taken) == 1
    n = taken.pop()
    assert 0 < n < 1000
    assert {x.item() for x in m} == {1 - 0.5**n}
    assert {x.item() for x in v} == {1 - 0.5**n}
    assert len({x.item() for x in p}) == 1
