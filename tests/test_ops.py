"""Every op against its row (or rows) of the table: value, gradients, second derivatives, dtypes, and manners."""

import dataclasses
import importlib
import pkgutil

import numpy as np
import pytest
from gradients import assert_derivative
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import vugrad as vg
from vugrad import ops
from vugrad.ops.table import ROWS, Row

#: What holds for every row of the table.
CHECKS = []


def every_row(check):
    """A check that ``test_every_row`` makes."""
    CHECKS.append(check)
    return check


def missing(rows):
    """The ops that are defined in a module of ``vugrad.ops`` and have no row."""
    modules = [importlib.import_module(info.name) for info in pkgutil.iter_modules(ops.__path__, "vugrad.ops.")]
    defined = {x for module in modules for x in vars(module).values() if isinstance(x, type) and issubclass(x, vg.Op)}
    return {op.__name__ for op in defined - {vg.Op} - {row.op for row in rows}}


def test_every_op_has_a_row():
    assert missing(ROWS) == set()
    without = [row for row in ROWS if row.op not in (ops.Conv2d, ops.Sin)]
    assert missing(without) == {"Conv2d", "Sin"}


def test_rows_have_names_of_their_own_and_the_same_inputs_each_time():
    assert len({row.name for row in ROWS}) == len(ROWS)
    first, second = (ROWS[0].inputs(np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


def forward(row, xs):
    """The op's context and its outputs, of which there may be several."""
    context = {}
    return context, as_tuple(row.op.forward(context, *xs, **row.constants))


def backward(row, context, gos):
    """The gradients of the inputs that have one."""
    with np.errstate(divide="ignore", invalid="ignore"):  # in the gradients of whole inputs, which nobody asks for
        gradients = as_tuple(row.op.backward(context, *gos))
    assert len(gradients) == len(row.shapes)
    return [gradients[i] for i in row.real]


def samples(row, dtype=np.float64, seed=0):
    """Inputs, an upstream gradient for each output, and the generator that drew them."""
    rng = np.random.default_rng(seed)
    xs = row.inputs(rng, dtype)
    _, ys = forward(row, xs)
    return xs, [rng.normal(size=np.shape(y)).astype(dtype) for y in ys], rng


def weighted(row, xs, gos):
    """Σ go · y over all outputs, as a function of the inputs that have gradients."""

    def f(*reals):
        inputs = list(xs)
        for i, x in zip(row.real, reals, strict=True):
            inputs[i] = x
        return sum(np.sum(go * y) for go, y in zip(gos, forward(row, inputs)[1], strict=True))

    return f


# --- value


@every_row
def forward_equals_reference(row):
    xs, _, _ = samples(row)
    _, ys = forward(row, xs)
    for y, expected in zip(ys, as_tuple(row.reference(*xs, **row.constants)), strict=True):
        assert y.dtype == np.float64
        assert np.shape(y) == np.shape(expected)
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-14)


@every_row
def float32_stays_float32(row):
    xs, gos, _ = samples(row, np.float32)
    nodes = [vg.TensorNode(x) for x in xs]
    ys = as_tuple(row.op.do_forward(*nodes, **row.constants))
    as_float64 = [x.astype(np.float64) if x.dtype == np.float32 else x for x in xs]
    for y, expected in zip(ys, as_tuple(row.reference(*as_float64, **row.constants)), strict=True):
        assert y.dtype == (np.float32 if row.op is not ops.Cast else np.float64)
        np.testing.assert_allclose(y.value, expected, rtol=2e-5, atol=2e-6)
    sum(np.sum(go * y) for go, y in zip(gos, ys, strict=True)).backward()
    context, _ = forward(row, as_float64)
    for i, expected in zip(row.real, backward(row, context, gos), strict=True):
        assert nodes[i].grad.dtype == np.float32
        np.testing.assert_allclose(nodes[i].grad, expected, rtol=2e-4, atol=2e-5)
    # Nor does a body turn to float64 on the way, to be cast back by the graph.
    context, _ = forward(row, xs)
    assert {np.asarray(g).dtype for g in backward(row, context, gos)} == {np.dtype(np.float32)}


# --- gradients


@every_row
def gradients_equal_finite_differences(row):
    xs, gos, rng = samples(row)
    nodes = [vg.TensorNode(x) for x in xs]
    weighted(row, nodes, gos)  # the op's own body runs on nodes
    ys = as_tuple(row.op.do_forward(*nodes, **row.constants))
    sum(np.sum(go * y) for go, y in zip(gos, ys, strict=True)).backward()
    reals = [xs[i] for i in row.real]
    assert_derivative(weighted(row, xs, gos), reals, [nodes[i].grad for i in row.real], rng)


@pytest.mark.parametrize("row", [row for row in ROWS if row.op is ops.BatchNorm], ids=lambda row: row.name)
@pytest.mark.parametrize("used", range(3))
def test_of_several_outputs_any_may_go_unused(row, used):
    xs, gos, rng = samples(row)
    nodes = [vg.TensorNode(x) for x in xs]
    np.sum(gos[used] * row.op.do_forward(*nodes)[used]).backward()
    alone = [go if i == used else 0 for i, go in enumerate(gos)]
    assert_derivative(weighted(row, xs, alone), xs, [node.grad for node in nodes], rng)


@every_row
def second_derivatives_equal_finite_differences_of_the_first(row):
    xs, gos, rng = samples(row)
    reals, n = [xs[i] for i in row.real], len(row.real)
    directions = [rng.normal(size=x.shape) for x in reals]

    def first(*arguments):
        """Of the inputs and the upstream gradients: the derivative of Σ go · y along the directions."""
        s = vg.grad(lambda *inputs: through_graph(row, xs, inputs, arguments[n:]), argnums=tuple(range(n)))
        return sum(np.sum(v * g) for v, g in zip(directions, s(*arguments[:n]), strict=True))

    arguments = [*reals, *gos]
    gradients = vg.grad(first, argnums=tuple(range(len(arguments))))(*arguments)
    assert_derivative(first, arguments, gradients, rng, elementwise=False)


def through_graph(row, xs, reals, gos):
    """Σ go · y by do_forward."""
    inputs = list(xs)
    for i, x in zip(row.real, reals, strict=True):
        inputs[i] = x
    ys = as_tuple(row.op.do_forward(*inputs, **row.constants))
    return sum(np.sum(go * y) for go, y in zip(gos, ys, strict=True))


@every_row
def backward_with_create_graph_gives_the_same_gradients(row):
    xs, gos, _ = samples(row)
    nodes = [vg.TensorNode(x) for x in xs]
    ys = as_tuple(row.op.do_forward(*nodes, **row.constants))
    sum(np.sum(go * y) for go, y in zip(gos, ys, strict=True)).backward(create_graph=True)
    context, _ = forward(row, xs)
    for i, expected in zip(row.real, backward(row, context, gos), strict=True):
        assert isinstance(nodes[i].grad, vg.TensorNode)
        np.testing.assert_allclose(nodes[i].grad.value, expected, rtol=1e-12, atol=1e-14)


# --- manners


@every_row
def inputs_and_upstream_gradients_are_left_alone(row):
    """The course calls forward and backward on arrays; these ones raise when they are written into."""
    xs, gos, _ = samples(row)
    for array in (*xs, *gos):
        array.flags.writeable = False
    context, ys = forward(row, xs)
    gradients = backward(row, context, gos)
    assert [np.shape(g) for g in gradients] == [xs[i].shape for i in row.real]
    # A context serves more than one backward (two losses, or a jacobian), so backward leaves it alone too.
    for first, second in zip(gradients, backward(row, context, gos), strict=True):
        np.testing.assert_array_equal(first, second)
    for y, again in zip(ys, forward(row, xs)[1], strict=True):
        np.testing.assert_array_equal(y, again)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row(row):
    for check in CHECKS:
        check(row)


ROWWISE = (ops.Normalize, ops.Softmax, ops.LogSoftmax, ops.RowSum, ops.RowMax, ops.LayerNorm)
WINDOWED = (ops.Conv2d, ops.MaxPool2d, ops.AvgPool2d)
BATCHED = {ops.CrossEntropy: (0, 1), ops.BatchMM: (1,)} | dict.fromkeys(ROWWISE + WINDOWED, (0,))
BATCHES = [
    row
    for row in ROWS
    if row.op in BATCHED
    and row.constants.get("axis") != 0
    and row.shapes[BATCHED[row.op][0]][0] > 1
    and len(row.shapes[BATCHED[row.op][0]]) > 1
]


@pytest.mark.parametrize("row", BATCHES, ids=lambda row: row.name)
def test_a_batch_of_one_gives_the_first_of_a_batch(row):
    xs, _, _ = samples(row)
    ones = [x[:1] if i in BATCHED[row.op] else x for i, x in enumerate(xs)]
    (_, (many,)), (_, (one,)) = forward(row, xs), forward(row, ones)
    np.testing.assert_allclose(one, many[:1], rtol=1e-12)
    with np.errstate(invalid="ignore"):
        nodes = [vg.TensorNode(x) for x in ones]
    np.sum(row.op.do_forward(*nodes, **row.constants)).backward()
    assert [node.grad.shape for node in (nodes[i] for i in row.real)] == [ones[i].shape for i in row.real]


def test_select_keeps_the_batch_axis_of_one_instance():
    x = vg.TensorNode(np.array([[1.0, 2.0, 3.0]]))
    y = ops.Select.do_forward(x, indices=np.array([2]))
    assert y.shape == (1,)
    y.sum().backward()
    assert x.grad.tolist() == [[0, 0, 1]]


BINARY = [ops.Add, ops.Sub, ops.Multiply, ops.Divide, ops.Power, ops.Maximum, ops.Minimum]


@pytest.mark.parametrize("op", BINARY)
@settings(max_examples=30)
@given(shapes=mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=3), seed=st.integers(0, 99))
def test_broadcasting(op, shapes, seed):
    template = next(row for row in ROWS if row.op is op)
    row = dataclasses.replace(template, shapes=shapes.input_shapes)
    xs, gos, rng = samples(row, seed=seed)
    context, (y,) = forward(row, xs)
    assert np.shape(y) == shapes.result_shape
    np.testing.assert_allclose(y, row.reference(*xs), rtol=1e-12)
    assert_derivative(weighted(row, xs, gos), xs, backward(row, context, gos), rng, elementwise=False)


def test_shapes_that_do_not_fit_name_the_op_both_shapes_and_what_to_write():
    with pytest.raises(ValueError, match=r"Add of shapes \(2, 3\) and \(2,\): .* y\[:, None\]"):
        ops.Add.do_forward(np.ones((2, 3)), np.ones(2))
    with pytest.raises(ValueError, match=r"MatrixMultiply of shapes \(2, 3\) and \(2, 3\): .*x @ y\.T"):
        ops.MatrixMultiply.do_forward(np.ones((2, 3)), np.ones((2, 3)))


@pytest.mark.parametrize(
    ("op", "shapes", "constants"),
    [
        (ops.Conv2d, [(1, 3, 4, 4), (2, 2, 2, 2)], {}),
        (ops.Conv2d, [(1, 3, 4, 4), (2, 3, 5, 2)], {}),
        (ops.MaxPool2d, [(1, 1, 2, 2)], {"kernel": (3, 3), "stride": (1, 1)}),
        (ops.CrossEntropy, [(3, 4), (3, 1)], {}),
        (ops.CrossEntropy, [(3, 4), (2,)], {}),
        (ops.BatchNorm, [(4, 3), (4,), (3,)], {}),
        (ops.LayerNorm, [(4, 3), (4,), (4,)], {}),
        (ops.Reshape, [(2, 3)], {"shape": (4, 2)}),
        (ops.Concatenate, [(2, 3), (2, 2)], {}),
        (ops.Stack, [(2, 3), (2, 2)], {}),
        (ops.BatchMM, [(4, 3), (2, 4)], {}),
        (ops.Einsum, [(2, 3), (2, 3)], {"subscripts": "ij,jk"}),
        (ops.Einsum, [(2, 3)], {"subscripts": "ijk"}),
        (ops.Einsum, [(2, 3)], {"subscripts": "ij,j"}),
        (ops.TakeAlongAxis, [(2, 3), (4,)], {}),
        (ops.Dropout, [(2, 3), (2,)], {"p": 1.0}),
        (ops.Take, [()], {"indices": np.array([0])}),
        (ops.Expand, [()], {"dim": 0, "repeats": 2}),
        (ops.Expand, [(1, 3)], {"dim": 2, "repeats": 2}),
        (ops.BatchMM, [(3,), (2, 3)], {}),
        (ops.BatchMM, [(1, 1, 1), (1, 1, 1)], {}),
        (ops.BatchNorm, [(4,), (), ()], {}),
        (ops.BatchNorm, [(), (), ()], {}),
        (ops.LayerNorm, [(), (), ()], {}),
        (ops.LayerNorm, [(3,), (), ()], {}),
        (ops.CrossEntropy, [(3,), ()], {}),
        (ops.CrossEntropy, [(2, 4, 3), (2, 4)], {}),
    ],
)
def test_what_does_not_fit_is_refused_by_name(op, shapes, constants):
    xs = [
        np.zeros(shape) if i == 0 or op not in (ops.CrossEntropy, ops.TakeAlongAxis) else np.zeros(shape, int)
        for i, shape in enumerate(shapes)
    ]
    with pytest.raises(ValueError, match=f"^{op.__name__} of shapes .*{'.*'.join(map(str, shapes[0]))}") as caught:
        op.do_forward(*map(vg.TensorNode, xs), **constants)
    assert "tuple index" not in str(caught.value)
    assert "dimension 0" not in str(caught.value)


# --- ties and edges


@pytest.mark.parametrize(
    ("op", "xs", "constants", "expected"),
    [
        (ops.Max, [[[1.0, 3, 3], [3, 3, 0]]], {"axis": 1}, [[[0, 1, 0], [1, 0, 0]]]),
        (ops.Max, [[[1.0, 3, 3], [3, 3, 0]]], {"axis": 0}, [[[0, 1, 1], [1, 0, 0]]]),
        (ops.Max, [[[1.0, 3, 3], [3, 3, 0]]], {}, [[[0, 1, 0], [0, 0, 0]]]),
        (ops.Min, [[[1.0, 0, 0], [0, 0, 1]]], {"axis": -1}, [[[0, 1, 0], [1, 0, 0]]]),
        (ops.Min, [[[1.0, 0, 0], [0, 0, 1]]], {"axis": (0, 1)}, [[[0, 1, 0], [0, 0, 0]]]),
        (ops.RowMax, [[[2.0, 2, 1], [0, 5, 5]]], {}, [[[1, 0, 0], [0, 1, 0]]]),
        (ops.Maximum, [[1.0, 2, 3], [1.0, 3, 2]], {}, [[1, 0, 1], [0, 1, 0]]),
        (ops.Minimum, [[1.0, 2, 3], [1.0, 3, 2]], {}, [[1, 1, 0], [0, 0, 1]]),
        (ops.MaxPool2d, [[[[[7.0, 7], [7, 7]]]]], {"kernel": (2, 2), "stride": (2, 2)}, [[[[[1, 0], [0, 0]]]]]),
        (ops.MaxPool2d, [[[[[1.0, 7, 7], [0, 7, 2]]]]], {"kernel": (2, 2), "stride": (1, 1)},
         [[[[[0, 2, 0], [0, 0, 0]]]]]),
        (ops.ReLU, [[0.0, -0.0, 1]], {}, [[0, 0, 1]]),
        (ops.Abs, [[0.0, -2]], {}, [[0, -1]]),
    ],
)  # fmt: skip
def test_ties_go_to_the_first(op, xs, constants, expected):
    nodes = [vg.TensorNode(np.array(x)) for x in xs]
    np.sum(op.do_forward(*nodes, **constants)).backward()
    assert [node.grad.tolist() for node in nodes] == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("op", "expected", "gradients"),
    [
        (ops.Sigmoid, [0, 0.5, 1], [0, 0.25, 0]),
        (ops.SiLU, [0, 0, 800], [0, 0.5, 1]),
        (ops.Softplus, [0, np.log(2), 800], [0, 0.5, 1]),
        (ops.Tanh, [-1, 0, 1], [0, 1, 0]),
        (ops.ELU, [-1, 0, 800], [0, 1, 1]),
        (ops.GELU, [0, 0, 800], [0, 0.5, 1]),
        (ops.Erf, [-1, 0, 1], [0, 2 / np.pi**0.5, 0]),
        (ops.Softmax, [0, 0, 1], [0, 0, 0]),
        (ops.LogSoftmax, [-1600, -800, 0], [1, 1, -2]),
        (ops.LogSumExp, 800, [0, 0, 1]),
    ],
)
def test_nothing_overflows_at_large_inputs(op, expected, gradients, dtype):
    """Warnings are errors here, so none is given either; second derivatives are finite too."""
    x = vg.TensorNode(np.array([-800, 0, 800], dtype))
    y = op.do_forward(x)
    np.testing.assert_allclose(y.value, expected, atol=1e-6)
    y.sum().backward()
    np.testing.assert_allclose(x.grad, gradients, atol=1e-6)
    second = vg.grad(lambda x: vg.grad(lambda x: np.sum(op.do_forward(x)))(x).sum())(x.value)
    assert np.isfinite(second).all()


def test_logsumexp_of_nothing_but_minus_infinity_is_minus_infinity():
    x = np.array([[-np.inf, -np.inf], [-np.inf, 1.0]])
    np.testing.assert_array_equal(ops.LogSumExp.forward({}, x, axis=1), [-np.inf, 1])


def test_power_of_zero():
    x = vg.TensorNode(np.zeros(4))
    y = vg.TensorNode(np.array([0.0, 1, 2, 3]))
    z = x**y
    assert z.value.tolist() == [1, 0, 0, 0]
    z.sum().backward()
    assert x.grad.tolist() == [0, 1, 0, 0]
    assert y.grad.tolist() == [0, 0, 0, 0]


def test_dropout_keeps_the_share_it_says_and_the_same_elements_for_the_same_key():
    x, key = np.ones((100, 100)), np.array([1, 2], np.uint32)
    y = ops.Dropout.forward({}, x, key, p=0.25)
    assert abs((y > 0).mean() - 0.75) < 0.015
    assert set(np.unique(y)) == {0, 1 / 0.75}
    np.testing.assert_array_equal(y, ops.Dropout.forward({}, x, key, p=0.25))
    assert (y != ops.Dropout.forward({}, x, key + np.uint32(1), p=0.25)).any()


# --- ops that people write


class StudentReLU(vg.Op):
    @staticmethod
    def forward(context, input):
        relx = np.maximum(0, input)
        context["relx"] = relx
        return relx

    @staticmethod
    def backward(context, goutput):
        return goutput * (context["relx"] > 0)


class Float64ReLU(StudentReLU):
    @staticmethod
    def backward(context, goutput):
        return goutput * (context["relx"] > 0).astype(float)


@pytest.mark.parametrize("op", [StudentReLU, Float64ReLU])
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_students_op(op, create_graph):
    x = vg.TensorNode(np.array([[-1.0, 2.0], [0.0, 3.0]], np.float32))
    y = op.do_forward(x)
    (y * y).sum().backward(create_graph=create_graph)
    gradient = x.grad.value if create_graph else x.grad
    assert gradient.tolist() == [[0, 4], [0, 6]]
    assert gradient.dtype == np.float32
    if create_graph:
        x.grad.sum().backward()
        # The second backward adds its result, 2 where x > 0, to the first.
        assert x.grad.value.tolist() == [[0, 6], [0, 8]]


def test_rowmax_and_rowsum_share_what_the_courses_tests_share():
    context = {}
    x = np.array([[1.0, 5.0], [7.0, 2.0]])
    assert ops.RowMax.forward(context, x).tolist() == [5, 7]
    assert ops.RowSum.backward(context, np.array([1.0, 2.0])).tolist() == [[1, 1], [2, 2]]
    assert ops.RowSum.backward({"xshape": (2, 3)}, np.array([1.0, 2.0])).tolist() == [[1, 1, 1], [2, 2, 2]]


def test_elementwise_makes_an_op_of_python_code_on_one_number():
    import math

    Gaussian = vg.elementwise(lambda v: math.exp(-v * v), lambda v: -2 * v * math.exp(-v * v), "Gaussian")
    assert Gaussian.__name__ == "Gaussian"
    x = np.random.default_rng(0).normal(size=(2, 3))
    np.testing.assert_allclose(Gaussian.forward({}, x), np.exp(-(x**2)))
    row = Row(Gaussian, lambda v: np.exp(-(v**2)), ((2, 3),))
    gradients_equal_finite_differences(row)
    float32_stays_float32(row)


# --- the test of the tests


def broken(op, spoil):
    """The op with a backward whose gradients pass through ``spoil``."""

    class Broken(op):
        @staticmethod
        def backward(context, *gos):
            return spoil(context, as_tuple(op.backward(context, *gos)))

    return Broken


def swap(context, gradients):
    return gradients[::-1]


MUTANTS = {
    "a sign": (ops.Sin, lambda context, g: tuple(-gx for gx in g)),
    "off by 0.1 %": (ops.Exp, lambda context, g: tuple(gx * 1.001 for gx in g)),
    "one element off by 0.1 %": (ops.Square, lambda context, g: (g[0] * (1 + 1e-3 * (np.arange(3) == 1)),)),
    "the wrong operand": (ops.Multiply, swap),
    "a factor": (ops.Mean, lambda context, g: (g[0] * 24,)),
    "the upstream gradient is lost": (ops.Log, lambda context, g: (1 / context["x"],)),
    "transposed": (ops.Softmax, lambda context, g: (g[0].T,)),
    "a sum is lost": (ops.Normalize, lambda context, g: (g[0] + 0.1,)),
    "another window": (ops.Conv2d, lambda context, g: (g[0], g[1][..., ::-1])),
    "another class": (ops.CrossEntropy, lambda context, g: (g[0][:, ::-1], None)),
}


@pytest.mark.parametrize(("op", "spoil"), MUTANTS.values(), ids=MUTANTS)
def test_a_wrong_gradient_is_caught(op, spoil):
    row = next(row for row in ROWS if row.op is op)
    row = dataclasses.replace(row, op=broken(op, spoil), shapes=((3, 3),) if op is ops.Softmax else row.shapes)
    with pytest.raises(AssertionError):
        gradients_equal_finite_differences(row)


def test_a_random_direction_alone_catches_one_element_off_by_a_thousandth():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 5))
    gradient = 2 * x
    assert_derivative(lambda x: np.sum(x * x), [x], [gradient], rng, elementwise=False)
    gradient[2, 3] *= 1.001
    with pytest.raises(AssertionError):
        assert_derivative(lambda x: np.sum(x * x), [x], [gradient], rng, elementwise=False)


def test_a_wrong_second_derivative_is_caught():
    class Frozen(vg.Op):
        """Its backward uses a constant where it should use the node, so its own derivative is lost."""

        @staticmethod
        def forward(context, x):
            context["x"] = x
            return np.exp(x)

        @staticmethod
        def backward(context, go):
            x = context["x"]
            return go * np.exp(x.value if isinstance(x, vg.TensorNode) else x)

    row = Row(Frozen, np.exp, ((2, 3),))
    gradients_equal_finite_differences(row)
    with pytest.raises(AssertionError):
        second_derivatives_equal_finite_differences_of_the_first(row)


def test_an_op_that_writes_into_its_input_is_caught():
    class Greedy(vg.Op):
        @staticmethod
        def forward(context, x):
            x *= 2
            return x

        @staticmethod
        def backward(context, go):
            return 2 * go

    with pytest.raises(ValueError, match="read-only"):
        inputs_and_upstream_gradients_are_left_alone(Row(Greedy, lambda x: 2 * x, ((2,),)))
