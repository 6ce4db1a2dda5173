"""Long sums of compiled code: as exact as NumPy's pairwise ones, in whatever part of a kernel they are cut."""

import itertools

import numpy as np
import pytest
from compiler_floors import MACHINES, check

import vugrad as vg
from vugrad import losses, nn, ops
from vugrad.compiler.loops.index import Var, of
from vugrad.compiler.loops.program import Loop
from vugrad.compiler.lower.sums import in_parts
from vugrad.compiler.plan import Recent

N = 10**6
TENTHS = np.full(N, 0.1, np.float32)
RANDOM = np.random.default_rng(0).random(N, np.float32)


def softmax(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def gradient_of_scale(x):
    return vg.grad(lambda w: np.sum(w * x))(np.ones(1, np.float32))


def weight_gradient(x):
    x = np.reshape(x, (-1, 10))
    return vg.grad(lambda w: np.mean(x @ w))(np.ones((10, 3), np.float32))


LONG = {
    "mean": lambda x: x.mean(),
    "sum": lambda x: x.sum(),
    "sum of long rows": lambda x: np.reshape(x, (4, -1)).sum(axis=1),
    "sum of long columns": lambda x: np.reshape(x, (-1, 4)).sum(axis=0),
    "sum of all axes": lambda x: np.reshape(x, (100, 100, 100)).sum(),
    "norm": lambda x: np.linalg.norm(x),
    "variance": lambda x: np.var(x + 1),
    "dot product": lambda x: x @ x,
    "matrix and vector": lambda x: np.reshape(x, (4, -1)) @ x[: N // 4],
    "gram matrix": lambda x: np.reshape(x, (-1, 4)).T @ np.reshape(x, (-1, 4)),
    "einsum": lambda x: np.einsum("ij->", np.reshape(x, (4, -1))),
    "softmax of a long row": lambda x: softmax(np.reshape(x, (1, -1))).max() * N,
    "a loss of a big batch": lambda x: losses.mse_loss(x, 0 * x).value,
    "a gradient of one number": gradient_of_scale,
    "a weight's gradient": weight_gradient,
}


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("x", [TENTHS, RANDOM], ids=["tenths", "random"])
def test_long_sums_of_float32_are_exact_to_a_millionth(name, x):
    if name == "variance" and x is TENTHS:
        x = np.arange(N, dtype=np.float32) % 2  # of which it is 1/4
    expected = LONG[name](x.astype(np.float64))
    found = vg.compile(LONG[name])(x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def attention(x):
    return np.matmul(softmax(np.matmul(x, np.swapaxes(x, 1, 2)) / 3), x)


def convolution(x, w):
    nodes = vg.TensorNode(x), vg.TensorNode(w)
    y = ops.Conv2d.do_forward(*nodes, stride=(1, 1), padding=(1, 1))
    np.sum(y * y).backward()
    return y.value, *(node.grad for node in nodes)


CUT = {
    "a vector": (lambda x: (x.sum(), x.mean(), (x * x).sum()), [(103,)]),
    "rows and columns": (lambda x: (x.sum(axis=0), x.sum(axis=1), x.sum(), np.var(x, axis=1)), [(7, 53)]),
    "few instances": (lambda x: (x.sum(axis=0), x.sum(axis=1), x.sum()), [(2, 61)]),
    "the middle": (lambda x: (x.sum(axis=1), x.sum(axis=(0, 2)), x.max(axis=1)), [(3, 37, 5)]),
    "a view": (lambda x: (x[::-1, ::3].sum(axis=1), np.reshape(x, (-1, 7)).sum(axis=0), x.T.sum()), [(21, 31)]),
    "products": (lambda x, y: (x @ y, x.T @ x, (x @ y).sum()), [(9, 41), (41, 5)]),
    "a product of vectors": (lambda x, y: (x @ y, np.outer(x, y).sum(axis=0)), [(67,), (67,)]),
    "three factors": (lambda x, y, z: np.einsum("ij,jk,ki->i", x, y, z), [(5, 17), (17, 19), (19, 5)]),
    "attention": (attention, [(3, 29, 6)]),
    "a convolution": (convolution, [(4, 2, 5, 4), (3, 2, 2, 2)]),
    "positions": (lambda x: np.argmax(x, axis=1) + np.argmax(x, axis=1).sum(), [(6, 47)]),
}


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("terms", [(2, 3), (8, 16)], ids=str)
def test_sums_cut_anywhere_are_the_same_on_every_floor(monkeypatch, name, terms):
    monkeypatch.setenv("VUGRAD_CACHE", "")
    monkeypatch.setattr("vugrad.compiler.plan._lowerings", Recent(0))
    monkeypatch.setattr("vugrad.compiler.lower.nest.TERMS", terms[0])
    monkeypatch.setattr("vugrad.compiler.lower.nest.LONG", terms[1])
    function, shapes = CUT[name]
    rng = np.random.default_rng(0)
    check(function, *(rng.normal(size=shape).astype(np.float32) for shape in shapes), machines=MACHINES)


def turns(loops, values):
    """The values of the loops' variables, turn by turn."""
    if not loops:
        yield values
        return
    loop, *inner = loops
    ends = [i.substitute(values).number() for i in loop.upper]
    for i in range(min([loop.var.extent, *ends])):
        yield from turns(inner, {**values, loop.var: of(i)})


@pytest.mark.parametrize("extents", [(5,), (64,), (67,), (4, 40), (3, 65), (70, 3), (2, 3, 4), (1, 1), (100, 70), ()])
@pytest.mark.parametrize("most", [8, 64])
def test_loops_are_cut_into_the_same_turns(extents, most):
    variables = [Var(f"k{i}", n) for i, n in enumerate(extents)]
    names = itertools.count()
    outer, inner, parts = in_parts([Loop(v, []) for v in variables], most, lambda _, n: Var(f"new {next(names)}", n))
    found = [
        tuple(parts.get(v, of(v)).substitute(values).number() for v in variables)
        for values in turns([*outer, *inner], {})
    ]
    assert found == list(np.ndindex(extents))
    assert np.prod([loop.var.extent for loop in inner]) <= most


def test_a_training_step_with_a_long_batch_is_the_eager_one():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3000, 5)).astype(np.float32), rng.integers(3, size=3000)
    results = []
    for compiled in (False, True):
        model = nn.MLP([5, 7, 3], rng=np.random.default_rng(1))
        optimizer = vg.optim.SGD(model.parameters(), lr=0.1)

        def step(x, y, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = losses.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        run = vg.compile(step, state=[model, optimizer]) if compiled else step
        results.append([float(run(x, y)) for _ in range(3)] + [p.value for p in model.parameters()])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(b, a, rtol=2e-5, atol=2e-6)
