"""Compiled functions among what is not compiled: gradients, random numbers, keys of plans, what changes around them."""

# ruff: noqa: NPY002 (NumPy's older generator is among what is refused)

import functools
import itertools
import random
import time

import numpy as np
import pytest

import vugrad as vg
from vugrad import losses, nn, optim
from vugrad.compiler import CannotCompileError
from vugrad.viewer.notebook import of_node

X = np.arange(1.0, 7.0).reshape(2, 3)
HERE = r"test_compiler_calls\.py:\d+"


@pytest.fixture(autouse=True)
def _no_code_from_earlier(monkeypatch):
    monkeypatch.setenv("VUGRAD_CACHE", "")


# --- gradients through a compiled function


def cubes(x):
    return np.sum(x**3)


THROUGH = {
    "grad": lambda f: vg.grad(f(cubes))(X),
    "value_and_grad": lambda f: vg.value_and_grad(f(cubes))(X),
    "of a number": lambda f: vg.grad(f(lambda x: x**3))(2.0),
    "of the second argument": lambda f: vg.grad(f(lambda x, y: np.sum(x * y**2)), argnums=1)(X, 2 * X),
    "of both": lambda f: vg.grad(f(lambda x, y: np.sum(x * y**2)), argnums=(0, 1))(X, 2 * X),
    "jacobian": lambda f: vg.jacobian(f(lambda x: x * x[::-1]))(np.arange(1.0, 4.0)),
    "hessian": lambda f: vg.hessian(f(cubes))(np.arange(1.0, 4.0)),
    "third derivative": lambda f: vg.grad(vg.grad(vg.grad(f(lambda x: x**4))))(2.0),
    "jvp": lambda f: vg.jvp(f(lambda x: np.sin(x)), (X,), (2 * X,)),
    "a part of the function": lambda f: vg.grad(lambda x: np.sum(f(lambda y: y * y)(x) * x))(X),
    "one of two results": lambda f: vg.grad(lambda x: np.sum(f(lambda y: (y * y, np.exp(y)))(x)[1]))(X),
    "the same result twice": lambda f: vg.grad(lambda x: sum(map(np.sum, f(lambda y: [z := y * y, z])(x))))(X),
    "in a dict": lambda f: vg.grad(lambda x: np.sum(f(lambda y: {"a": y**2, "b": [y]})(x)["a"]))(X),
    "the argument itself": lambda f: vg.grad(lambda x: np.sum(f(lambda y: y)(x) ** 2))(X),
    "compiled in compiled": lambda f: vg.grad(f(lambda x: f(cubes)(2 * x)))(X),
    "a gradient within": lambda f: vg.grad(f(lambda x: np.sum(vg.grad(cubes)(x))))(X),
    "a list beside": lambda f: vg.grad(f(lambda x, k: np.sum(x * k)))(X, [1.0, 2.0, 3.0]),
    "keywords": lambda f: vg.grad(f(lambda x, k: np.sum(x * k)))(X, k=3.0),
}


@pytest.mark.parametrize("name", THROUGH)
def test_gradients_flow_through_a_compiled_function(name):
    expected, found = THROUGH[name](lambda f: f), THROUGH[name](vg.compile)
    as_list = lambda x: x if isinstance(x, tuple) else (x,)  # noqa: E731
    for x, y in zip(as_list(expected), as_list(found), strict=True):
        np.testing.assert_allclose(y, x, rtol=1e-12)
        assert np.any(y)


def test_a_plan_made_without_a_graph_has_gradients_with_one():
    fast = vg.compile(lambda x: np.sum(x * x))
    with vg.no_grad():
        assert fast(vg.TensorNode(X)).source is None
    np.testing.assert_array_equal(vg.grad(fast)(X), 2 * X)


@pytest.mark.parametrize("second", [False, True], ids=["backward", "create_graph"])
def test_a_compiled_model_in_an_eager_step(second):
    gradients = []
    for compiled in (False, True):
        vg.seed(0)
        body, head = nn.Linear(3, 4, dtype=np.float64), nn.Linear(4, 1, dtype=np.float64)
        x = vg.TensorNode(X)
        features = (vg.compile(body) if compiled else body)(x)
        np.sum(head(features) ** 2).backward(create_graph=second)
        nodes = (x, body.weight, body.bias, head.weight)
        if second:
            penalty = sum(np.sum(node.grad**2) for node in nodes)
            for node in nodes:
                node.zero_grad()
            penalty.backward()
        gradients.append([node.grad for node in nodes])
    for x, y in zip(*gradients, strict=True):
        np.testing.assert_allclose(getattr(y, "value", y), getattr(x, "value", x), rtol=1e-10)


def made():
    vg.seed(0)
    model = nn.Linear(3, 2, dtype=np.float64)
    return model, optim.SGD(model.parameters(), lr=0.01)


def test_what_changes_its_state_is_not_differentiated_from_outside():
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))
    fast = vg.compile(model)
    with pytest.raises(
        RuntimeError, match=r"'Sequential' changes its state .* compile the whole step.* model\.eval\(\)"
    ):
        np.sum(fast(X) ** 2).backward()
    model.eval()
    np.sum(fast(X) ** 2).backward()
    assert np.any(model.parameters()[0].grad)


@pytest.mark.parametrize(
    "change",
    [
        lambda model, x: setattr(model.weight, "value", model.weight.value * 2),
        lambda model, x: model.weight.value.__imul__(2),
        lambda model, x: x.value.__iadd__(1),
        lambda model, x: np.sum(model(x)).backward() or vg.optim.SGD(model.parameters(), lr=0.1).step(),
    ],
    ids=["replaced", "in place", "the argument", "by an optimizer"],
)
def test_what_changes_before_backward_is_noticed(change):
    model, _ = made()
    x = vg.TensorNode(X.copy())
    loss = np.sum(vg.compile(model)(x) ** 2)
    change(model, x)
    with pytest.raises(RuntimeError, match=r"has changed since the compiled function .* was called, which runs again"):
        loss.backward()


def test_a_parameter_that_is_nan_has_not_changed():
    model, _ = made()
    model.weight.value[:] = np.nan
    np.sum(vg.compile(model)(X) ** 2).backward()
    assert np.isnan(model.weight.grad).all()


def test_a_node_of_an_outer_graph_is_refused_and_not_a_constant():
    def f(x):
        z = x * 2
        return vg.compile(lambda y: np.sum(y * z))(x)

    with pytest.raises(CannotCompileError, match=r"which Multiply made outside of it.* node\.detach\(\)"):
        vg.grad(f)(X)


# --- gradients that a compiled function computes


def forward_and_backward(model, optimizer):
    loss = np.sum(model(X) ** 2)
    loss.backward()
    return loss


def training(model, optimizer):
    optimizer.zero_grad()
    loss = forward_and_backward(model, optimizer)
    optimizer.step()
    return loss


@pytest.mark.parametrize("reset", [True, False])
def test_an_optimizer_outside_of_the_function_that_has_the_gradients_raises(reset):
    model, optimizer = made()
    before = model.weight.value.copy()

    def step():
        if reset:
            model.zero_grad()
        return forward_and_backward(model, optimizer)

    fast = vg.compile(step, state=[model])
    fast()
    for use in (optimizer.step, lambda: model.weight.grad, lambda: optim.clip_grad_norm_(model.parameters(), 1.0)):
        with pytest.raises(RuntimeError, match=r"gradient of '\w+' stayed in the compiled .* optimizer\.step\(\) in"):
            use()
    np.testing.assert_array_equal(model.weight.value, before)
    if reset:
        model.zero_grad()
        found = vg.compile(lambda: (step(), model.weight.grad)[1], state=model)()
        model.zero_grad()
        forward_and_backward(model, optimizer)
        np.testing.assert_allclose(found, model.weight.grad)


def test_gradients_are_eager_again_once_they_are_reset():
    model, optimizer = made()
    fast = vg.compile(lambda: training(model, optimizer), state=[model, optimizer])
    with pytest.raises(RuntimeError, match="changes its state"):
        fast().backward()
    with pytest.raises(RuntimeError, match=r"stayed in .* zero_grad\(\)"):
        forward_and_backward(model, optimizer)
    model.zero_grad()
    forward_and_backward(model, optimizer)
    assert np.any(model.weight.grad)


def test_a_gradient_from_before_is_not_lost():
    model, optimizer = made()
    forward_and_backward(model, optimizer)
    fast = vg.compile(lambda: (optimizer.step(), model.zero_grad())[1], state=[model, optimizer])
    with pytest.raises(RuntimeError, match=r"weight has a gradient from before .* call zero_grad\(\) before the call"):
        fast()
    vg.compile(model.zero_grad, state=model)()
    assert not np.any(model.weight.grad)
    fast()


def test_gradients_of_arguments_stay_within_too():
    x = vg.TensorNode(X, name="x")

    def f(x):
        np.sum(x * x).backward()
        return x.grad

    np.testing.assert_array_equal(vg.compile(f)(x), 2 * X)
    with pytest.raises(RuntimeError, match="gradient of 'x' stayed in"):
        _ = x.grad
    x.zero_grad()
    np.sum(x).backward()
    with pytest.raises(RuntimeError, match="x has a gradient from before"):
        vg.compile(f)(x)


def test_a_trained_model_can_still_be_looked_at():
    model, optimizer = made()
    vg.compile(lambda: training(model, optimizer), state=[model, optimizer])()
    assert "weight" in repr(model.weight)
    assert "<p>gradient" not in of_node(model.weight)
    assert "<iframe" in vg.view(lambda x: np.sum(model(x)), X)._repr_html_()
    assert "not reset" not in str(vg.doctor(model, losses.cross_entropy, (X, np.array([0, 1]))))


# --- what a function does not do twice

count = 0
RNG = np.random.default_rng(0)
OLD = np.random.RandomState(0)
ITERATOR, OWN = itertools.count(), random.Random(0)


def counts(x):
    global count
    count += 1
    return x * count


NOT_TWICE = {
    "np.random.normal": (lambda x: x + np.random.normal(size=3), rf"draws from np\.random in {HERE}"),
    "np.random.permutation": (lambda x: x[np.random.permutation(2)], r"draws from np\.random"),
    "a branch by chance": (lambda x: 2 * x if np.random.rand() < 1e-3 else x, r"draws from np\.random"),
    "a generator outside": (lambda x: x + RNG.normal(), rf"draws from a NumPy generator in {HERE}"),
    "an older generator": (lambda x: x * (OLD.rand() > 2), "draws from a NumPy generator"),
    "a generator within": (lambda x: x + np.random.default_rng().normal(), rf"run twice in {HERE}: it draws"),
    "a default": (lambda x, r=OWN: x if r.random() < 2 else -x, r"draws from a random\.Random"),
    "random": (lambda x: x + random.gauss(0, 1), rf"draws from random in {HERE}"),
    "a layer made within": (lambda x: nn.Linear(3, 2)(x), "run twice|draws from"),
    "vg's own generator": (lambda x: x if vg.random.generator().random() < 2 else -x, r"draws from vg\.random"),
    "a clock": (lambda x: x + time.perf_counter(), rf"run twice in {HERE}: .* reads a clock"),
    "a clock in the result": (lambda x: (x, time.perf_counter()), "reads a clock"),
    "a count": (counts, rf"run twice in {HERE}: .* counts"),
    "an iterator": (lambda x: x * next(ITERATOR), "counts"),
    "no argument": (lambda: np.random.normal(size=3), r"draws from np\.random"),
}


@pytest.mark.parametrize("name", NOT_TWICE)
def test_what_is_drawn_or_counted_is_refused(name):
    function, message = NOT_TWICE[name]
    with pytest.raises(CannotCompileError, match=message) as caught:
        vg.compile(function)(*([] if name == "no argument" else [X]))
    assert "pass them as an array" in str(caught.value)


def test_what_draws_elsewhere_meanwhile_is_no_fault_of_the_function():
    runs = []

    def drawn_by_another(x):  # as by a thread, whenever it is recorded but the third time
        runs.append(0)
        if len(runs) != 3:
            np.random.rand()
        return 2 * x

    np.testing.assert_array_equal(vg.compile(drawn_by_another)(X), 2 * X)


def test_dropout_follows_its_own_seed():
    found = []
    for compiled in (False, True):
        vg.seed(3)
        layer = nn.Dropout(0.5)
        call = vg.compile(layer) if compiled else layer
        found.append([call(X).value for _ in range(3)])
    np.testing.assert_array_equal(*found)
    assert not np.array_equal(found[0][0], found[0][1])


def test_what_is_made_once_and_kept_is_no_count():
    table = {}

    def positions(x):
        if "p" not in table:
            table["p"] = np.arange(3.0)
        return x + table["p"]

    fast = vg.compile(positions)
    for _ in range(2):
        np.testing.assert_array_equal(fast(X), X + np.arange(3))
    assert len(fast.plans) == 1


# --- which plan


def test_constants_alone_need_no_array():
    p = vg.TensorNode(np.ones(3))
    fast = vg.compile(lambda: np.ones(3))
    fast().fill(7)
    np.testing.assert_array_equal(fast(), np.ones(3))
    np.testing.assert_array_equal(vg.compile(lambda k: np.ones(3) * k)(2), np.full(3, 2))
    assert vg.compile(lambda: 3)() == 3
    assert vg.compile(lambda: None)() is None
    doubled = vg.compile(lambda: 2 * p, state=p)
    p.value = np.full(3, 5.0)
    np.testing.assert_array_equal(doubled().value, np.full(3, 10))
    with pytest.raises(TypeError, match="run_epoch needs at least one array"):
        doubled.run_epoch(batch_size=1)


Pair = type("Pair", (), {"__init__": lambda self, k: setattr(self, "k", k)})
VALUES = [
    0.0,
    -0.0,
    0,
    False,
    2,
    2.0,
    True,
    1,
    1.0,
    float("nan"),
    -float("nan"),
    float("inf"),
    np.float32(2),
    np.int8(2),
]
VALUES += [(2, 3), (2.0, 3.0), (0.0,), (-0.0,), ((1,), True), ((True,), 1), slice(0, 1), slice(False, 1), None, "a"]


def test_numbers_are_told_apart_by_their_kind_and_their_bits():
    def described(x, k):
        value = np.asarray(k).astype(np.float64) if isinstance(k, bool | int | float | np.generic) else np.zeros(1)
        return x[:1, :1] * 0 + value, (type(k).__name__, str(k))

    fast = vg.compile(described)
    for k in [*VALUES, *reversed(VALUES)]:
        (expected, _), (found, told) = described(X, k), fast(X, k)
        assert np.copysign(1, found).tobytes() == np.copysign(1, expected).tobytes() or np.isnan(expected).any()
        if not isinstance(k, np.generic):  # which are arrays
            assert told == (type(k).__name__, str(k))
    plans = len(fast.plans)
    fast(X, float("nan"))
    assert len(fast.plans) == plans, "NaN has one plan"


def test_arguments_by_name():
    fast = vg.compile(lambda x, y=2.0, *more: x * y + sum(more))
    np.testing.assert_array_equal(fast(x=X), 2 * X)
    np.testing.assert_array_equal(fast(X, y=3.0), 3 * X)
    np.testing.assert_array_equal(fast(y=X, x=X), X * X)
    with pytest.raises(TypeError, match=r"'k' can only be given by name: .* functools\.partial"):
        vg.compile(lambda x, *, k=1: x * k)(X, k=2)
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        fast(X, z=1)


# --- what changes around a function from call to call

factor = 2.0
weights = np.ones(3)
large = np.ones((300, 300))


def by_helper(x):
    return x * factor


class Scaled(nn.Module):
    def forward(self, x):
        return x * factor


class Trainer:
    def __init__(self):
        self.k, self.options = 2.0, {"shift": 1}

    def step(self, x):
        return x * self.k + self.options["shift"]


def closed():
    k = 2.0

    def f(x):
        return x * k

    def change():
        nonlocal k
        k = 5.0

    return f, change


def with_default():
    def f(x, options={"k": 2}):  # noqa: B006 (that it is changed is the point)
        return x * options["k"]

    return f, lambda: f.__defaults__[0].update(k=2.0 + 3)


def of_object():
    trainer = Trainer()
    return trainer.step, lambda: (setattr(trainer, "k", 3.0), trainer.options.update(shift=-0.5))


def partial():
    options = {"k": 2}
    return functools.partial(lambda options, x: x * options["k"], options), lambda: options.update(k=7)


def attribute_of_an_object():
    trainer = Trainer()
    return lambda x: x * trainer.k, lambda: setattr(trainer, "k", -2.0)


def unlisted_module():
    drop = nn.BatchNorm1d(3, dtype=np.float64).eval()
    return lambda x: drop(x).value, lambda: drop.running_mean.__iadd__(1)


class Slotted:
    __slots__ = ("k",)

    def __init__(self):
        self.k = 2.0


class Called:
    """An object that is called; it cannot be hashed."""

    __hash__ = None

    def __init__(self, k):
        self.k = k

    def __call__(self, x):
        return x * self.k


class Configured(nn.Module):
    def __init__(self):
        super().__init__()
        self.options, self.constants, self.act = Called(2.0), (np.ones(3),), np.tanh

    def forward(self, x):
        return self.act(x * self.options.k * self.constants[0])


def slots():
    options = Slotted()
    return lambda x: x * options.k, lambda: setattr(options, "k", 3.0)


def called():
    f = Called(2.0)
    return lambda x: f(x), lambda: setattr(f, "k", 9.0)


def object_of_a_module():
    model = Configured()
    return model, lambda: setattr(model.options, "k", 5.0)


def tuple_of_a_module():
    model = Configured()
    return model, lambda: model.constants[0].__imul__(7)


def chain(length):
    """A function that calls ``length`` others, most of which read a hundred variables; and a change of the last's."""
    numbers = " + ".join(f"n{i}" for i in range(100))
    lines = [f"def f{i}(x):\n    return f{i + 1}(x) + 0 * ({numbers})" for i in range(length)]
    names = {f"n{i}": i + 0.5 for i in range(100)} | {"factor": 2.0}
    exec("\n".join([*lines, f"def f{length}(x):\n    return x * factor"]), names)
    return names["f0"], lambda: names.update(factor=5.0)


def globally(**changes):
    return lambda: globals().update(changes)


AROUND = {
    "a global number": lambda: (lambda x: x * factor, globally(factor=3.0)),
    "its kind": lambda: (lambda x: np.floor(x).astype(np.int64) * factor, globally(factor=2)),
    "its sign": lambda: (lambda x: x * (factor - 2), globally(factor=-0.0)),
    "a global array": lambda: (lambda x: x * weights, globally(weights=np.arange(3.0))),
    "its numbers": lambda: (lambda x: x * weights, lambda: weights.__imul__(2)),
    "those of a large one": lambda: (lambda x: x + large.sum(), lambda: large.__imul__(2)),
    "in a helper": lambda: (lambda x: by_helper(x), globally(factor=4.0)),
    "the helper itself": lambda: (lambda x: by_helper(x), globally(by_helper=lambda x: x - 1)),
    "in a lambda within": lambda: (lambda x: (lambda y: y * factor)(x), globally(factor=4.0)),
    "in a module's forward": lambda: (Scaled(), globally(factor=6.0)),
    "a variable around it": closed,
    "a default": with_default,
    "its own object": of_object,
    "another object": attribute_of_an_object,
    "a module that is not listed": unlisted_module,
    "what is fixed by partial": partial,
    "a slot of an object": slots,
    "an attribute of an object that is called": called,
    "an object of a module": object_of_a_module,
    "an array in a module's tuple": tuple_of_a_module,
    "behind many variables": lambda: chain(3),
}


@pytest.mark.parametrize("name", AROUND)
def test_what_changes_around_a_function_is_seen(monkeypatch, name):
    for key, value in {
        "factor": 2.0,
        "weights": np.ones(3),
        "large": np.ones((300, 300)),
        "by_helper": by_helper,
    }.items():
        monkeypatch.setitem(globals(), key, value)
    f, change = AROUND[name]()
    fast = vg.compile(f)
    for _ in range(2):
        expected, found = (np.asarray(getattr(y, "value", y)) for y in (f(X), fast(X)))
        assert expected.dtype == found.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert np.array_equal(np.signbit(found), np.signbit(expected))
        change()
    assert len(fast.plans) <= 2


def test_an_object_in_the_place_of_one_that_is_gone_is_another():
    """Python gives its identity to the next object."""
    model, options = Configured(), None
    of_module, of_closure = vg.compile(model), vg.compile(lambda x: x * options.k)
    for k in range(1, 20):
        model.act, options = lambda x, k=k: x * k, Called(k)
        np.testing.assert_allclose(of_module(X).value, X * k * 2)
        np.testing.assert_allclose(of_closure(X), X * k)
        model.act = options = None


def test_it_is_said_that_not_all_around_a_function_is_seen(monkeypatch):
    monkeypatch.setattr("vugrad.compiler.signature.MOST_FUNCTIONS", 20)
    fast = vg.compile(chain(20)[0])
    with pytest.warns(UserWarning, match=r"^f0 calls more than 20 functions.* pass it as an argument$"):
        fast(X)


def test_an_argument_that_is_an_object_is_looked_into():
    trainer, fast = Trainer(), vg.compile(lambda x, trainer: x * trainer.k)
    np.testing.assert_array_equal(fast(X, trainer), 2 * X)
    trainer.k = 9.0
    np.testing.assert_array_equal(fast(X, trainer), 9 * X)


def test_a_function_that_only_keeps_a_record_is_compiled_once():
    record = []

    def f(x):
        global count
        count += 1
        record.append("called")
        return 2 * x

    fast = vg.compile(f)
    for _ in range(3):
        fast(X)
    assert len(fast.plans) == 1
    assert len(record) == 2, "it runs when it is recorded only"


class Run:
    """A person's own loop: its method is compiled, and its list of losses has the name of a module of vugrad."""

    def __init__(self):
        self.net, self.losses, self.steps = nn.Linear(3, 2), [], 0
        self.optimizer = vg.optim.SGD(self.net.parameters(), lr=0.1)

    def step(self, x, y):
        loss = vg.losses.cross_entropy(self.net(x), y)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss


def test_what_stands_beside_what_a_function_reads_makes_no_other_plan(monkeypatch):
    run = Run()
    fast = vg.compile(run.step, state=[run.net, run.optimizer])
    for _ in range(3):
        run.losses.append(fast(np.ones((4, 3), np.float32), np.array([0, 1, 1, 0])).item())
        run.steps += 1
    assert len(fast.plans) == 1
    fast = vg.compile(lambda weights, large: sum([weights * i for i in range(2)], large))
    for i in range(3):  # global variables with the names of arguments
        monkeypatch.setitem(globals(), "weights", np.full(3, float(i)))
        monkeypatch.setitem(globals(), "large", float(i))
        fast(np.full(3, float(i)), np.ones(3))
    assert len(fast.plans) == 1


def test_what_has_changed_since_the_call_is_not_differentiated(monkeypatch):
    """The backward runs the function again: it would be the gradient of another one."""
    fast, x = vg.compile(lambda x: np.sum(x * factor)), vg.TensorNode(X)
    monkeypatch.setitem(globals(), "factor", 2.0)
    loss = fast(x)
    monkeypatch.setitem(globals(), "factor", 3.0)
    with pytest.raises(RuntimeError, match="reads has changed since it was called"):
        loss.backward()
    model = vg.nn.Sequential(vg.nn.Linear(3, 2), vg.nn.BatchNorm1d(2)).eval()
    loss = np.sum(vg.compile(model)(np.ones((4, 3), np.float32)))
    model.train()
    with pytest.raises(RuntimeError, match="reads has changed since it was called"):
        loss.backward()


def test_an_argument_that_is_given_twice_has_its_gradient_once():
    z, product = vg.TensorNode(np.array([2.0, 3.0])), vg.compile(lambda x, y: np.sum(x * y))
    product(z, z).backward(create_graph=True)  # d(z²)/dz = 2z
    np.testing.assert_array_equal(z.grad.value, [4, 6])
    np.testing.assert_array_equal(
        vg.grad(lambda z: np.sum(vg.grad(lambda z: product(z, z))(z) ** 2))(z.value), [16, 24]
    )


def test_the_line_of_the_user_is_named():
    with pytest.raises(CannotCompileError, match=r"test_compiler_calls\.py:\d+"):
        vg.compile(lambda x: x * np.sum(x).item())(vg.TensorNode(X))


def test_a_compiled_function_without_arguments_in_another():
    model, _ = made()
    inner = vg.compile(lambda: np.sum(model.weight), state=model)
    outer = vg.compile(lambda x: x * inner(), state=model)
    first = outer(X).value
    model.weight.value *= 2
    np.testing.assert_allclose(outer(X).value, 2 * first, rtol=1e-12)


# --- positions that are an argument

W = np.array([0.5, 1.0, 4.0])
T = np.array([2, 0, 1, 2])
OUTPUTS = np.random.default_rng(1).normal(size=(4, 3))
TABLE = vg.TensorNode(np.arange(12.0).reshape(4, 3), requires_grad=False)


def weighted(outputs, targets, weight):
    each = losses.cross_entropy(outputs, targets, reduction="none")
    return np.sum(each * weight[targets]) / np.sum(weight[targets])


def test_class_weights_in_a_compiled_loss():
    expected = weighted(OUTPUTS, T, W).value
    fixed = vg.TensorNode(W, requires_grad=False)
    for f, arguments in (
        (lambda outputs, targets: weighted(outputs, targets, fixed), ()),
        (weighted, (W,)),
        (weighted, (vg.TensorNode(W.copy()),)),
    ):
        fast = vg.compile(f)
        np.testing.assert_allclose(fast(OUTPUTS, T, *arguments).value, expected, rtol=1e-12)
        gradient = vg.grad(fast)(OUTPUTS, T, *arguments)
        np.testing.assert_allclose(getattr(gradient, "value", gradient), vg.grad(weighted)(OUTPUTS, T, W), rtol=1e-10)
    with pytest.raises(
        CannotCompileError, match=r"w\[t\], where w is a plain array.* vg\.TensorNode\(w, requires_grad=False\)\[t\]"
    ):
        vg.compile(lambda outputs, targets: weighted(outputs, targets, W))(OUTPUTS, T)


@pytest.mark.parametrize(
    "f",
    [
        lambda t: TABLE[t],
        lambda t: TABLE[t, 0],
        lambda t: TABLE[1:3, t],
        lambda t: TABLE[t, t],
        lambda t: TABLE[np.array([0, 1, 2, 0]), t],
        lambda t: TABLE[..., t][None],
    ],
)
def test_constants_at_positions_that_are_an_argument(f):
    found = vg.compile(f)(T)
    np.testing.assert_array_equal(found.value, f(T).value)


# --- numbers that are none

SPECIAL = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0, -1.0, 1e37], np.float32)
PAIRS = [np.ascontiguousarray(x) for x in np.broadcast_arrays(SPECIAL[:, None], SPECIAL[None])]
OF_ONE = [
    "abs",
    "sign",
    "negative",
    "floor",
    "ceil",
    "rint",
    "trunc",
    "sqrt",
    "exp",
    "log",
    "log1p",
    "expm1",
    "tanh",
    "sin",
    "cos",
    "isnan",
    "isinf",
    "isfinite",
]
OF_TWO = ["add", "subtract", "multiply", "divide", "maximum", "minimum", "less", "greater_equal", "equal", "not_equal"]


def test_special_numbers_are_as_numpys():
    with np.errstate(all="ignore"):
        for name in OF_ONE:
            found, expected = vg.compile(getattr(np, name))(SPECIAL), getattr(np, name)(SPECIAL)
            np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=name)
            assert np.array_equal(np.signbit(found), np.signbit(expected)) or np.isnan(expected).any(), name
        for name in OF_TWO:
            f = getattr(np, name)
            np.testing.assert_array_equal(vg.compile(lambda x, y, f=f: f(x, y))(*PAIRS), f(*PAIRS), err_msg=name)
        chosen = vg.compile(lambda x, y: (np.where(x > y, x, y), np.clip(x, -1, 1), x.max(axis=0), x.min(axis=1)))
        x, y = PAIRS
        for a, b in zip(
            chosen(x, y), (np.where(x > y, x, y), np.clip(x, -1, 1), x.max(axis=0), x.min(axis=1)), strict=True
        ):
            np.testing.assert_array_equal(a, b)
        assert np.array_equal(np.signbit(vg.compile(np.sign)(SPECIAL)[3:5]), [False, False])
