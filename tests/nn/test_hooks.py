"""Forward and backward hooks, and their handles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule
from chainrule import nn


class Double(nn.Module):
    def forward(self, x: Any, times: float = 2.0) -> Any:
        return x * times


def ones(n: int = 2) -> Any:
    return chainrule.ones(n)


def test_forward_pre_hook_sees_and_replaces_the_arguments() -> None:
    m = Double()
    seen: list[Any] = []
    log = m.register_forward_pre_hook(lambda mod, args: seen.append((mod, args)))
    change = m.register_forward_pre_hook(lambda mod, args: args[0] * 10)
    x = ones()
    np.testing.assert_array_equal(m(x).numpy(), [20, 20])
    assert seen[0][0] is m
    assert seen[0][1][0] is x
    change.remove()
    np.testing.assert_array_equal(m(x).numpy(), [2, 2])
    log.remove()
    log.remove()  # twice is harmless
    m(x)
    assert len(seen) == 2


def test_hooks_with_keyword_arguments() -> None:
    m = Double()
    with m.register_forward_pre_hook(
        lambda mod, args, kwargs: (args, {"times": kwargs["times"] + 1}), with_kwargs=True
    ):
        np.testing.assert_array_equal(m(ones(), times=3.0).numpy(), [4, 4])
    np.testing.assert_array_equal(m(ones(), times=3.0).numpy(), [3, 3])
    seen: list[Any] = []
    m.register_forward_hook(lambda mod, args, kwargs, out: seen.append(kwargs), with_kwargs=True)
    m(ones(), times=5.0)
    assert seen == [{"times": 5.0}]
    m.register_forward_pre_hook(lambda mod, args, kwargs: args, with_kwargs=True)
    with pytest.raises(RuntimeError, match="new_args, new_kwargs"):
        m(ones(), times=5.0)


def test_forward_hooks_run_in_order_and_replace_the_output() -> None:
    m = Double()
    order: list[str] = []
    m.register_forward_hook(lambda mod, args, out: order.append("first"))
    m.register_forward_hook(lambda mod, args, out: out + 1)
    m.register_forward_hook(lambda mod, args, out: order.append("earliest"), prepend=True)
    np.testing.assert_array_equal(m(ones()).numpy(), [3, 3])
    assert order == ["earliest", "first"]


def test_always_called_hooks_run_when_forward_fails() -> None:
    class Failing(nn.Module):
        def forward(self, x: Any) -> Any:
            raise ArithmeticError("no")

    m = Failing()
    called: list[str] = []
    m.register_forward_hook(lambda mod, args, out: called.append("never"))
    m.register_forward_hook(lambda mod, args, out: called.append(f"always {out}"), always_call=True)
    with pytest.raises(ArithmeticError):
        m(ones())
    assert called == ["always None"]


def test_full_backward_hook_sees_both_gradients_and_may_replace() -> None:
    m = Double()
    seen: list[Any] = []
    handle = m.register_full_backward_hook(lambda mod, gi, go: seen.append((mod, gi, go)))
    x = ones()
    x.requires_grad_()
    (m(x) * 3).sum().backward()
    assert seen[0][0] is m
    np.testing.assert_array_equal(seen[0][1][0].numpy(), [6, 6])
    np.testing.assert_array_equal(seen[0][2][0].numpy(), [3, 3])
    np.testing.assert_array_equal(x.grad.numpy(), [6, 6])
    handle.remove()
    m.register_full_backward_hook(lambda mod, gi, go: (gi[0] * 0 + 1,))
    m.register_full_backward_pre_hook(lambda mod, go: (go[0] * 10,))
    x.grad = None
    y = chainrule.ones(2)
    y.requires_grad_()
    m(y).sum().backward()
    np.testing.assert_array_equal(y.grad.numpy(), [1, 1])
    m._backward_hooks.clear()
    y.grad = None
    m(y).sum().backward()
    np.testing.assert_array_equal(y.grad.numpy(), [20, 20])


def test_full_backward_hook_without_a_gradient_for_the_input() -> None:
    m = nn.Linear(2, 1)
    seen: list[Any] = []
    m.register_full_backward_hook(lambda mod, gi, go: seen.append((gi, go[0].numpy())))
    m(chainrule.ones(1, 2)).sum().backward()
    assert seen[0][0] == (None,)
    np.testing.assert_array_equal(seen[0][1], [[1]])
    assert m.weight.grad is not None
    m.register_full_backward_hook(lambda mod, gi, go: (ones(),))
    with pytest.raises(RuntimeError, match="must return None"):
        m(chainrule.ones(1, 2)).sum().backward()


def test_full_backward_hooks_refuse_what_they_cannot_follow() -> None:
    class Dictionary(nn.Module):
        def forward(self, x: Any) -> Any:
            return {"x": x}

    m = Dictionary()
    m.register_full_backward_hook(lambda mod, gi, go: None)
    with pytest.raises(TypeError, match="Tensor or a tuple of Tensors, got dict"):
        m(ones())
    m = Double()
    m.register_full_backward_hook(lambda mod, gi, go: (None, None))
    x = ones()
    x.requires_grad_()
    with pytest.raises(RuntimeError, match="returned 2 gradients, expected 1"):
        m(x).sum().backward()


def test_backward_hooks_do_nothing_without_grad() -> None:
    m = nn.Linear(2, 1)
    m.register_full_backward_hook(lambda mod, gi, go: pytest.fail("called"))
    with chainrule.no_grad():
        assert not m(chainrule.ones(1, 2)).requires_grad
