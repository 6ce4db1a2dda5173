"""Long runs stay as they began: graphs leave nothing behind, memory and threads do not grow. In full: benchmarks/."""

import collections
import contextlib
import gc
import os
import threading
import tracemalloc

import numpy as np
import pytest

import vugrad as vg
from vugrad.compiler import compiled, plan
from vugrad.compiler.machine import llvm
from vugrad.compiler.plan import Plan, Recent
from vugrad.graph import OpNode, TensorNode

X = np.linspace(-1, 1, 16, dtype=np.float32).reshape(8, 2)
Y = np.arange(8) % 2


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("VUGRAD_CACHE", str(tmp_path_factory.getbasetemp() / "code"))
    monkeypatch.setenv("VUGRAD_THREADS", "2")


def network():
    return vg.nn.MLP([2, 4, 2], batch_norm=True, dropout=0.1, rng=np.random.default_rng(0))


def step(model, optimizer):
    """One update of a model."""

    def update(x, y):
        loss = vg.losses.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return update


def trained(native=False, kind=vg.optim.Adam):
    model = network()
    optimizer = kind(model.parameters(), lr=1e-3)
    update = step(model, optimizer)
    return vg.compile(update, state=[model, optimizer]) if native else update


NODES = (TensorNode, OpNode)


def left_behind(piece, times=100):
    """What there is more of when a piece of work was done: nodes by their kind, objects in cycles, and bytes.

    It is done so often, and then twice more: what it replaces is as old as what it makes then. Nobody looks for cycles
    meanwhile. Python's own tables grow now and then, a lot at once, so of the bytes the fewer count.
    """

    def nodes():
        return collections.Counter(type(o).__name__ for o in gc.get_objects() if issubclass(type(o), NODES))

    gc.collect()
    gc.disable()
    gc.freeze()  # what is there already is not looked at again and again, here and in later tests
    tracemalloc.start()
    try:
        there, cycles, held = [], 0, []
        for _ in range(3):
            for _ in range(times):
                piece()
            there.append(nodes())
            cycles = gc.collect()  # which empties Python's lists of free objects too
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
        gc.enable()
    there[2].subtract(there[1])
    return {kind: n for kind, n in there[2].items() if n}, cycles, min(held[2] - held[1], held[1] - held[0])


def check_nothing_left(piece, times=100):
    """There is no more of all that but some thousand bytes, which are the readings' own however often it is done."""
    nodes, cycles, held = left_behind(piece, times)
    assert (nodes, cycles) == ({}, 0)
    assert held < 9_000


# --- graphs


class Failing(vg.Op):
    """y = x, and a backward that fails."""

    @staticmethod
    def forward(context, x):
        context["x"] = x
        return x * 1

    @staticmethod
    def backward(context, go):
        raise ZeroDivisionError


class Misshapen(vg.Op):
    """y = x, and a gradient of another shape."""

    @staticmethod
    def forward(context, x):
        return x * 1

    @staticmethod
    def backward(context, go):
        return go[:1]


MODEL = network()


def loss():
    return vg.losses.cross_entropy(MODEL(X), Y)


def backward(**options):
    loss().backward(**options)
    MODEL.zero_grad()


def twice():
    x = TensorNode(X, name="x")
    (x * x * x).sum().backward(create_graph=True)
    gradient, x.grad = x.grad, None
    gradient.sum().backward()


def refused(attempt, *errors):
    with contextlib.suppress(*errors):
        attempt()
        raise AssertionError("nothing was raised")


def debugged():
    with vg.debug():
        backward()


def not_finite():
    with np.errstate(all="ignore"), vg.debug():
        np.log(TensorNode([-1.0])).sum().backward()


def cubes(x):
    return (x * x * x).sum()


POINT = np.array([1.0, 2.0])
GRAPHS = {
    "forward": loss,
    "without a graph": vg.no_grad()(loss),
    "backward": backward,
    "create_graph": twice,
    "two outputs": lambda: sum(part.sum() for part in np.split(TensorNode(X), 2)).backward(),
    "cleared": lambda: loss().clear(),
    "detached": lambda: (loss().detach() * 2).item(),
    "from DLPack": lambda: np.from_dlpack(loss().detach()),
    "grad": lambda: vg.grad(cubes)(POINT),
    "value_and_grad": lambda: vg.value_and_grad(cubes)(POINT),
    "jacobian": lambda: vg.jacobian(lambda x: x * x)(POINT),
    "hessian": lambda: vg.hessian(cubes)(POINT),
    "jvp": lambda: vg.jvp(cubes, (POINT,), (POINT,)),
    "an error in forward": lambda: refused(lambda: TensorNode(X) @ TensorNode(X), ValueError),
    "an error in backward": lambda: refused(
        lambda: Failing.do_forward(TensorNode(X) * 2).sum().backward(), ZeroDivisionError
    ),
    "a wrong gradient": lambda: refused(lambda: Misshapen.do_forward(TensorNode(X)).sum().backward(), ValueError),
    "debug": debugged,
    "debug that finds something": lambda: refused(not_finite, FloatingPointError),
    "predict": lambda: vg.train.predict(MODEL, X),
    "a copied module": lambda: vg.nn.MLP([2, 3]).state_dict(),
}


@pytest.mark.parametrize("kind", GRAPHS)
def test_graphs_that_are_dropped_leave_nothing(kind):
    check_nothing_left(GRAPHS[kind])


def test_what_is_left_would_be_seen():
    kept = []

    def cycle():
        node = TensorNode(X)
        node.name = node

    assert left_behind(lambda: kept.append(TensorNode(X)), 10)[0] == {"TensorNode": 10}
    assert left_behind(lambda: kept.append(loss()), 10)[0]["OpNode"] > 10
    assert left_behind(cycle, 10)[1] == 10
    assert left_behind(lambda: kept.append(bytes(100)), 10)[2] > 1000


# --- training


def live(kind):
    gc.collect()
    return sum(type(o) is kind for o in gc.get_objects())  # isinstance takes ten times as long


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("kind", [vg.optim.SGD, vg.optim.Adam, vg.optim.Adagrad])
def test_steps_leave_nothing(native, kind):
    update = trained(native, kind)
    check_nothing_left(lambda: update(X, Y))


@pytest.mark.parametrize("native", [False, True])
def test_fits_leave_nothing_but_one_team_of_threads(native):
    def fitted():
        vg.train.fit(network(), (X, Y), epochs=2, batch_size=4, seed=0, progress=False, compile=native)

    def threads():
        return len(threading.enumerate()), len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self") else None

    for _ in range(3):
        fitted()
    before, plans, codes = threads(), live(Plan), live(llvm.Code)
    for _ in range(10):
        fitted()
    assert threads() == before
    assert live(Plan) <= plans
    assert live(llvm.Code) <= codes


# --- compiled functions


def test_dropped_functions_leave_their_code_at_most(monkeypatch):
    monkeypatch.setattr(plan, "_codes", Recent(3))
    before, codes = live(Plan), live(llvm.Code)
    for n in range(6):
        vg.compile(lambda x, n=n: np.tanh(x + n))(X)
        assert live(Plan) == before
    assert live(llvm.Code) == codes + 3


def test_a_function_keeps_the_plans_of_its_last_signatures(monkeypatch):
    monkeypatch.setattr(compiled, "PLANS", 3)
    f = vg.compile(lambda x: x * 2)
    for n in range(1, 7):
        np.testing.assert_array_equal(f(np.ones(n)), np.full(n, 2.0))
    assert [plan.lowered.batch for plan in f.plans.values()] == [4, 5, 6]
    np.testing.assert_array_equal(f(np.ones(1)), [2.0])
    assert len(f.plans) == 3


def test_calls_of_a_compiled_function_leave_nothing():
    model = network()
    f, g = vg.compile(model), vg.compile(lambda x: np.exp(x) * 2)
    check_nothing_left(lambda: f(X))
    check_nothing_left(lambda: g(X))
    check_nothing_left(lambda: vg.train.predict(model, X, forward=f))
