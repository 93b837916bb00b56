"""Whole training steps: the same nets, weights and batches in every library, losses proved equal first.

A model is written once for PyTorch's API; chainrule runs it with its own module in place of ``torch``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import chainrule
from bench.contenders import available, module
from bench.nets import NETS, Net

Weights = list[np.ndarray]


@dataclass(frozen=True)
class Step:
    """A net, a batch and a loss. The optimizer is Adam with its defaults and lr 1e-3."""

    name: str
    layers: tuple[Any, ...]  # ("linear", in, out), ("conv", in, out, kernel), ("pool", size), ("flatten",), activations
    inputs: tuple[int, ...]
    loss: str  # "mse" | "cross_entropy"
    outputs: int
    tolerance: float = 1e-4  # of three steps' losses, relative

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(1)
        x = rng.standard_normal(self.inputs).astype(np.float32)
        if self.loss == "mse":
            return x, rng.standard_normal((len(x), self.outputs)).astype(np.float32)
        return x, rng.integers(0, self.outputs, len(x))

    def weights(self) -> Weights:
        rng = np.random.default_rng(2)
        found = []
        for kind, *sizes in self.layers:
            if kind in ("linear", "conv"):
                shape = (sizes[1], sizes[0], *2 * sizes[2:])
                bound = 1 / np.sqrt(np.prod(shape[1:]))
                found += [rng.uniform(-bound, bound, s).astype(np.float32) for s in (shape, shape[:1])]
        return found


STEPS: list[Step | Net] = [
    Step(
        "RL MLP 17-64-64-6, batch 64",
        (("linear", 17, 64), ("tanh",), ("linear", 64, 64), ("tanh",), ("linear", 64, 6)),
        (64, 17),
        "mse",
        6,
    ),
    Step(
        "HIGGS MLP 28-5x300-1, batch 100",
        (("linear", 28, 300), ("tanh",), *(("linear", 300, 300), ("tanh",)) * 4, ("linear", 300, 1)),
        (100, 28),
        "mse",
        1,
    ),
    Step(
        "MNIST MLP 784-512-256-10, batch 128",
        (("linear", 784, 512), ("relu",), ("linear", 512, 256), ("relu",), ("linear", 256, 10)),
        (128, 784),
        "cross_entropy",
        10,
    ),
    Step(
        "autoencoder 784-128-64-128-784, batch 128",
        (
            *(("linear", 784, 128), ("relu",), ("linear", 128, 64), ("relu",)),
            *(("linear", 64, 128), ("relu",), ("linear", 128, 784)),
        ),
        (128, 784),
        "mse",
        784,
    ),
    Step(
        "LeNet, batch 64",
        (
            *(("conv", 1, 6, 5), ("relu",), ("pool", 2), ("conv", 6, 16, 5), ("relu",), ("pool", 2), ("flatten",)),
            *(("linear", 256, 120), ("relu",), ("linear", 120, 84), ("relu",), ("linear", 84, 10)),
        ),
        (64, 1, 28, 28),
        "cross_entropy",
        10,
    ),
    *NETS,
]


def by_torch_api(torch: Any, step: Step | Net, form: str = "") -> Callable[[], float]:
    """The step by PyTorch's API, in torch or in chainrule; ``form`` is "compiled" or "channels_last" or neither."""
    if isinstance(step, Net):
        model, batch = step.model(torch), step.batch(np.random.default_rng(1))
        chainrule.manual_seed(2)
        weights = {k: v.numpy().copy() for k, v in step.model(chainrule).state_dict().items()}
        model.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
        loss_of = partial(step.loss, torch, model)
    else:
        model, batch = sequential(torch, step), step.batch()
        loss_of = partial(step_loss, torch, step, model)
    peer = torch.__name__ == "torch"
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, **({"fused": True} if peer else {}))
    tensors = [torch.from_numpy(array) for array in batch]
    if form == "channels_last":
        model.to(memory_format=torch.channels_last)
        tensors = [t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t for t in tensors]
    if form == "compiled" and peer:
        loss_of = torch.compile(loss_of)

    def train(*tensors: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(*tensors)
        loss.backward()
        optimizer.step()
        return loss

    run = chainrule.compile(train) if form == "compiled" and not peer else train
    return lambda: float(run(*tensors).item())


def sequential(torch: Any, step: Step) -> Any:
    nn = torch.nn
    made = {
        "linear": nn.Linear,
        "conv": nn.Conv2d,
        "pool": nn.MaxPool2d,
        "flatten": nn.Flatten,
        "relu": nn.ReLU,
        "tanh": nn.Tanh,
    }
    model = nn.Sequential(*(made[kind](*sizes) for kind, *sizes in step.layers))
    with torch.no_grad():
        for p, w in zip(model.parameters(), step.weights(), strict=True):
            p.copy_(torch.from_numpy(w))
    return model


def step_loss(torch: Any, step: Step, model: Any, x: Any, y: Any) -> Any:
    F = torch.nn.functional
    return (F.mse_loss if step.loss == "mse" else F.cross_entropy)(model(x), y)


def with_jax(step: Step) -> Callable[[], float]:
    jax = module("jax")
    jnp, lax = jax.numpy, jax.lax
    x, y = map(jnp.asarray, step.batch())

    def forward(weights: list[Any], h: Any) -> Any:
        left = iter(weights)
        for kind, *sizes in step.layers:
            if kind == "linear":
                h = h @ next(left).T + next(left)
            elif kind == "conv":
                h = lax.conv(h, next(left), (1, 1), "VALID") + next(left)[:, None, None]
            elif kind == "pool":
                window = (1, 1, sizes[0], sizes[0])
                h = lax.reduce_window(h, -jnp.inf, lax.max, window, window, "VALID")
            elif kind == "flatten":
                h = h.reshape(len(h), -1)
            else:
                h = jnp.tanh(h) if kind == "tanh" else jax.nn.relu(h)
        return h

    def loss_of(weights: list[Any]) -> Any:
        out = forward(weights, x)
        if step.loss == "mse":
            return jnp.mean((out - y) ** 2)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(out), y[:, None], 1))

    def update(state: Any) -> Any:
        weights, m, v, t = state
        loss, grads = jax.value_and_grad(loss_of)(weights)
        t = t + 1
        m = [0.9 * a + 0.1 * g for a, g in zip(m, grads, strict=True)]
        v = [0.999 * a + 0.001 * g * g for a, g in zip(v, grads, strict=True)]
        weights = [
            w - 1e-3 * (a / (1 - 0.9**t)) / (jnp.sqrt(b / (1 - 0.999**t)) + 1e-8)
            for w, a, b in zip(weights, m, v, strict=True)
        ]
        return loss, (weights, m, v, t)

    compiled = jax.jit(update, donate_argnums=0)
    weights = [jnp.asarray(w) for w in step.weights()]
    state = [(weights, [jnp.zeros_like(w) for w in weights], [jnp.zeros_like(w) for w in weights], jnp.float32(0))]

    def run() -> float:
        loss, state[0] = compiled(state[0])
        return float(loss)

    return run


def with_numpy(step: Step) -> Callable[[], float] | None:
    """Hand-written NumPy, for nets of linear layers."""
    if any(kind in ("conv", "pool") for kind, *_ in step.layers):
        return None
    x, y = step.batch()
    weights = step.weights()
    m, v = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    count = [0]

    def run() -> float:
        h, saved, left = x, [], iter(weights)
        for kind, *_ in step.layers:
            saved.append(h)
            h = (
                h @ next(left).T + next(left)
                if kind == "linear"
                else np.tanh(h)
                if kind == "tanh"
                else np.maximum(h, 0)
            )
            if kind != "linear":
                saved[-1] = h
        if step.loss == "mse":
            d = h - y
            loss, d = float((d * d).mean()), d * np.float32(2 / d.size)
        else:
            p = np.exp(h - h.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            rows = np.arange(len(y))
            loss, d = float(-np.log(p[rows, y]).mean()), p
            d[rows, y] -= 1
            d /= np.float32(len(y))
        grads: Weights = []
        at = len(weights)
        for (kind, *_), s in zip(reversed(step.layers), reversed(saved), strict=True):
            if kind == "linear":
                at -= 2
                grads = [d.T @ s, d.sum(0), *grads]
                d = d @ weights[at]
            else:
                d = d * (1 - s * s) if kind == "tanh" else d * (s > 0)
        count[0] += 1
        c1, c2 = np.float32(1 - 0.9 ** count[0]), np.float32(1 - 0.999 ** count[0])
        for w, g, a, b in zip(weights, grads, m, v, strict=True):
            a += np.float32(0.1) * (g - a)
            b *= np.float32(0.999)
            b += np.float32(0.001) * g * g
            w -= np.float32(1e-3) * (a / c1) / (np.sqrt(b / c2) + np.float32(1e-8))
        return loss

    return run


COMPILED = "chainrule compiled"


def contenders() -> list[str]:
    return [*available(), COMPILED, *(["torch channels_last"] if "torch" in available() else [])]


def slow_to_begin() -> list[str]:
    """Contenders that compile for minutes before they run: for reports, not for tests."""
    return ["torch compiled"] if "torch" in available() else []


def prepare(name: str, step: Step | Net) -> Callable[[], float] | None:
    """A call that trains one step in this library and returns its loss; None where it has no such step."""
    library, _, form = name.partition(" ")
    if library in ("chainrule", "torch"):
        if form == "channels_last" and len(shape_of_inputs(step)) != 4:
            return None
        return by_torch_api(chainrule if library == "chainrule" else module("torch"), step, form)
    if isinstance(step, Net):
        return None
    return with_jax(step) if name == "jax" else with_numpy(step)


def shape_of_inputs(step: Step | Net) -> tuple[int, ...]:
    first = step.batch(np.random.default_rng(1))[0] if isinstance(step, Net) else step.batch()[0]
    return first.shape
