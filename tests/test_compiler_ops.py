"""Every row of the op table, forward and backward: compiled as eager, on every floor of the compiler."""

import numpy as np
import pytest
from compiler_floors import MACHINES, check

import vugrad as vg
from vugrad.ops.table import ROWS


@pytest.fixture(autouse=True)
def _no_code_from_earlier(monkeypatch):
    monkeypatch.setenv("VUGRAD_CACHE", "")


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


def sample(row, dtype):
    """Inputs, and an upstream gradient for each output."""
    rng = np.random.default_rng(0)
    xs = row.inputs(rng, dtype)
    ys = as_tuple(row.op.forward({}, *xs, **row.constants))
    return xs, [rng.normal(size=np.shape(y)).astype(dtype) for y in ys]


def both_ways(row):
    """Outputs and gradients, as a function of all inputs and upstream gradients."""

    def f(*arrays):
        xs, gos = arrays[: len(row.shapes)], arrays[len(row.shapes) :]
        nodes = [vg.TensorNode(x, requires_grad=i not in row.whole) for i, x in enumerate(xs)]
        ys = as_tuple(row.op.do_forward(*nodes, **row.constants))
        sum(np.sum(go * y) for go, y in zip(gos, ys, strict=True)).backward()
        return [y.value for y in ys], [nodes[i].grad for i in row.real]

    return f


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_floor_gives_the_op(row):
    single, double = ([*xs, *gos] for xs, gos in (sample(row, dtype) for dtype in (np.float32, np.float64)))
    f, n = both_ways(row), len(single)
    check(lambda *arrays: (f(*arrays[:n]), f(*arrays[n:])), *single, *double)


@pytest.mark.parametrize("machine", MACHINES[:2], ids=lambda m: f"{8 * m.vector_bytes} bits, {m.threads} threads")
@pytest.mark.parametrize("row", ROWS[::7], ids=lambda row: row.name)
def test_other_machines_give_the_op(row, machine):
    xs, gos = sample(row, np.float32)
    check(both_ways(row), *xs, *gos, machines=[machine], native=False)
