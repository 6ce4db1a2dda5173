import math
import operator

import numpy as np
import pytest
from reference.make_optim import (
    ARCHIVE,
    CHECKPOINTS,
    CLIPS,
    LATE,
    OPTIMIZERS,
    THAW,
    clip_inputs,
    gradients,
)

import vugrad as vg
from vugrad import optim
from vugrad.graph import TensorNode

with np.load(ARCHIVE, allow_pickle=False) as archive:
    REFERENCE = dict(archive)

each_optimizer = pytest.mark.parametrize("case", OPTIMIZERS)
each_dtype = pytest.mark.parametrize("dtype", ["float64", "float32"])


def problem(case, dtype="float64"):
    """The matrix of the reference problem, its two parameters at their start, and the case's optimizer."""
    a, w, b = (REFERENCE[name].astype(dtype) for name in "awb")
    params = [TensorNode(w, name="w"), TensorNode(b, name="b")]
    return a, params, OPTIMIZERS[case](optim, params)


def advance(a, params, optimizer, steps=1):
    for _ in range(steps):
        for p, g in zip(params, gradients(a, *[p.value for p in params]), strict=True):
            p.grad = g
        optimizer.step()


def flat(params):
    return np.concatenate([p.value.ravel() for p in params])


# --- the rules


@each_dtype
@each_optimizer
def test_a_hundred_steps_are_pytorchs(case, dtype):
    a, params, optimizer = problem(case, dtype)
    arrays = [p.value for p in params]
    path = []
    for step in range(1, max(CHECKPOINTS) + 1):
        params[1].requires_grad = case not in LATE or step > THAW
        advance(a, params, optimizer)
        if step in CHECKPOINTS:
            path.append(flat(params))
    tolerance = {"float64": 1e-12, "float32": 1e-6}[dtype]
    np.testing.assert_allclose(np.stack(path), REFERENCE[f"{case}/{dtype}"], rtol=tolerance, atol=tolerance)
    assert all(p.value is array for p, array in zip(params, arrays, strict=True)), "the update must be in place"
    kept = [s[name] for s in optimizer.state for name in optimizer.buffers()]
    assert {array.dtype for array in arrays + kept} == {np.dtype(dtype)}


@each_dtype
@each_optimizer
def test_the_rules_can_be_recorded(case, dtype):
    """Stand-ins for value, gradient, state, rate and count: no writes, no ``out=``, no branch on what they hold."""
    a, params, optimizer = problem(case, dtype)
    advance(a, params, optimizer, steps=2)
    _, others, recorded = problem(case, dtype)
    advance(a, others, recorded, steps=2)
    advance(a, params, optimizer)

    recorded.allocate()
    recorded.lr = StandIn(recorded.lr)
    recorded.state = [{name: StandIn(held) for name, held in s.items()} for s in recorded.state]
    found = gradients(a, *[p.value for p in others])
    for p, g in zip(others, found, strict=True):
        p.value, p.grad = StandIn(p.value), StandIn(g)
    recorded.step()
    for p, q, s, t in zip(params, others, optimizer.state, recorded.state, strict=True):
        np.testing.assert_array_equal(p.value, q.value.held)
        assert q.value.dtype == dtype, "some scalar is no Python number, and promotes"
        assert s.keys() == t.keys()
        for name in s:
            np.testing.assert_array_equal(s[name], t[name].held)


@each_optimizer
def test_gradients_are_only_read(case):
    a, params, optimizer = problem(case)
    for p, g in zip(params, gradients(a, *[p.value for p in params]), strict=True):
        g.flags.writeable = False
        p.grad = g
    optimizer.step()


@each_optimizer
def test_a_value_replaced_by_one_of_another_dtype_is_followed(case):
    a, params, optimizer = problem(case, "float32")
    advance(a, params, optimizer)
    for p in params:
        p.value = p.value.astype(np.float64)
    advance(a.astype(np.float64), params, optimizer, steps=9)
    assert all(s[name].dtype == np.float64 for s in optimizer.state for name in optimizer.buffers())
    if case not in LATE:
        np.testing.assert_allclose(flat(params), REFERENCE[f"{case}/float64"][CHECKPOINTS.index(10)], atol=1e-5)


def test_frozen_parameters_keep_value_and_state():
    a, params, optimizer = problem("adamw")
    params[1].requires_grad = False
    before = params[1].value.copy()
    advance(a, params, optimizer)
    np.testing.assert_array_equal(params[1].value, before)
    assert optimizer.state[1] == {"step": 0}


def test_gradients_that_are_nodes():
    values = []
    for create_graph in (False, True):
        x = TensorNode(np.array([1.0, 2.0]))
        (x * x * x).sum().backward(create_graph=create_graph)
        optim.clip_grad_norm_([x], 1.0)
        optim.SGD([x], lr=0.1).step()
        values.append(x.value)
    np.testing.assert_array_equal(*values)


def test_zero_grad_reaches_every_parameter():
    _, params, optimizer = problem("sgd")
    for p in params:
        p.grad = np.ones_like(p.value)
    optimizer.zero_grad()
    assert not any(p.grad.any() for p in params)


def test_the_reports_spelling():
    assert optim.RMSProp is optim.RMSprop


# --- state


@each_optimizer
def test_a_restored_optimizer_goes_on_identically(case):
    a, params, optimizer = problem(case, "float32")
    advance(a, params, optimizer, steps=5)
    optimizer.lr *= 0.5
    saved, values = optimizer.state_dict(), [p.value.copy() for p in params]
    advance(a, params, optimizer, steps=5)

    others = [TensorNode(value) for value in values]
    restored = OPTIMIZERS[case](optim, others)
    restored.load_state_dict(saved)
    advance(a, others, restored, steps=5)
    np.testing.assert_array_equal(flat(params), flat(others))
    for key, array in saved["state"].items():
        assert not any(array is held for s in restored.state for held in s.values()), f"{key} was not copied"


def test_state_is_flat_and_leaves_out_what_never_moved():
    a, params, optimizer = problem("adam")
    params[1].requires_grad = False
    advance(a, params, optimizer, steps=3)
    saved = optimizer.state_dict()
    assert saved["step"] == [3, 0]
    assert list(saved["state"]) == ["0.exp_avg", "0.exp_avg_sq"]
    optimizer.load_state_dict(saved)
    assert optimizer.state[1] == {"step": 0}


def test_a_state_that_does_not_fit_changes_nothing_and_says_everything():
    a, params, optimizer = problem("adam")
    advance(a, params, optimizer)
    before = optimizer.state_dict()
    wrong = optimizer.state_dict()
    wrong |= {"lr": 7.0, "step": [9, 9, 9]}
    wrong["state"]["0.exp_avg"] = np.zeros((2, 2))
    wrong["state"]["1.sum"] = wrong["state"].pop("1.exp_avg_sq")
    with pytest.raises(ValueError, match="none of it was loaded") as caught:
        optimizer.load_state_dict(wrong)
    assert str(caught.value).splitlines()[1:] == [
        "  it is of 3 parameters, and there are 2 here",
        "  0.exp_avg has shape (2, 2), its parameter (4, 3)",
        "  1.exp_avg_sq is missing",
        "  1.sum is nothing that Adam keeps",
    ]
    after = optimizer.state_dict()
    assert (after["lr"], after["step"]) == (before["lr"], before["step"])
    for key, array in before["state"].items():
        np.testing.assert_array_equal(after["state"][key], array)


# --- clipping


@pytest.mark.parametrize("case", CLIPS)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # infinity times the factor 0, as documented
def test_clipping_is_pytorchs(case):
    owned = clip_inputs(case)
    params = [TensorNode(np.zeros_like(g)) for g in owned]
    for p, g in zip(params, owned, strict=True):
        g.flags.writeable = False
        p.grad = g
    norm = optim.clip_grad_norm_(params, *CLIPS[case])
    assert isinstance(norm, float)
    np.testing.assert_allclose(norm, REFERENCE[f"{case}/norm"], rtol=1e-6)
    for i, p in enumerate(params):
        assert p.grad.dtype == np.float32
        np.testing.assert_allclose(p.grad, REFERENCE[f"{case}/{i}"], rtol=1e-6)


def test_clipping_leaves_frozen_parameters_out():
    params = [TensorNode(np.zeros(2)), TensorNode(np.zeros(2))]
    for p in params:
        p.grad = np.array([3.0, 4.0])
    params[1].requires_grad = False
    assert optim.clip_grad_norm_(params, 1.0) == pytest.approx(5)
    np.testing.assert_array_equal(params[1].grad, [3.0, 4.0])
    params[0].requires_grad = False
    assert optim.clip_grad_norm_(params, 1.0) == 0.0


@pytest.mark.parametrize("norm_type", [1.0, 2.0, math.inf])
def test_clipping_can_be_recorded(norm_type):
    plain, recorded = TensorNode(np.zeros(3)), TensorNode(np.zeros(3))
    plain.grad, recorded.grad = np.array([3.0, -4.0, 1.0]), StandIn(np.array([3.0, -4.0, 1.0]))
    norms = [optim.clip_grad_norm_([p], 1.0, norm_type) for p in (plain, recorded)]
    assert norms[0] == norms[1].held
    np.testing.assert_array_equal(plain.grad, recorded.grad.held)


# --- a stand-in for an array, as the compiler has them


class StandIn:
    """Knows NumPy's functions and operators; will not be written into, nor asked what it holds."""

    def __init__(self, held):
        self.held = held

    dtype = property(lambda self: self.held.dtype)
    shape = property(lambda self: self.held.shape)

    def astype(self, dtype, copy=True):
        return StandIn(self.held.astype(dtype, copy=copy))

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if method != "__call__" or options:
            raise TypeError(f"a stand-in cannot take np.{ufunc.__name__}.{method} with {options}")
        return StandIn(ufunc(*[held(value) for value in inputs]))

    def __array_function__(self, func, types, inputs, options):
        return StandIn(func(*[held(value) for value in inputs], **options))

    def refuse(self, *args):
        raise TypeError("a stand-in has no value")

    __array__ = __bool__ = __float__ = __setitem__ = refuse


def held(value):
    return value.held if isinstance(value, StandIn) else value


for operation in ("add", "sub", "mul", "truediv", "pow", "gt"):
    function = getattr(operator, operation)
    setattr(StandIn, f"__{operation}__", lambda a, b, f=function: StandIn(f(a.held, held(b))))
    setattr(StandIn, f"__r{operation}__", lambda a, b, f=function: StandIn(f(held(b), a.held)))


@pytest.mark.parametrize("make", [lambda p: vg.optim.SGD(p, lr=0.1, momentum=0.9), vg.optim.Adam])
def test_a_compiled_step_goes_on_with_the_state_that_was_loaded(make):
    x, y = np.eye(4, dtype=np.float32), np.arange(4) % 2
    ends = []
    for compiled in (True, False):
        model = vg.nn.Linear(4, 2, rng=np.random.default_rng(0))
        optimizer = make(model.parameters())

        def step(x, y, model=model, optimizer=optimizer):
            loss = vg.losses.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss

        run = vg.compile(step, state=[model, optimizer]) if compiled else step
        for _ in range(3):
            run(x, y)
        states = model.state_dict(), optimizer.state_dict()
        for _ in range(4):
            run(x, y)
        model.load_state_dict(states[0])
        optimizer.load_state_dict(states[1])
        losses = [run(x, y).item() for _ in range(4)]
        ends.append((losses, optimizer.state_dict()["step"]))
    assert ends[0][1] == ends[1][1] == [7, 7]
    np.testing.assert_allclose(ends[0][0], ends[1][0], rtol=1e-5)
