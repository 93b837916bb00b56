"""Memory formats: conversions, strides and errors as torch has them; operations keep them, gradients and states too."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.formats import format_of

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(3)
IMAGES = RNG.standard_normal((2, 3, 4, 5)).astype(np.float32)

LAYOUTS: dict[str, Callable[[Any, Any], Any]] = {
    "contiguous": lambda lib, x: x,
    "channels_last": lambda lib, x: x.to(memory_format=lib.channels_last),
    "one image": lambda lib, x: x[:1].to(memory_format=lib.channels_last),
    "permuted": lambda lib, x: x.permute(3, 1, 0, 2),
    "every other row": lambda lib, x: x[:, :, ::2],
    "every other row of channels_last": lambda lib, x: x.to(memory_format=lib.channels_last)[:, :, ::2],
    "some channels of channels_last": lambda lib, x: x.to(memory_format=lib.channels_last)[:, 1:],
    "three dimensions": lambda lib, x: x.permute(0, 2, 3, 1)[0],
    "a matrix": lambda lib, x: x.permute(3, 2, 0, 1)[:, :, 0, 0],
}
OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "relu": lambda lib, x: lib.relu(x),
    "neg": lambda lib, x: -x,
    "gelu": lambda lib, x: lib.nn.functional.gelu(x),
    "leaky_relu": lambda lib, x: lib.nn.functional.leaky_relu(x, 0.1),
    "clamp": lambda lib, x: lib.clamp(x, -0.5, 0.5),
    "add a number": lambda lib, x: x + 1,
    "from a number": lambda lib, x: 1 - x,
    "add itself": lambda lib, x: x + x,
    "times a contiguous one": lambda lib, x: x * x.contiguous(),
    "a contiguous one times it": lambda lib, x: x.contiguous() * x,
    "times its last dimension": lambda lib, x: x * x[..., -1:],
    "its first entry times it": lambda lib, x: x[:1] * x,
    "times a vector": lambda lib, x: x * lib.ones(x.shape[-1]),
    "compare": lambda lib, x: x > 0,
    "where": lambda lib, x: lib.where(x > 0, x, lib.zeros_like(x)),
    "cast": lambda lib, x: x.double(),
    "cast to bool": lambda lib, x: x.bool(),
    "clone": lambda lib, x: x.clone(),
    "clone contiguous": lambda lib, x: x.clone(memory_format=lib.contiguous_format),
    "contiguous": lambda lib, x: x.contiguous(),
    "to contiguous_format": lambda lib, x: x.to(memory_format=lib.contiguous_format),
    "to double, contiguous_format": lambda lib, x: x.to(lib.float64, memory_format=lib.contiguous_format),
    "zeros_like": lambda lib, x: lib.zeros_like(x),
    "ones_like": lambda lib, x: lib.ones_like(x, dtype=lib.int64),
    "full_like": lambda lib, x: lib.full_like(x, 2.5),
    "full_like contiguous": lambda lib, x: lib.full_like(x, 2.5, memory_format=lib.contiguous_format),
    "detach": lambda lib, x: x.detach(),
    "in place": lambda lib, x: x.clone().add_(1).mul_(x),
}
OF_IMAGES: dict[str, Callable[[Any, Any], Any]] = {
    "contiguous": lambda lib, x: x.contiguous(memory_format=lib.channels_last),
    "to": lambda lib, x: x.to(memory_format=lib.channels_last),
    "float": lambda lib, x: x.double().float(memory_format=lib.channels_last),
    "clone": lambda lib, x: x.clone(memory_format=lib.channels_last),
    "zeros_like": lambda lib, x: lib.zeros_like(x, memory_format=lib.channels_last),
    "scale channels": lambda lib, x: x * lib.ones(1, x.shape[1], 1, 1),
    "channels' scale": lambda lib, x: lib.ones(x.shape[1], 1, 1) * x,
    "cat": lambda lib, x: lib.cat([x, x], 1),
    "cat with a contiguous one": lambda lib, x: lib.cat([x, x.contiguous()], 1),
}


def agree(ours: Any, theirs: Any) -> None:
    assert ours.stride() == theirs.stride()
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-5, atol=1e-6)
    for name in ("contiguous_format", "channels_last"):
        contiguous = theirs.is_contiguous(memory_format=getattr(torch, name))
        assert ours.is_contiguous(memory_format=getattr(cr, name)) == contiguous


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_results_have_torchs_values_and_strides(layout: Any, operation: Any) -> None:
    ours, theirs = layout(cr, cr.tensor(IMAGES)), layout(torch, torch.tensor(IMAGES))
    assert ours.stride() == theirs.stride()
    agree(operation(cr, ours), operation(torch, theirs))


@pytest.mark.parametrize("operation", OF_IMAGES.values(), ids=OF_IMAGES)
@pytest.mark.parametrize("layout", [v for k, v in LAYOUTS.items() if k not in ("three dimensions", "a matrix")])
def test_images_in_either_format(layout: Any, operation: Any) -> None:
    agree(operation(cr, layout(cr, cr.tensor(IMAGES))), operation(torch, layout(torch, torch.tensor(IMAGES))))


def test_images_of_one_channel_and_of_one_pixel_keep_their_format() -> None:
    for part in (IMAGES[:, :1], IMAGES[:, :, :1, :1]):
        x = cr.tensor(part)
        assert (
            x.to(memory_format=cr.channels_last).stride()
            == torch.tensor(part).to(memory_format=torch.channels_last).stride()
        )
        assert x.contiguous(memory_format=cr.channels_last) is x  # nothing to move
        last = x.to(memory_format=cr.channels_last)
        for y in (cr.relu(last), last + last, last * 2, last.clone(), cr.rand_like(last)):
            assert y.stride() == last.stride()


def test_a_format_is_what_torch_takes_the_strides_for() -> None:
    from torch._prims_common import suggest_memory_format

    for shape in itertools.product((1, 2), (1, 3), (1, 4), (1, 5)):
        for order in itertools.permutations(range(4)):
            dense = np.zeros([shape[d] for d in order], np.float32).transpose(np.argsort(order))
            for view in (dense, dense[:1], dense[:0], dense[:, :1], dense[:, :, ::2], dense[..., 1:], dense[:, ::-1]):
                strides = tuple(s // view.itemsize for s in view.strides)
                if min(strides) < 0:
                    assert format_of(view) is cr.contiguous_format
                    continue
                last = suggest_memory_format(torch.empty_strided(view.shape, strides)) is torch.channels_last
                if len(view) <= 1:  # the stride to another image says nothing here
                    far = torch.empty_strided((1, *view.shape[1:]), (1000, *strides[1:]))
                    last = suggest_memory_format(far) is torch.channels_last
                assert (format_of(view) is cr.channels_last) == last, (view.shape, strides)


def test_one_image_of_a_batch_keeps_its_format() -> None:
    x = cr.tensor(IMAGES).to(memory_format=cr.channels_last)[1].unsqueeze(0).requires_grad_()
    y = cr.nn.functional.max_pool2d(x, 2)
    y.sum().backward()
    assert x.grad is not None
    for t in (x, y, x.grad, cr.nn.functional.conv2d(x, cr.ones(4, 3, 1, 1)), cr.cat([x, x])):
        assert format_of(t._array) is cr.channels_last
        assert t.is_contiguous(memory_format=cr.channels_last)
    assert x.to(memory_format=cr.channels_last) is x


def test_masked_fill_keeps_the_format_of_its_input() -> None:  # torch's result is contiguous
    last = cr.tensor(IMAGES).to(memory_format=cr.channels_last)
    for mask in (last > 0, last.contiguous() > 0, last[:1, :, :1] > 0):
        y = last.masked_fill(mask, 2.0)
        assert y.stride() == last.stride()
        np.testing.assert_array_equal(y.numpy(), np.where(np.broadcast_to(mask.numpy(), IMAGES.shape), 2, IMAGES))


@pytest.mark.parametrize("name", ["empty_like", "rand_like", "randn_like"])
def test_formats_of_new_tensors(name: str) -> None:
    for layout in LAYOUTS.values():
        ours, theirs = layout(cr, cr.tensor(IMAGES)), layout(torch, torch.tensor(IMAGES))
        made = getattr(cr, name)(ours)
        assert made.stride() == getattr(torch, name)(theirs).stride()
        assert getattr(cr, name)(ours, memory_format=cr.contiguous_format).is_contiguous()
    last = getattr(cr, name)(cr.tensor(IMAGES), memory_format=cr.channels_last)
    assert last.stride() == (60, 1, 15, 3)
    assert cr.empty(2, 3, 4, 5, memory_format=cr.channels_last).stride() == (60, 1, 15, 3)


def test_random_numbers_follow_each_other_in_memory() -> None:
    last = cr.tensor(IMAGES).to(memory_format=cr.channels_last)
    cr.manual_seed(1)
    there = cr.rand_like(last).permute(0, 2, 3, 1)
    cr.manual_seed(1)
    np.testing.assert_array_equal(there.numpy(), cr.rand(2, 4, 5, 3).numpy())
    cr.manual_seed(2)
    dropped = cr.ops.dropout(last).permute(0, 2, 3, 1)
    cr.manual_seed(2)
    np.testing.assert_array_equal(dropped.numpy(), cr.ops.dropout(last.permute(0, 2, 3, 1).contiguous()).numpy())


def test_what_a_format_is() -> None:
    assert repr(cr.channels_last) == "chainrule.channels_last"
    assert isinstance(cr.preserve_format, cr.memory_format)
    assert pickle.loads(pickle.dumps(cr.channels_last)) is cr.channels_last
    assert copy.deepcopy(cr.channels_last) is cr.channels_last


REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: cr.zeros(2, 3).contiguous(memory_format=cr.channels_last), RuntimeError, "required rank 4.*contiguous"),
    (lambda: cr.zeros(2, 3).to(memory_format=cr.channels_last), RuntimeError, "required rank 4.*to"),
    (lambda: cr.empty(2, 3, memory_format=cr.channels_last), RuntimeError, "required rank 4.*empty"),
    (lambda: cr.zeros_like(cr.zeros(2), memory_format=cr.channels_last), RuntimeError, "required rank 4.*zeros_like"),
    (lambda: cr.zeros(2).clone(memory_format=cr.channels_last_3d), RuntimeError, "channels_last_3d.*not supported"),
    (lambda: cr.zeros(2).contiguous(memory_format=cr.preserve_format), RuntimeError, "unsupported by the contiguous"),
    (lambda: cr.zeros(2).is_contiguous(memory_format=cr.preserve_format), RuntimeError, "unsupported"),
    (lambda: cr.zeros(2).to(memory_format="channels_last"), TypeError, "to: argument 'memory_format'"),
    (lambda: cr.nn.Linear(2, 2).to(memory_format=3), TypeError, "Module.to: argument 'memory_format'"),
    (lambda: cr.nn.Linear(2, 2).to(memory_format=cr.channels_last_3d), RuntimeError, "not supported"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=range(len(REFUSED)))
def test_refusals(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_leafs_gradient_lies_as_the_leaf_does() -> None:
    for leaf, inside in ((cr.contiguous_format, cr.channels_last), (cr.channels_last, cr.contiguous_format)):
        x = cr.tensor(IMAGES).to(memory_format=leaf).requires_grad_()
        for _ in range(3):
            (x.clone(memory_format=inside) * 2 + x.clone(memory_format=inside)).square().sum().backward()
            assert x.grad is not None
            assert x.grad.stride() == x.stride()
        np.testing.assert_allclose(x.grad.numpy(), 3 * 18 * IMAGES, rtol=1e-5)


def test_gradients_of_both_formats_are_added_up() -> None:
    x = cr.tensor(IMAGES, requires_grad=True)
    y = x * 2
    last = y.contiguous(memory_format=cr.channels_last)
    (cr.relu(last) + last * last + y.contiguous() * 3).sum().backward()
    t = torch.tensor(IMAGES, requires_grad=True)
    u = t * 2
    (torch.relu(u) + u * u + u * 3).sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-5, atol=1e-5)


def test_gradcheck_through_changes_of_format() -> None:
    def f(x: Any) -> Any:
        last = x.contiguous(memory_format=cr.channels_last)
        return cr.tanh(last) * last.contiguous() + cr.where(last > 0, last, x)

    x = cr.tensor(IMAGES[:1, :2, :2].astype(np.float64) + 0.01, requires_grad=True)
    assert cr.autograd.gradcheck(f, [x])
    assert cr.autograd.gradgradcheck(f, [x])


def test_a_view_changed_in_place_of_a_base_in_another_order() -> None:
    def run(lib: Any) -> Any:
        x = lib.arange(12.0).reshape(3, 4).clone().requires_grad_()
        base = (x * 1).t().clone().t()  # its columns lie together
        base.t().clone()
        view = base.t()
        view[1:3].mul_(3)
        (base * lib.arange(12.0).reshape(3, 4)).sum().backward()
        return x.grad.numpy()

    np.testing.assert_array_equal(run(cr), run(torch))

    def merged(lib: Any) -> Any:  # a view that exists in the base's own order alone
        x = lib.arange(12.0).reshape(3, 4).clone().requires_grad_()
        base = (x * 1).t().clone().t()
        base = base.t().clone(memory_format=lib.contiguous_format).t()
        base.t().view(-1)[2:5].mul_(3)
        (base * lib.arange(12.0).reshape(3, 4)).sum().backward()
        return x.grad.numpy()

    np.testing.assert_array_equal(merged(cr), merged(torch))


def test_module_to_leaves_parameters_and_takes_the_format() -> None:
    conv = cr.nn.Conv2d(3, 4, 3)
    strides = conv.weight.stride()
    assert conv.to(memory_format=cr.channels_last) is conv
    assert conv.weight.stride() == strides
    assert conv.to(cr.float64, memory_format=cr.channels_last).weight.dtype == cr.float64
