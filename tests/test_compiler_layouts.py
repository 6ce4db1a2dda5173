"""Rows and columns that change places on the way through registers, and rows cut into panels."""

import numpy as np
import pytest
from compiler_floors import MACHINES, check
from hypothesis import given, settings, strategies as st

import vugrad as vg
from vugrad.compiler.loops.program import Loop
from vugrad.compiler.lower import lower
from vugrad.compiler.trace import trace

DTYPES = [np.float32, np.float64, np.int8, np.int32, np.int64, bool]
EXTENTS = st.integers(1, 70)


def array(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).integers(0, 50, shape).astype(dtype)


def kinds(function, *arguments, machine=MACHINES[2]):
    """The kinds of all loops that a function becomes."""
    pending = [k.body for s in lower(trace(function, arguments).program, machine).loops.stages for k in s.kernels()]
    found = set()
    while pending:
        for x in pending.pop():
            if isinstance(x, Loop):
                found.add(x.kind)
                pending.append(x.body)
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 9), (3, 5), (8, 4), (33, 18), (64, 48), (70, 37)])
def test_a_transposition_is_one(shape, dtype):
    x = array(*shape, dtype=dtype)
    check(
        lambda x: np.transpose(x) | True if dtype is bool else np.transpose(x) + x.dtype.type(1), x, machines=MACHINES
    )
    check(lambda x: (np.transpose(x[:, ::-1]), np.transpose(x)[1:]), x)


def test_it_goes_by_way_of_registers():
    assert "turned" in kinds(lambda x: np.transpose(x) + 1, array(64, 48))
    assert "turned" not in kinds(lambda x: x + 1, array(64))
    assert "turned" not in kinds(lambda x: x[:, ::2] * 2, array(1, 48))


@settings(max_examples=25)
@given(m=EXTENTS, k=EXTENTS, n=EXTENTS, double=st.booleans(), turned=st.tuples(st.booleans(), st.booleans()))
def test_products_of_matrices_in_every_order(m, k, n, double, turned):
    dtype = np.float64 if double else np.float32
    a = array(*((k, m) if turned[0] else (m, k)), dtype=dtype)
    b = array(*((n, k) if turned[1] else (k, n)), dtype=dtype, seed=1)
    t = np.transpose
    check(lambda a, b: (t(a) if turned[0] else a) @ (t(b) if turned[1] else b), a, b, machines=())


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"{8 * m.vector_bytes} bits")
@pytest.mark.parametrize("n", [16, 37, 64])
def test_sums_over_the_batch_read_panels(machine, n):
    x, y = array(n, 2, 21), array(n, 33, seed=1)
    flat = lambda x, y: np.transpose(np.reshape(y, (n, 33))) @ np.reshape(x, (n, 42))  # noqa: E731
    check(flat, x, y, machines=[machine])


@settings(max_examples=25)
@given(row=st.integers(1, 70), n=st.integers(1, 70), batch=st.integers(1, 70))
def test_batches_are_the_rows_that_the_order_names(row, n, batch):
    x, order = array(n, row), np.random.default_rng(1).permutation(n)
    same = vg.compile(lambda x: (x + 0, np.sum(x, axis=1)))
    rows, sums = same.run_epoch(x, batch_size=batch, order=order)
    np.testing.assert_array_equal(rows, x[order])
    np.testing.assert_array_equal(sums, x[order].sum(axis=1))


def test_kernels_of_equal_layers_are_one_function():
    def functions(depth):
        model = vg.nn.MLP([8] * depth + [3])
        plan = vg.compile(lambda x: model(x), state=model).plan(array(20, 8))
        kernels = sum(len(stage.kernels()) for stage in plan.lowered.loops.stages)
        return kernels, plan.text().count("define internal void @kernel")

    (few, ones), (many, others) = functions(6), functions(9)
    assert few < many
    assert ones == others
