"""NumPy on nodes: each function that is said to work gives NumPy's own value, and the right gradient."""

import numpy as np
import pytest
from gradients import assert_derivative
from hypothesis import given, settings, strategies as st

import vugrad as vg
from vugrad.ops import supported
from vugrad.ops.table import NONZERO, POSITIVE, UNIT, rows

MASK = np.array([[True, False, True], [False, True, True]])

# Each line: some calls, as people write them, and the shapes of their arguments.
DIFFERENTIABLE = {
    "add": [(lambda x, y: np.add(x, y), "2x3,3"), (lambda x, y: x + y, "2x1,3")],
    "subtract": [(lambda x, y: np.subtract(x, y), "2x3,3"), (lambda x, y: x - y, "2x1,3")],
    "multiply": [(lambda x, y: np.multiply(x, y), "2x3,3"), (lambda x, y: x * y, "2x1,3")],
    "divide": [(lambda x, y: np.divide(x, y), "2x3,3"), (lambda x, y: np.true_divide(x, y), "2x1,3")],
    "power": [(lambda x, y: np.power(x, y), "2x3,3"), (lambda x: np.power(x, 3), "2x3"), (lambda x: x**0.5, "3")],
    "negative": [(lambda x: np.negative(x), "2x3"), (lambda x: -x, "()")],
    "copy": [(lambda x: np.copy(x), "2x3"), (lambda x: np.copy(x, order="C"), "3")],
    "positive": [(lambda x: np.positive(x), "2x3"), (lambda x: +x, "2x3")],
    "maximum": [(lambda x, y: np.maximum(x, y), "2x3,3"), (lambda x: np.maximum(0, x), "2x3")],
    "minimum": [(lambda x, y: np.minimum(x, y), "2x3,3"), (lambda x: np.minimum(x, 0.0), "2x3")],
    "absolute": [(lambda x: np.abs(x), "2x3"), (abs, "2x3")],
    "fabs": [(lambda x: np.fabs(x), "2x3")],
    "exp": [(lambda x: np.exp(x), "2x3"), (lambda x: np.exp(x), "()")],
    "exp2": [(lambda x: np.exp2(x), "2x3")],
    "log": [(lambda x: np.log(x), "2x3")],
    "sqrt": [(lambda x: np.sqrt(x), "2x3")],
    "tanh": [(lambda x: np.tanh(x), "2x3")],
    "sin": [(lambda x: np.sin(x), "2x3")],
    "cos": [(lambda x: np.cos(x), "2x3")],
    "tan": [(lambda x: np.tan(x), "2x3")],
    "arcsin": [(lambda x: np.arcsin(x), "2x3")],
    "arccos": [(lambda x: np.arccos(x), "2x3")],
    "arctan": [(lambda x: np.arctan(x), "2x3")],
    "sinh": [(lambda x: np.sinh(x), "2x3")],
    "cosh": [(lambda x: np.cosh(x), "2x3")],
    "square": [(lambda x: np.square(x), "2x3")],
    "reciprocal": [(lambda x: np.reciprocal(x), "2x3")],
    "expm1": [(lambda x: np.expm1(x), "2x3")],
    "log1p": [(lambda x: np.log1p(x), "2x3")],
    "log2": [(lambda x: np.log2(x), "2x3")],
    "log10": [(lambda x: np.log10(x), "2x3")],
    "clip": [
        (lambda x: np.clip(x, -0.5, 0.5), "3x4"),
        (lambda x: np.clip(x, None, 0.3), "3x4"),
        (lambda x: np.clip(x, 0.3, None), "3x4"),
        (lambda x: np.clip(x, a_min=-0.2, a_max=0.2), "3x4"),
    ],
    "where": [
        (lambda x, y: np.where(MASK, x, y), "2x3,2x3"),
        (lambda x: np.where(MASK, x, 0), "3"),
        (lambda x: np.where(x > 0, 1.0, x), "2x3"),
        (lambda x, y: np.where([1, 0, 2], x, y), "2x3,()"),
    ],
    "matmul": [
        (lambda x, y: np.matmul(x, y), "2x3,3x4"),
        (lambda x, y: x @ y, "2x3,3"),
        (lambda x, y: x @ y, "3,2x3x2"),
        (lambda x, y: x @ y, "3,3"),
        (lambda x, y: x @ y, "2x1x2x3,3x3x1"),
    ],
    "dot": [
        (lambda x, y: np.dot(x, y), "3,3"),
        (lambda x, y: np.dot(x, y), "2x3,3x2"),
        (lambda x, y: np.dot(x, y), "2x3,3"),
        (lambda x, y: np.dot(x, y), "2x2x3,2x3x2"),
        (lambda x, y: np.dot(x, y), "(),2x3"),
        (lambda x: np.dot(x, [1.0, 2.0, 3.0]), "2x3"),
    ],
    "inner": [
        (lambda x, y: np.inner(x, y), "3,3"),
        (lambda x, y: np.inner(x, y), "2x3,4x3"),
        (lambda x, y: np.inner(x, y), "2x3,()"),
    ],
    "outer": [(lambda x, y: np.outer(x, y), "3,2"), (lambda x, y: np.outer(x, y), "2x2,3")],
    "tensordot": [
        (lambda x, y: np.tensordot(x, y), "2x3x4,3x4x2"),
        (lambda x, y: np.tensordot(x, y, 1), "2x3,3x2"),
        (lambda x, y: np.tensordot(x, y, axes=0), "2,3"),
        (lambda x, y: np.tensordot(x, y, axes=([0, 2], [1, -1])), "2x3x4,3x2x4"),
        (lambda x, y: np.tensordot(x, y, axes=(-1, 0)), "2x3,3"),
    ],
    "einsum": [
        (lambda x, y: np.einsum("ij,jk->ik", x, y), "2x3,3x4"),
        (lambda x, y: np.einsum("ij, jk", x, y, optimize=False), "2x3,3x4"),
        (lambda x: np.einsum("ii", x), "3x3"),
        (lambda x: np.einsum("ii->i", x), "3x3"),
        (lambda x: np.einsum("iij->j", x), "2x2x3"),
        (lambda x: np.einsum("iii", x), "3x3x3"),
        (lambda x: np.einsum("ij->", x), "2x3"),
        (lambda x: np.einsum("ij->j", x), "2x3"),
        (lambda x: np.einsum("ba", x), "2x3"),
        (lambda x: np.einsum("Zb->bZ", x), "2x3"),
        (lambda x, y: np.einsum("...ij,...jk->...ik", x, y), "2x2x3,3x2"),
        (lambda x, y: np.einsum("...i,i...", x, y), "2x3,3x2"),
        (lambda x: np.einsum("...ii->...i", x), "2x3x3"),
        (lambda x, y: np.einsum("ij,k->i", x, y), "2x3,2"),
        (lambda x, y, z: np.einsum("ij,jk,kl->il", x, y, z), "2x3,3x2,2x1"),
        (lambda x, y, z: np.einsum("i,i,i", x, y, z), "3,3,3"),
        (lambda x, y: np.einsum("ij,ij->ij", x, y), "1x3,2x3"),
        (lambda x: np.einsum(",", x, x), "()"),
    ],
    "sum": [
        (lambda x: np.sum(x), "2x3x4"),
        (lambda x: np.sum(x, 0), "2x3x4"),
        (lambda x: np.sum(x, axis=(0, 2), keepdims=True), "2x3x4"),
        (lambda x: x.sum(-1), "2x3x4"),
        (lambda x: x.sum(axis=1, keepdims=True), "2x3x4"),
        (lambda x: np.sum(x, axis=()), "2x3"),
        (lambda x: np.sum(x, axis=0), "0x3"),
    ],
    "mean": [
        (lambda x: np.mean(x), "2x3x4"),
        (lambda x: np.mean(x, 1), "2x3x4"),
        (lambda x: x.mean(axis=(-1, 0), keepdims=True), "2x3x4"),
    ],
    "var": [
        (lambda x: np.var(x), "2x3x4"),
        (lambda x: np.var(x, 0, ddof=1), "2x3x4"),
        (lambda x: x.var(axis=(1, 2), keepdims=True), "2x3x4"),
    ],
    "std": [(lambda x: np.std(x), "2x3x4"), (lambda x: np.std(x, axis=1, ddof=1, keepdims=True), "2x3x4")],
    "max": [
        (lambda x: np.max(x), "2x3x4"),
        (lambda x: np.max(x, 1), "2x3x4"),
        (lambda x: np.max(x, axis=(0, 2), keepdims=True), "2x3x4"),
        (lambda x: x.max(axis=-1), "2x3x4"),
    ],
    "min": [(lambda x: np.min(x, 1), "2x3x4"), (lambda x: x.min(axis=(0, 2), keepdims=True), "2x3x4")],
    "amax": [(lambda x: np.amax(x, axis=1), "2x3x4")],
    "amin": [(lambda x: np.amin(x, axis=1), "2x3x4")],
    "prod": [
        (lambda x: np.prod(x), "2x3"),
        (lambda x: np.prod(x, 0), "3x2"),
        (lambda x: np.prod(x, axis=(0, 2), keepdims=True), "2x3x4"),
        (lambda x: np.prod(x, axis=(2, 0)), "2x3x4"),
        (lambda x: np.prod(x, axis=1), "2x0"),
        (lambda x: np.prod(x * np.array([0.0, 1.0, 2.0])), "2x3"),
    ],
    "cumsum": [
        (lambda x: np.cumsum(x), "2x3"),
        (lambda x: np.cumsum(x, 0), "5x2"),
        (lambda x: np.cumsum(x, axis=-2), "2x4x3"),
        (lambda x: np.cumsum(x), "0"),
    ],
    "trace": [(lambda x: np.trace(x), "3x3"), (lambda x: np.trace(x), "2x3"), (lambda x: np.trace(x), "2x3x2")],
    "linalg.norm": [
        (lambda x: np.linalg.norm(x), "3"),
        (lambda x: np.linalg.norm(x), "2x3x2"),
        (lambda x: np.linalg.norm(x, axis=1), "2x3"),
        (lambda x: np.linalg.norm(x, 2, axis=0, keepdims=True), "2x3"),
        (lambda x: np.linalg.norm(x, ord=1), "3"),
        (lambda x: np.linalg.norm(x, 1, 1), "2x3"),
        (lambda x: np.linalg.norm(x, axis=(0, 2)), "2x3x2"),
    ],
    "reshape": [
        (lambda x: np.reshape(x, (3, 2)), "2x3"),
        (lambda x: np.reshape(x, -1), "2x3"),
        (lambda x: np.reshape(x, shape=[6, 1]), "2x3"),
        (lambda x: x.reshape(3, -1), "2x3"),
        (lambda x: x.reshape((3, -1)), "2x3"),
        (lambda x: x.reshape(6), "2x3"),
        (lambda x: x.reshape(()), "1x1"),
    ],
    "transpose": [
        (lambda x: np.transpose(x), "2x3x4"),
        (lambda x: np.transpose(x, (1, 0)), "2x3"),
        (lambda x: np.transpose(x, axes=[2, 0, -2]), "2x3x4"),
        (lambda x: np.transpose(x, np.array([1, 2, 0])), "2x3x4"),
        (lambda x: x.T, "2x3x4"),
        (lambda x: x.transpose(), "2x3x4"),
        (lambda x: x.transpose(1, 2, 0), "2x3x4"),
        (lambda x: x.transpose((0, 2, 1)), "2x3x4"),
        (lambda x: np.transpose(x), "()"),
    ],
    "ravel": [(lambda x: np.ravel(x), "2x3"), (lambda x: np.ravel(x), "()")],
    "squeeze": [
        (lambda x: np.squeeze(x), "1x3x1"),
        (lambda x: np.squeeze(x, axis=0), "1x3x1"),
        (lambda x: np.squeeze(x, (0, -1)), "1x3x1"),
    ],
    "expand_dims": [
        (lambda x: np.expand_dims(x, 0), "2x3"),
        (lambda x: np.expand_dims(x, axis=-1), "2x3"),
        (lambda x: np.expand_dims(x, (0, 2)), "2x3"),
    ],
    "swapaxes": [(lambda x: np.swapaxes(x, 0, -1), "2x3x4"), (lambda x: np.swapaxes(x, axis1=1, axis2=1), "2x3")],
    "moveaxis": [
        (lambda x: np.moveaxis(x, 0, -1), "2x3x4"),
        (lambda x: np.moveaxis(x, -1, 0), "2x3x4"),
        (lambda x: np.moveaxis(x, [0, 1], [-1, 0]), "2x3x4x1"),
        (lambda x: np.moveaxis(x, source=(3, 0), destination=(1, 2)), "2x3x4x1"),
    ],
    "broadcast_to": [(lambda x: np.broadcast_to(x, (2, 3)), "3"), (lambda x: np.broadcast_to(x, shape=(2, 3)), "2x1")],
    "concatenate": [
        (lambda x, y: np.concatenate([x, y]), "2x3,1x3"),
        (lambda x, y: np.concatenate((x, y, x), axis=-1), "2x3,2x1"),
        (lambda x, y: np.concatenate((x, y), axis=None), "2x3,2"),
        (lambda x, y: np.concat([x, np.zeros((1, 3)), y], 0), "2x3,0x3"),
        (lambda x: np.concatenate(x), "2x3"),
    ],
    "stack": [
        (lambda x, y: np.stack([x, y]), "2x3,2x3"),
        (lambda x, y: np.stack((x, y), axis=-1), "2x3,2x3"),
        (lambda x, y: np.stack((x, y, x), 1), "3,3"),
        (lambda x: np.stack(list(x)), "2x3"),
    ],
    "vstack": [(lambda x, y: np.vstack([x, y]), "3,2x3")],
    "hstack": [(lambda x, y: np.hstack([x, y]), "3,2"), (lambda x, y: np.hstack([x, y]), "2x3,2x1")],
    "split": [
        (lambda x: np.split(x, 2), "4x3"),
        (lambda x: np.split(x, [1, 3], axis=1), "2x4"),
        (lambda x: np.split(x, [0, 2, 9], axis=-1), "2x4"),
        (lambda x: np.split(x, indices_or_sections=3), "3"),
    ],
    "pad": [
        (lambda x: np.pad(x, 1), "2x3"),
        (lambda x: np.pad(x, (1, 2)), "2x3"),
        (lambda x: np.pad(x, ((0, 1), (2, 0)), "constant", constant_values=1.5), "2x3"),
        (lambda x: np.pad(x, pad_width=((1,), (2,)), mode="constant"), "2x3"),
    ],
    "flip": [
        (lambda x: np.flip(x), "2x3"),
        (lambda x: np.flip(x, 0), "2x3"),
        (lambda x: np.flip(x, axis=(0, -1)), "2x3x2"),
    ],
    "repeat": [
        (lambda x: np.repeat(x, 2), "2x3"),
        (lambda x: np.repeat(x, 2, axis=1), "2x3"),
        (lambda x: np.repeat(x, repeats=3, axis=-2), "2x3"),
        (lambda x: np.repeat(x, [1, 0, 2], axis=1), "2x3"),
    ],
    "tile": [
        (lambda x: np.tile(x, 2), "2x3"),
        (lambda x: np.tile(x, (2, 1, 2)), "2x3"),
        (lambda x: np.tile(x, reps=(2,)), "2x3"),
        (lambda x: np.tile(x, (2, 2)), "()"),
    ],
    "take": [
        (lambda x: np.take(x, [0, 2, 2], axis=0), "3x2"),
        (lambda x: np.take(x, np.array([[1, 0], [-1, 1]]), 1), "2x3"),
        (lambda x: np.take(x, 1, axis=-1), "2x3"),
        (lambda x: np.take(x, [5, 0, 0]), "2x3"),
    ],
    "take_along_axis": [
        (lambda x: np.take_along_axis(x, np.array([[0, 0], [2, 1]]), 1), "2x3"),
        (lambda x: np.take_along_axis(x, indices=np.array([[1, 0, 1]]), axis=0), "2x3"),
        (lambda x: np.take_along_axis(x, np.argmax(x, axis=1, keepdims=True), axis=1), "2x3"),
        (lambda x: np.take_along_axis(x, np.array([5, 0]), axis=None), "2x3"),
    ],
    "astype": [(lambda x: np.astype(x, np.float64), "2x3"), (lambda x: x.astype(float), "2x3")],
}  # fmt: skip

# What gives plain arrays, numbers or text, since it is constant almost everywhere.
PLAIN = {
    **{name: lambda x, y, name=name: getattr(np, name)(x, y) for name in (
        "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or",
        "logical_xor", "array_equal", "allclose", "isclose", "result_type",
    )},
    **{name: lambda x, y, name=name: getattr(np, name)(x) for name in (
        "logical_not", "isnan", "isinf", "isfinite", "sign", "floor", "ceil", "rint", "round", "around", "trunc",
        "argmax", "argmin", "argsort", "any", "all", "count_nonzero", "nonzero", "shape", "ndim", "size",
        "zeros_like", "ones_like", "array2string", "array_repr", "array_str",
    )},
    **{name: lambda x, y, name=name: getattr(np, name)(np.clip(x, 0, 3).astype(int), y.astype(int)) for name in (
        "bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift",
    )},
    "invert": lambda x, y: np.invert(np.clip(x, 0, 3).astype(int)),
    "full_like": lambda x, y: np.full_like(x, 3),
    "empty_like": lambda x, y: np.empty_like(x).shape,
}  # fmt: skip

DOMAINS = dict.fromkeys(["log", "log2", "log10", "sqrt", "power"], POSITIVE) | {
    "divide": NONZERO,
    "reciprocal": NONZERO,
}
CALLS = [
    pytest.param(rows(vg.Id, f, text, domains=(DOMAINS.get(name, UNIT),))[0], id=f"{name} {i} of {text}")
    for name, calls in DIFFERENTIABLE.items()
    for i, (f, text) in enumerate(calls)
]


def listed(result):
    return result if isinstance(result, list) else [result]


def test_every_supported_function_is_called_here():
    assert set(supported()) == set(DIFFERENTIABLE) | set(PLAIN)


@pytest.mark.parametrize("call", CALLS)
def test_values_gradients_and_dtypes(call):
    f, rng = call.reference, np.random.default_rng(0)
    xs = call.inputs(rng)
    nodes = [vg.TensorNode(x) for x in xs]
    results, expected = listed(f(*nodes)), listed(f(*xs))
    for result, array in zip(results, expected, strict=True):
        assert isinstance(result, vg.TensorNode)
        assert (result.shape, result.dtype) == (np.shape(array), array.dtype)
        np.testing.assert_allclose(result.value, array, rtol=1e-12, atol=1e-14)
    weights = [rng.normal(size=result.shape) for result in results]

    def weighted(*arrays):
        return sum(np.sum(w * y) for w, y in zip(weights, listed(f(*arrays)), strict=True))

    weighted(*nodes).backward()
    assert_derivative(weighted, xs, [node.grad for node in nodes], rng)
    check_dtypes(call)


def check_dtypes(call):
    """Results have the dtypes that NumPy gives them, for float32 too."""
    xs = call.inputs(np.random.default_rng(0), np.float32)
    nodes = [vg.TensorNode(x) for x in xs]
    for result, array in zip(listed(call.reference(*nodes)), listed(call.reference(*xs)), strict=True):
        assert result.dtype == array.dtype


@pytest.mark.parametrize("call", [call for call in CALLS if len(call.values[0].shapes) > 1])
def test_a_node_and_an_array_in_either_place(call):
    f, xs = call.reference, call.inputs(np.random.default_rng(0))
    nodes = [vg.TensorNode(x) for x in xs]
    f(*nodes).sum().backward()
    for i, node in enumerate(nodes):
        alone = vg.TensorNode(xs[i])
        f(*xs[:i], alone, *xs[i + 1 :]).sum().backward()
        np.testing.assert_allclose(alone.grad, node.grad)


@pytest.mark.parametrize(("name", "f"), PLAIN.items(), ids=PLAIN)
def test_what_has_no_derivative_is_plain(name, f):
    x, y = np.array([[0.5, -1.2], [np.inf, 0.0]]), np.array([0.5, 1.0])
    result, expected = f(vg.TensorNode(x), vg.TensorNode(y)), f(x, y)
    assert type(result) is type(expected)
    np.testing.assert_array_equal(result, expected)


def test_a_copy_shares_no_memory():
    x = vg.TensorNode(np.zeros(3))
    assert not np.shares_memory(np.copy(x).value, x.value)


# --- operators

NUMBER = {
    "x + 2": lambda x: x + 2,
    "2 + x": lambda x: 2 + x,
    "x - 2.5": lambda x: x - 2.5,
    "2 - x": lambda x: 2 - x,
    "x * 3": lambda x: x * 3,
    "0.5 * x": lambda x: 0.5 * x,
    "x / 2": lambda x: x / 2,
    "1 / x": lambda x: 1 / x,
    "x ** 2": lambda x: x**2,
    "x ** -0.5": lambda x: x**-0.5,
    "2 ** x": lambda x: 2**x,
    "-x": lambda x: -x,
    "+x": lambda x: +x,
    "abs(x)": lambda x: abs(x),
    "True * x": lambda x: True * x,
    "max(0, x)": lambda x: np.maximum(0, x),
    "where": lambda x: np.where(x > 1, x, 0.5),
    "clip": lambda x: np.clip(x, 1, 2),
    "pad": lambda x: np.pad(x, 1, constant_values=0.1),
}
ARRAY = {
    "a + x": lambda a, x: a + x,
    "x + a": lambda a, x: x + a,
    "a - x": lambda a, x: a - x,
    "x - a": lambda a, x: x - a,
    "a * x": lambda a, x: a * x,
    "x * a": lambda a, x: x * a,
    "a / x": lambda a, x: a / x,
    "x / a": lambda a, x: x / a,
    "a ** x": lambda a, x: a**x,
    "x ** a": lambda a, x: x**a,
    "a @ x": lambda a, x: a @ x,
    "x @ a": lambda a, x: x @ a,
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("f", NUMBER.values(), ids=NUMBER)
def test_operators_with_numbers_keep_the_dtype(f, dtype):
    x = np.array([[0.5, 1.5], [2.5, 1.25]], dtype)
    node = vg.TensorNode(x)
    y = f(node)
    assert y.dtype == f(x).dtype == dtype
    np.testing.assert_allclose(y.value, f(x), rtol=1e-6)
    y.sum().backward()
    assert node.grad.dtype == dtype
    if dtype == np.float64:
        assert_derivative(lambda x: np.sum(f(x)), [x], [node.grad], np.random.default_rng(0))


@pytest.mark.parametrize("f", ARRAY.values(), ids=ARRAY)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, np.int64])
def test_operators_with_arrays_on_either_side(f, dtype):
    a, x = np.array([[1, 2], [3, 1]]).astype(dtype), np.array([[0.5, 1.5], [2.5, 1.25]], np.float32)
    node = vg.TensorNode(x)
    y = f(a, node)
    assert isinstance(y, vg.TensorNode)
    assert y.dtype == f(a, x).dtype
    np.testing.assert_allclose(y.value, f(a, x), rtol=1e-6)
    y.sum().backward()
    assert node.grad.dtype == np.float32
    a, exact = a.astype(float), vg.TensorNode(x.astype(float))
    f(a, exact).sum().backward()
    assert_derivative(lambda x: np.sum(f(a, x)), [exact.value], [exact.grad], np.random.default_rng(0))
    np.testing.assert_allclose(node.grad, exact.grad, rtol=1e-5)


def test_bytes_times_a_float32_node_is_float32():
    pixels, w = np.array([[0, 128, 255]], np.uint8), vg.TensorNode(np.array([[0.5, 1, 2]], np.float32))
    for y in (pixels * w, w * pixels, vg.TensorNode(pixels) * w, pixels / w):
        assert y.dtype == np.float32
    x = vg.TensorNode(pixels)
    (x * w).sum().backward()
    assert w.grad.tolist() == [[0, 128, 255]]
    assert not x.requires_grad


def test_in_place_operators_on_a_node_make_a_new_one():
    x = y = vg.TensorNode(np.ones(2))
    y += 1
    assert y is not x
    assert x.value.tolist() == [1, 1]
    y.sum().backward()
    assert x.grad.tolist() == [1, 1]


@pytest.mark.parametrize("compare", [np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal])
def test_comparisons_give_plain_booleans(compare):
    x, a = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])
    node = vg.TensorNode(x)
    for first, second in [(node, a), (node, 2), (node, vg.TensorNode(a))]:
        result = compare(first, second)
        assert type(result) is np.ndarray
        assert result.tolist() == compare(x, a).tolist()
        assert compare(second, first).tolist() == compare(a, x).tolist()


def test_comparison_operators_are_those():
    x = vg.TensorNode(np.array([1.0, 2.0, 3.0]))
    assert (x < 2).tolist() == [True, False, False]
    assert (2 < x).tolist() == [False, False, True]  # noqa: SIM300 (this way round is another method)
    assert (x <= 2).tolist() == [True, True, False]
    assert (2 <= x).tolist() == [False, True, True]  # noqa: SIM300
    assert (x == 2).tolist() == [False, True, False]
    assert (np.array([1.0, 0, 0]) != x).tolist() == [False, True, True]
    assert {x: "by identity"}[x] == "by identity"


# --- indexing

INDICES = [
    *[0, -1, np.int64(1), slice(None), slice(1, None), slice(None, None, -1), slice(2, 0, -2), slice(5, 9), None, ...],
    *[(0, 1), (slice(None), -1), (..., 0), (None, 1, ...), (slice(1, None), None, slice(None, None, 2)), (1, 2, 3), ()],
    *[[0, 0, 1], np.array([1, 0, 1, 1]), np.array([[0, 1], [1, 1]]), np.array(1), np.array([], int), [True, False]],
    *[np.arange(24).reshape(2, 3, 4) % 3 == 0, np.array([[True, False, True], [False, True, False]])],
    *[(slice(None), [0, 2, 0]), ([0, 1], [2, 0]), ([0, 1, 0], slice(None), [3, 3, 0]), ([[0], [1]], [0, 2])],
    *[(slice(None), np.array([True, False, True]), slice(1, 3)), (0, [1, 1]), ([1, 0, 0], ..., None)],
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=lambda index: "".join(repr(index).split()))
def test_indexing(index):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 4))
    node = vg.TensorNode(x)
    y = node[index]
    assert isinstance(y, vg.TensorNode)
    assert y.shape == x[index].shape
    np.testing.assert_array_equal(y.value, x[index])
    weights = rng.normal(size=y.shape)
    np.sum(weights * y).backward()
    assert_derivative(lambda x: np.sum(weights * x[index]), [x], [node.grad], rng)


def test_an_index_that_repeats_accumulates():
    x = vg.TensorNode(np.zeros(3))
    x[[0, 0, 2, 0]].sum().backward()
    assert x.grad.tolist() == [3, 0, 1]


def test_a_node_of_whole_numbers_or_booleans_is_an_index():
    x = vg.TensorNode(np.arange(6.0).reshape(2, 3))
    assert x[vg.TensorNode(np.array([1, 1]))].value.tolist() == [[3, 4, 5], [3, 4, 5]]
    assert x[:, vg.TensorNode(np.array([True, False, True]))].value.tolist() == [[0, 2], [3, 5]]


def test_a_node_cannot_be_written_into():
    x = vg.TensorNode(np.zeros(3))
    with pytest.raises(TypeError, match=r"cannot be written into.*np\.where"):
        x[0] = 1.0


# --- einsum


@st.composite
def einsums(draw):
    """Subscripts of up to three operands, their shapes, with repeated letters, lone ones, dots and extents of 1."""
    sizes = {"a": 2, "b": 3, "c": 1}
    dots = draw(st.lists(st.sampled_from([1, 2]), max_size=2))
    terms, shapes = [], []
    for _ in range(draw(st.integers(1, 3))):
        letters = draw(st.text("abc", max_size=3))
        width = draw(st.integers(0, len(dots)))
        place = draw(st.integers(0, len(letters)))
        with_dots = bool(dots) and draw(st.booleans())
        shape = [sizes[letter] for letter in letters]
        if with_dots:
            shape[place:place] = dots[len(dots) - width :]
            letters = letters[:place] + "..." + letters[place:]
        terms.append(letters)
        shapes.append(tuple(shape))
    subscripts = ",".join(terms)
    if draw(st.booleans()):
        used = sorted(set(subscripts) & set("abc"))
        output = "".join(draw(st.permutations(used))[: draw(st.integers(0, len(used)))])
        subscripts += "->" + ("..." if "..." in subscripts else "") + output
    return subscripts, shapes


@settings(max_examples=150)
@given(einsums())
def test_any_einsum(case):
    subscripts, shapes = case
    rng = np.random.default_rng(0)
    xs = [rng.normal(size=shape) for shape in shapes]
    nodes = [vg.TensorNode(x) for x in xs]
    y, expected = np.einsum(subscripts, *nodes), np.einsum(subscripts, *xs)
    np.testing.assert_allclose(y.value, expected, rtol=1e-12, atol=1e-12)
    weights = rng.normal(size=y.shape)
    np.sum(weights * y).backward()
    gradients = [node.grad for node in nodes]
    assert_derivative(lambda *xs: np.sum(weights * np.einsum(subscripts, *xs)), xs, gradients, rng, elementwise=False)


# --- np.where keeps out what it did not take

Y = np.array([np.nan, np.inf, -np.inf, 0.0, 2.0])
BRANCHES = {
    "log": (lambda x: np.log(x), [-1.0, 0.0, -np.inf, np.nan, 2.0]),
    "sqrt": (lambda x: np.sqrt(x), [-1.0, 0.0, -np.inf, np.nan, 2.0]),
    "1 / x": (lambda x: 1 / x, [0.0, -0.0, np.nan, 0.0, 2.0]),
    "x / 0": (lambda x: x / np.array([0.0, 0, np.nan, 0, 2]), [1.0, 0.0, 1.0, -1.0, 2.0]),
    "1 / x**2": (lambda x: 1 / x**2, [0.0, 0.0, 0.0, 0.0, 2.0]),
    "x ** 0.5": (lambda x: x**0.5, [-1.0, 0.0, -np.inf, np.nan, 2.0]),
    "x ** -1": (lambda x: x**-1, [0.0, 0.0, np.nan, 0.0, 2.0]),
    "0 ** x": (lambda x: np.array([0.0, 0, -1, 0, 2]) ** x, [-1.0, -2.0, 0.5, np.nan, 2.0]),
    "exp": (lambda x: np.exp(x), [1000.0, np.inf, np.nan, 1e300, 2.0]),
    "sinh": (lambda x: np.sinh(x), [1000.0, np.inf, np.nan, 1e300, 2.0]),
    "x * y": (lambda x: x * Y, [1.0, 1.0, 1.0, np.inf, 2.0]),
    "x * x": (lambda x: x * x, [np.inf, np.nan, 1e200, -np.inf, 2.0]),
    "arcsin": (lambda x: np.arcsin(x / 4), [5.0, 4.0, np.inf, np.nan, 2.0]),
    "tan of 1 / x": (lambda x: np.tan(1 / x), [0.0, 0.0, np.nan, np.inf, 2.0]),
    "log of sqrt over x": (lambda x: np.log(np.sqrt(x) * Y) / x, [0.0, -1.0, np.nan, np.inf, 2.0]),
    "variance": (lambda x: x + np.var(np.log(x)[:, None] * np.ones(2), axis=1), [0.0, -1.0, np.nan, np.inf, 2.0]),
    "logsumexp": (lambda x: vg.logsumexp(np.stack([1 / x, x]), axis=0), [0.0, 0.0, np.nan, np.inf, 2.0]),
}  # fmt: skip


@pytest.mark.parametrize("taken_first", [True, False])
@pytest.mark.parametrize(("f", "x"), BRANCHES.values(), ids=BRANCHES)
def test_where_lets_nothing_through_from_the_branch_not_taken(f, x, taken_first):
    """Only the last element is taken: gradients of all orders are those of the same function of it alone."""
    x, mask = np.array(x), np.array([False, False, False, False, True])

    def masked(x):
        with np.errstate(all="ignore"):  # the forward does warn, as NumPy does
            y = f(x)
        return np.sum(np.where(mask, y, 0.0) if taken_first else np.where(~mask, 0.0, y))

    def total(g):
        return lambda x: np.sum(g(x))

    safe = np.full(5, 2.0)
    first, second = vg.grad(masked), vg.grad(total(vg.grad(masked)))
    with np.errstate(all="raise"):
        gradient = first(x)
    with np.errstate(all="ignore"):  # the second order runs its forward again
        curvature = second(x)
    np.testing.assert_array_equal(gradient[:4], 0)
    np.testing.assert_array_equal(curvature[:4], 0)
    np.testing.assert_allclose(gradient[4], first(safe)[4])
    np.testing.assert_allclose(curvature[4], second(safe)[4])


def test_where_hides_nothing_of_the_branch_it_takes():
    x = vg.TensorNode(np.array([0.0, 1.0]))
    with np.errstate(divide="ignore"):
        np.sum(np.where([True, False], np.log(x), 0)).backward()
    assert x.grad.tolist() == [np.inf, 0]


def test_without_where_zero_times_infinity_is_not_a_number():
    x = vg.TensorNode(np.array([0.0]))
    np.sum(0 * np.sqrt(x)).backward()
    assert np.isnan(x.grad).all()


def test_the_dtype_of_a_condition_does_not_count():
    x = vg.TensorNode(np.ones(3, np.float32))
    assert np.where(np.array([0, 1, 2]), x, 0.5).dtype == np.float32


# --- what is refused

X = vg.TensorNode(np.array([[1.0, 2.0], [3.0, 4.0]]))
REFUSED = {
    "np.sort": (lambda: np.sort(X), TypeError, r"np\.sort does not work on nodes.*supported\(\)"),
    "np.fft.fft": (lambda: np.fft.fft(X), TypeError, r"np\.fft\.fft does not"),
    "np.median": (lambda: np.median(X), TypeError, r"np\.median does not.*np\.mean"),
    "np.linalg.inv": (lambda: np.linalg.inv(X), TypeError, r"np\.linalg\.inv does not"),
    "np.arctan2": (lambda: np.arctan2(X, X), TypeError, r"np\.arctan2 does not.*np\.arctan"),
    "np.add.reduce": (lambda: np.add.reduce(X), TypeError, r"np\.add\.reduce does not.*np\.add"),
    "np.multiply.outer": (lambda: np.multiply.outer(X, X), TypeError, r"np\.multiply\.outer does not"),
    "where=": (lambda: np.add(X, 1, where=[True, False]), TypeError, r"np\.add, where= does not"),
    "out=": (lambda: np.add(X, 1, out=np.zeros((2, 2))), TypeError, r"np\.add.*in place: write a = a \+ node"),
    "sum out=": (lambda: np.sum(X, out=np.zeros(())), TypeError, "out"),
    "sum dtype=": (lambda: np.sum(X, dtype=float), TypeError, "dtype"),
    "einsum of lists": (lambda: np.einsum(X, [0, 1], [1, 0]), TypeError, r"np\.einsum.*'ij,jk->ik'"),
    "pad reflect": (lambda: np.pad(X, 1, mode="reflect"), ValueError, r"np\.pad.*'reflect'"),
    "spectral norm": (lambda: np.linalg.norm(X, 2), ValueError, r"np\.linalg\.norm.*ord=2"),
    "3-norm": (lambda: np.linalg.norm(X, 3, axis=0), ValueError, r"np\.linalg\.norm.*ord=3"),
    "np.asarray": (lambda: np.asarray(X), TypeError, r"leave the graph.*node\.value"),
    "np.array of nodes": (lambda: np.array([X, X]), TypeError, r"leave the graph.*node\.value"),
    "math on a matrix": (lambda: float(X), ValueError, "size 1"),
    "truth of a matrix": (lambda: bool(X), ValueError, "ambiguous"),
}


@pytest.mark.parametrize(("call", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_work_says_so(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_masks_are_nodes_too():
    """A module is called with nodes, and a mask may be among them."""
    a, b = np.array([True, True, False]), np.array([True, False, False])
    m, n = vg.TensorNode(a), vg.TensorNode(b)
    for found, expected in (
        *((~m, ~a), (m & n, a & b), (m | b, a | b), (a ^ n, a ^ b)),
        *((vg.TensorNode([3]) << 1, [6]), (vg.TensorNode([3]) >> 1, [1])),
    ):
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, expected)
    for f in (lambda x: x % 2, lambda x: x // 2):
        with pytest.raises(TypeError, match=r"np\.(remainder|floor_divide) does not work on nodes"):
            f(X)


def test_adding_a_node_into_an_array_says_what_to_write():
    total = np.zeros((2, 2))
    with pytest.raises(TypeError, match=r"in place: write a = a \+ node"):
        total += X
    assert not total.any()


def test_a_node_without_a_gradient_is_an_array_where_one_is_asked_for():
    x = np.array([1.0, 2.0])
    np.testing.assert_array_equal(np.asarray(vg.TensorNode(x, requires_grad=False)), x)
    assert np.asarray(vg.TensorNode(np.array([1, 2])), dtype=float).tolist() == [1, 2]


def test_second_derivatives_below_where_see_through_a_gradient_of_zero():
    f = lambda v: np.where(v[0] > -1, np.sin(v[0]) * v[1], 0.0)  # noqa: E731
    expected = [[0, np.cos(1)], [np.cos(1), 0]]
    np.testing.assert_allclose(vg.hessian(f)(np.array([1.0, 0.0])), expected)


@pytest.mark.parametrize("index", [((0, 0, 1),), ((0, 0, 1), (1, 1, 2)), ([2, 2], (1, 1))])
def test_tuples_of_positions_accumulate(index):
    x = vg.TensorNode(np.arange(12.0).reshape(3, 4))
    x[index].sum().backward()
    expected = np.zeros((3, 4))
    np.add.at(expected, index, 1)
    assert (x.grad == expected).all()


@pytest.mark.parametrize("f", [vg.Normalize.do_forward, vg.softmax, vg.logsoftmax])
def test_where_keeps_rows_without_a_value_out(f):
    x = vg.TensorNode([[-np.inf, -np.inf], [1.0, 3.0]])
    with np.errstate(all="ignore"):
        np.where([[False], [True]], f(x), 0.0).sum().backward()
    assert (x.grad[0] == 0).all()
    assert np.isfinite(x.grad[1]).all()


def test_products_do_not_repeat_an_extent_of_one_as_einsum_does():
    with pytest.raises(ValueError, match="not as long"):
        np.dot(vg.TensorNode(np.ones((2, 1))), vg.TensorNode(np.ones((3, 4))))
    y = vg.TensorNode(np.arange(3.0))
    np.einsum("i,i->", np.full(1, 2.0), y).backward()
    assert y.grad.tolist() == [2, 2, 2]


@pytest.mark.parametrize("axes", [(0, 3), (0, 0)])
def test_axes_that_are_not_there(axes):
    with pytest.raises(ValueError, match="Transpose"):
        np.transpose(vg.TensorNode(np.ones((2, 3))), axes)
    with pytest.raises(ValueError, match="axis"):
        np.prod(vg.TensorNode(np.ones((2, 3))), axis=axes[1] + 3)
