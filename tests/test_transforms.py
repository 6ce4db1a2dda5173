"""``vg.grad`` and its kin: against closed forms and finite differences, nested, and around variables of outer ones."""

import math
import re
import threading

import numpy as np
import pytest
from gradients import jacobian
from hypothesis import given, strategies as st

import vugrad as vg

RNG = np.random.default_rng(0)
A = RNG.standard_normal((3, 3))
X = np.array([0.4, -1.2, 0.7])

#: Functions of three numbers to one, written in NumPy: they take arrays and nodes alike.
SCALAR = {
    "quadratic": lambda x: x @ A @ x,
    "products": lambda x: x[0] * x[1] * x[2],
    "mixed": lambda x: np.sum(np.exp(x) * np.sin(x @ A)),
    "norm": lambda x: np.sqrt(np.sum(x * x)),
    "logsumexp": lambda x: np.log(np.sum(np.exp(x))),
    "softplus": lambda x: np.sum(np.log1p(np.exp(x * 3))) ** 2,
    "linear": lambda x: x @ A[0],
    "one axis": lambda x: x[:1] ** 3,
}
#: And to several.
VECTOR = {
    "matrix": lambda x: A @ x,
    "elementwise": lambda x: np.tanh(x),
    "outer": lambda x: np.outer(x, np.sin(x)),
    "stacked": lambda x: np.stack([x * x, x[::-1]]),
    "one": lambda x: np.sum(x * x),
}
POINTS = st.lists(st.floats(-1.5, 1.5), min_size=3, max_size=3).map(np.array).filter(lambda x: np.abs(x).max() > 0.1)


# --- against finite differences


@pytest.mark.parametrize("name", SCALAR)
@given(x=POINTS)
def test_grad_agrees_with_finite_differences(name, x):
    f = SCALAR[name]
    value, gradient = vg.value_and_grad(f)(x)
    np.testing.assert_allclose(value, f(x))
    assert isinstance(value, np.ndarray | np.generic)
    assert type(gradient) is np.ndarray
    np.testing.assert_allclose(gradient, jacobian(f, x).reshape(3), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(vg.grad(f)(x), gradient)


@pytest.mark.parametrize("name", SCALAR)
def test_hessian_agrees_with_finite_differences(name):
    f = SCALAR[name]
    hessian = vg.hessian(f)(X)
    np.testing.assert_allclose(hessian, jacobian(lambda x: jacobian(f, x, 1e-4), X, 1e-4).reshape(3, 3), atol=1e-5)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-12)


@pytest.mark.parametrize("name", VECTOR)
def test_jacobian_and_jvp_agree_with_finite_differences(name):
    f = VECTOR[name]
    expected = jacobian(f, X)
    found = vg.jacobian(f)(X)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-8)
    direction = np.array([1.0, -2.0, 0.5])
    value, tangent = vg.jvp(f, (X,), (direction,))
    np.testing.assert_allclose(value, f(X))
    np.testing.assert_allclose(tangent, expected @ direction, atol=1e-8)


# --- closed forms


def test_higher_derivatives_of_one_number():
    f = np.sin
    for order, expected in enumerate([math.cos, lambda x: -math.sin(x), lambda x: -math.cos(x), math.sin]):
        f = vg.grad(f)
        assert float(f(0.7)) == pytest.approx(expected(0.7)), f"derivative {order + 1}"


def test_hessian_of_a_quadratic_form():
    np.testing.assert_allclose(vg.hessian(SCALAR["quadratic"])(X), A + A.T)


def test_the_jacobian_of_a_gradient_is_the_hessian():
    f = SCALAR["mixed"]
    np.testing.assert_allclose(vg.jacobian(vg.grad(f))(X), vg.hessian(f)(X))
    np.testing.assert_allclose(vg.jacobian(vg.jacobian(f))(X), vg.hessian(f)(X))


def test_the_jvp_of_a_gradient_is_a_hessian_vector_product():
    f, v = SCALAR["mixed"], np.array([1.0, 2.0, -1.0])
    _, product = vg.jvp(vg.grad(f), (X,), (v,))
    np.testing.assert_allclose(product, vg.hessian(f)(X) @ v)


def test_the_gradient_of_a_jvp():
    f, v = SCALAR["mixed"], np.array([1.0, 2.0, -1.0])
    found = vg.grad(lambda x: vg.jvp(f, (x,), (v,))[1])(X)
    np.testing.assert_allclose(found, vg.hessian(f)(X) @ v)


def test_jvp_of_several_arguments():
    value, tangent = vg.jvp(lambda x, y: x * y, (2.0, 3.0), (10.0, 100.0))
    assert (value, tangent) == (6, 10 * 3 + 2 * 100)


def test_jvp_in_a_direction_that_is_differentiated():
    # t · (2 · 3 · t) = 6 t², whose derivative at 5 is 60
    assert vg.grad(lambda t: t * vg.jvp(lambda x: x * x, (3.0,), (t,))[1])(5.0) == 60


def test_argnums():
    def f(x, y, scale=1.0):
        return (x * x * y).sum() * scale

    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    assert vg.grad(f, 1)(x, y).tolist() == [1, 4]
    gx, gy = vg.grad(f, (0, 1))(x, y, scale=10.0)
    assert (gx.tolist(), gy.tolist()) == ([60, 160], [10, 40])
    assert [g.tolist() for g in vg.grad(f, argnums=(1, 0))(x, y)] == [[1, 4], [6, 16]]
    (only,) = vg.grad(f, (0,))(x, y)
    assert only.tolist() == [6, 16]
    assert vg.jacobian(lambda x, y: x * y, argnums=1)(x, y).tolist() == [[1, 0], [0, 2]]
    assert vg.hessian(f, 0)(x, y).tolist() == [[6, 0], [0, 8]]
    value, (gx, _) = vg.value_and_grad(f, (0, 1))(x, y)
    assert (value, gx.tolist()) == (19, [6, 16])


def test_an_argument_used_twice():
    x = np.array([2.0])
    assert [g.item() for g in vg.grad(lambda a, b: (a * a * b).sum(), (0, 1))(x, x)] == [8, 4]


def test_functions_that_do_not_depend_on_their_argument():
    c = vg.TensorNode(3.0)
    assert vg.grad(lambda x: c * c)(X).tolist() == [0, 0, 0]
    assert vg.grad(lambda x: vg.TensorNode(1.0, requires_grad=False))(X).tolist() == [0, 0, 0]
    assert [g.tolist() for g in vg.grad(lambda x, y: (y * y).sum(), (0, 1))(X, np.ones(1))] == [[0, 0, 0], [2]]
    assert vg.jacobian(lambda x: c * np.ones(2))(X).shape == (2, 3)
    assert not vg.jacobian(lambda x: c * np.ones(2))(X).any()
    assert not vg.hessian(lambda x: c * c)(X).any()
    assert vg.jvp(lambda x: c * np.ones(2), (X,), (X,))[1].tolist() == [0, 0]
    assert vg.grad(vg.grad(lambda x: 3 * x))(1.0) == 0


def test_the_identity():
    assert vg.grad(lambda x: x)(2.0) == 1
    assert vg.jacobian(lambda x: x)(X).tolist() == np.eye(3).tolist()
    assert vg.jvp(lambda x: x, (X,), (X,))[1].tolist() == X.tolist()
    assert vg.jacobian(lambda x: x[:0])(X).shape == (0, 3)


# --- variables from around the function


def test_no_confusion_of_perturbations():
    # d/dx (x · d/dy (x + y)) = d/dx (x · 1) = 1: an inner derivative of 2 would be y's mistaken for x's.
    assert vg.grad(lambda x: x * vg.grad(lambda y: x + y)(1.0))(1.0) == 1
    assert vg.grad(lambda x: x * vg.grad(lambda y: x + y)(x))(1.0) == 1
    assert vg.grad(lambda x: x * vg.jvp(lambda y: x + y, (x,), (1.0,))[1])(1.0) == 1


def test_an_inner_derivative_depends_on_the_variables_around_it():
    # d/dx (x · d/dy (x y)) = d/dx (x · x) = 2 x, whether y is given as a number or as a node
    assert vg.grad(lambda x: x * vg.grad(lambda y: x * y)(1.0))(3.0) == 6
    assert vg.grad(lambda x: x * vg.grad(lambda y: x * y)(x))(3.0) == 6
    assert vg.grad(lambda x: x * vg.grad(lambda y, z: y * z)(1.0, x))(3.0) == 6
    assert vg.grad(lambda x: x * vg.grad(lambda y, z: y * z)(1.0, z=x))(3.0) == 6
    assert vg.grad(lambda x: (x * vg.jacobian(lambda y: x * y)(np.ones(1))).sum())(3.0) == 6
    assert vg.grad(lambda x: x * vg.jvp(lambda y: x * y, (1.0,), (1.0,))[1])(3.0) == 6
    assert vg.grad(lambda x: vg.value_and_grad(lambda y: x * y)(2.0)[0] * x)(3.0) == 12
    # three deep: x · d/dy (y² · d/dz (x y z)) = x · d/dy (x y³) = 3 x² y², so 6 x y² at x = 2, y = 5
    assert vg.grad(lambda x: x * vg.grad(lambda y: y * y * vg.grad(lambda z: x * y * z)(1.0))(5.0))(2.0) == 300


def test_an_inner_derivative_of_what_is_known_is_an_array():
    def f(x):
        inner = vg.grad(lambda y: y * y)(2.0)
        assert not isinstance(inner, vg.TensorNode)
        return x * inner

    assert vg.grad(f)(1.0) == 4


def test_variables_are_forgotten_when_a_function_fails():
    leaked = []

    def f(x):
        leaked.append(x)
        raise KeyError

    with pytest.raises(KeyError):
        vg.grad(f)(1.0)
    assert not isinstance(vg.grad(lambda y: leaked[0] * y)(1.0), vg.TensorNode)


def test_other_threads_do_not_see_the_variables():
    found = []

    def f(x):
        thread = threading.Thread(target=lambda: found.append(vg.grad(lambda y: y * x)(1.0)))
        thread.start()
        thread.join()
        return x * 1

    vg.grad(f)(2.0)
    assert found == [2]
    assert not isinstance(found[0], vg.TensorNode)


def test_parameters_from_around_the_function_leave_arrays_arrays():
    net = vg.nn.MLP([3, 4, 1], dtype=np.float64, rng=np.random.default_rng(0))
    f = lambda x: net(x.reshape(1, 3)).sum()  # noqa: E731
    found = vg.grad(f)(X)
    assert type(found) is np.ndarray
    np.testing.assert_allclose(found, jacobian(lambda x: f(vg.TensorNode(x)).value, X), atol=1e-8)


# --- nodes in, nodes out; no .grad touched


def test_nodes_in_nodes_out():
    x = vg.TensorNode(X)
    value, gradient = vg.value_and_grad(lambda v: (v**3).sum())(x)
    assert isinstance(value, vg.TensorNode)
    assert isinstance(gradient, vg.TensorNode)
    gradient.sum().backward()
    np.testing.assert_allclose(x.grad, 6 * X)
    for found in (vg.grad(lambda v, w: (v * w).sum())(X, x), vg.grad(lambda v, w: (v * w).sum())(X, w=x)):
        assert isinstance(found, vg.TensorNode), "it depends on a node"


def test_no_gradient_is_touched():
    x, w = vg.TensorNode(X), vg.TensorNode(np.ones(3))
    x.grad[...] = 5
    for transform in (vg.grad, vg.value_and_grad, vg.hessian, vg.jacobian):
        transform(lambda v: (v * v * w).sum())(x)
        transform(lambda v: (v * v * w).sum())(X)
    vg.jvp(lambda v: (v * v * w).sum(), (x,), (X,))
    assert x.grad.tolist() == [5, 5, 5]
    assert not w.grad.any()


def test_dtypes():
    x = X.astype(np.float32)
    value, gradient = vg.value_and_grad(lambda v: (v * v).sum())(x)
    assert (value.dtype, gradient.dtype) == (np.float32, np.float32)
    assert vg.hessian(lambda v: (v * v).sum())(x).dtype == np.float32
    assert vg.jvp(lambda v: v * v, (x,), (x,))[1].dtype == np.float32


def test_the_functions_keep_their_names():
    def energy(x):
        """½ x²."""
        return x * x / 2

    for transform in (vg.grad, vg.value_and_grad, vg.jacobian):
        assert transform(energy).__name__ == "energy"


# --- errors


ERRORS = {
    "several numbers": (
        lambda: vg.grad(lambda x: x * x)(X),
        ValueError,
        "the function returned shape (3,) and not one number: return its sum, or use vg.jacobian",
    ),
    "a plain array": (
        lambda: vg.grad(lambda x: x.value.sum())(X),
        TypeError,
        "f returned float64, not a node: compute its value with operators, NumPy functions or vg's own on the",
    ),
    "whole numbers": (
        lambda: vg.grad(lambda x, y: x * y, 1)(1.0, 2),
        TypeError,
        "argument 1 is of dtype int64, which has no gradient: pass floating-point numbers",
    ),
    "no_grad": (
        lambda: vg.no_grad()(lambda: vg.jacobian(lambda x: x)(X))(),
        RuntimeError,
        "inside vg.no_grad() no graph is built, so nothing can be differentiated: leave it first",
    ),
    "too few tangents": (
        lambda: vg.jvp(lambda x, y: x * y, (1.0, 2.0), (1.0,)),
        ValueError,
        "vg.jvp needs a tangent for each primal, got 1 for 2",
    ),
    "a tangent of another shape": (
        lambda: vg.jvp(lambda x: x * x, (X,), (X[:2],)),
        ValueError,
        "a tangent has its primal's shape, got (2,) for (3,)",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_teach(name):
    fault, kind, words = ERRORS[name]
    with pytest.raises(kind, match=re.escape(words)):
        fault()
