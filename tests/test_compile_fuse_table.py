"""Linear layers behind embeddings, in compiled steps: products of the table's rows, the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.nn.functional as F
from chainrule import kernels, nn
from chainrule.tensor import wrap
from tests.test_compile_fuse import check, kernels_of, normal

WIDTH, OUT = 5, 19


def tokens(*shape: int, rows: int) -> cr.Tensor:
    return cr.from_numpy(np.random.default_rng(9).integers(0, rows, shape))


def training(read: Callable[..., Any]) -> Callable[..., Any]:
    """y = a linear layer on what ``read`` makes of the rows that were looked up, and all gradients."""

    def run(index: cr.Tensor, *parameters: cr.Tensor) -> Any:
        table, w, b = (p.detach().requires_grad_() for p in parameters)
        y = F.linear(read(F.embedding(index, table)), w, b)
        return (y, *cr.autograd.grad((y * y).sum(), (table, w, b)))

    return run


def inference(read: Callable[..., Any]) -> Callable[..., Any]:
    return lambda index, table, w, b: (F.linear(read(F.embedding(index, table)), w, b),)


def parameters(rows: int, dtype: Any = np.float32) -> list[cr.Tensor]:
    return [normal(*s, dtype=dtype, seed=i) for i, s in enumerate([(rows, WIDTH), (OUT, WIDTH), (OUT,)])]


READS: dict[str, Callable[[cr.Tensor], cr.Tensor]] = {
    "as they are": lambda h: h,
    "as one matrix": lambda h: h.reshape(-1, WIDTH),
    "turned": lambda h: h.transpose(0, 1),
    "turned, without the first": lambda h: h.transpose(0, 1)[1:],
    "without the first": lambda h: h[1:],
    "without each one's first": lambda h: h[:, 1:],
    "each second": lambda h: h[:, ::2],
    "three dimensions turned": lambda h: h.reshape(4, 3, 7, WIDTH).permute(2, 0, 1, 3),
}


@pytest.mark.parametrize("run", [training, inference], ids=["training", "inference"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", list(READS))
def test_rows_that_are_looked_up(name: str, dtype: Any, run: Callable[..., Any]) -> None:
    before, after = check(run(READS[name]), tokens(12, 7, rows=3), *parameters(3, dtype))
    assert before.count("linear") == 1
    assert "linear" not in after
    merged = [k for k in after if "linear+embedding" in k]
    turned = before[before.index("linear") - 1] == "copy"
    assert merged == ["copy+linear+embedding" if turned else "linear+embedding"]
    if run is inference:  # nobody reads the rows themselves
        assert len(after) == len(before) - 1 - turned


@pytest.mark.parametrize("rows", [40, 42, 43, 84, 100])
def test_not_for_tables_as_long_as_the_text(rows: int) -> None:
    _, after = check(inference(lambda h: h), tokens(12, 7, rows=rows), *parameters(rows))
    assert ("linear+embedding" in after) == (2 * rows <= 12 * 7)


def begun_with(rows: cr.Tensor) -> cr.Tensor:
    all_rows = cr.ones(7, 12, WIDTH)
    all_rows[: len(rows)] = rows
    return all_rows


OTHERS: dict[str, Callable[..., Any]] = {
    "columns": lambda h, w, b: F.linear(h[..., 1:], w[:, 1:].contiguous(), b),
    "columns turned": lambda h, w, b: F.linear(h.transpose(1, 2), w[:, :1].expand(OUT, 7).contiguous(), b),
    "changed": lambda h, w, b: F.linear(h * 2, w, b),
    "backwards": lambda h, w, b: F.linear(h.flip(0), w, b),
    "residual": lambda h, w, b: F.linear(h, w, b) + F.linear(h * 2, w, b),
    "less than was turned": lambda h, w, b: F.linear(h.transpose(0, 1).contiguous()[:3], w, b),
    "more than was turned": lambda h, w, b: F.linear(begun_with(h.transpose(0, 1)[:5]), w, b),
    "two rows as one": lambda h, w, b: F.linear(h.reshape(6, 7, 10), w.repeat(1, 2), b),
}


@pytest.mark.parametrize("name", list(OTHERS))
def test_what_else_reads_an_embedding(name: str) -> None:
    run = OTHERS[name]
    fn = lambda index, table, w, b: (run(F.embedding(index, table), w, b),)  # noqa: E731
    _, after = check(fn, tokens(12, 7, rows=3), *parameters(3))
    assert sum("linear+embedding" in k for k in after) == (0 if name != "residual" else 1)


def test_an_activation_behind_it() -> None:
    def fn(index: cr.Tensor, table: cr.Tensor, w: cr.Tensor, b: cr.Tensor) -> Any:
        return (F.gelu(F.linear(F.embedding(index, table), w, b)),)

    _, after = check(fn, tokens(90, rows=6), *parameters(6))
    assert after[-1] == "linear+embedding"


def test_two_layers_that_read_the_same_rows() -> None:
    def fn(index: cr.Tensor, table: cr.Tensor, w: cr.Tensor, b: cr.Tensor) -> Any:
        h = F.embedding(index, table)
        return F.linear(h, w, b), F.linear(h, w)

    _, after = check(fn, tokens(90, rows=6), *parameters(6))
    assert after.count("linear+embedding") == 2
    assert "embedding" not in after


def test_a_table_that_changes_before_the_layer() -> None:
    def fn(index: cr.Tensor, table: cr.Tensor, w: cr.Tensor, b: cr.Tensor) -> Any:
        own = table.clone()
        h = F.embedding(index, own)
        own.mul_(2)
        return F.linear(h, w, b), own

    _, after = check(fn, tokens(90, rows=6), *parameters(6))
    assert "linear" in after


def test_indices_whose_memory_serves_again() -> None:
    """The column's copy lies where the recording's copy of the indices was; in training a gradient wants them."""
    column = lambda h: h[:, 3]  # noqa: E731
    for run, merged in ((inference, False), (training, True)):
        _, after = check(run(column), tokens(12, 7, rows=3), *parameters(3))
        assert ("linear" not in after) == merged


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layers", [{}, {"bidirectional": True}, {"num_layers": 2, "batch_first": True}])
def test_an_lstm_looks_up_its_inputs_part(layers: dict[str, Any], dtype: Any, threads: int) -> None:
    cr.manual_seed(0)
    lstm = nn.LSTM(WIDTH, 6, **layers).to(cr.float64 if dtype == np.float64 else cr.float32)
    weights = list(lstm.parameters())

    def fn(index: cr.Tensor, table: cr.Tensor) -> Any:
        leaf = table.detach().requires_grad_()
        out, (h, c) = lstm(F.embedding(index, leaf))
        loss = (out * out).sum() + h.sum() - c.sum()
        return (out, h, c, *cr.autograd.grad(loss, (leaf, *weights)))

    before, after = check(fn, tokens(7, 12, rows=9), normal(9, WIDTH, dtype=dtype))
    directions = 1 + layers.get("bidirectional", False)
    assert after.count("linear") == before.count("linear") - directions
    assert after.count("copy+linear") == directions
    assert not any("linear+embedding" in k for k in after)


def test_an_lstms_inputs_part_that_is_read_elsewhere() -> None:
    def fn(index: cr.Tensor, table: cr.Tensor, w: cr.Tensor, hidden: cr.Tensor, start: cr.Tensor) -> Any:
        x = F.linear(F.embedding(index, table), w)
        out = kernels.lstm(x._array, hidden._array, start._array, start._array)[0]
        return x * 2, wrap(out)

    inputs = normal(9, WIDTH), normal(24, WIDTH, seed=1), normal(24, 6, seed=2), normal(12, 6, seed=3)
    _, after = check(fn, tokens(7, 12, rows=9), *inputs)
    assert "linear+embedding" in after


def test_a_character_model_trains_with_eager_bits(threads: int) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(11, 24)
            self.lstm = nn.LSTM(24, 32, batch_first=True)
            self.head = nn.Linear(32, 11)

        def forward(self, x: cr.Tensor) -> cr.Tensor:
            return self.head(self.lstm(self.embed(x))[0])

    text, results = tokens(6, 40, 9, rows=11), []
    for compiled in (False, True):
        cr.manual_seed(4)
        model = Model()
        opt = cr.optim.AdamW(model.parameters(), lr=1e-2)

        def step(x: cr.Tensor, model: Any = model, opt: Any = opt) -> cr.Tensor:
            opt.zero_grad()
            loss = F.cross_entropy(model(x[:, :-1]).reshape(-1, 11), x[:, 1:].reshape(-1))
            loss.backward()
            opt.step()
            return loss

        run: Any = cr.compile(step) if compiled else step
        losses = [run(text[i]).item() for i in range(6)]
        results.append((losses, [p.detach().numpy().tobytes() for p in model.parameters()]))
        if compiled:
            assert "copy+linear" in kernels_of(run)  # the LSTM looks up the products
    assert results[0] == results[1]
    assert results[0][0][-1] < results[0][0][0]
