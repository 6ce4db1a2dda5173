"""Exported graphs: checked by onnx, run by onnxruntime, and equal to the model at every batch size."""

import gc
import importlib.util
import os
import re
import sys
from unittest import mock

import numpy as np
import onnx
import onnxruntime
import pytest
import test_compiler_fuzz as compiler_fuzz
from hypothesis import example, given, settings, strategies as st
from onnx.reference import ReferenceEvaluator

import vugrad as vg
from vugrad import nn, ops
from vugrad.compiler import CannotCompileError
from vugrad.compiler.arrays.program import PRIMITIVES
from vugrad.compiler.trace import trace
from vugrad.interchange.onnx import export as exporting
from vugrad.interchange.onnx.translate import TRANSLATIONS
from vugrad.nn.calls import kept
from vugrad.ops.table import ROWS

SIZES = (1, 2, 5, 7)


def exported(model, example, path):
    vg.export_onnx(model, example, path)
    return onnx.load(path)


def runs(graph):
    """The graph as a function of arrays, by onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [x.name for x in session.get_inputs()]
    return lambda *xs: session.run(None, dict(zip(names, xs, strict=True)))


def eager(model, *xs):
    """The model's results in eval mode, as a list of arrays."""
    model.eval()
    with np.errstate(all="ignore"):
        y = model(*xs)
    parts = y if isinstance(y, tuple) else tuple(y.values()) if isinstance(y, dict) else (y,)
    return [np.asarray(getattr(part, "value", part)) for part in parts]


def assert_same(expected, found, near=1e-5):
    assert len(expected) == len(found)
    for x, y in zip(expected, found, strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        if x.dtype.kind != "f":
            np.testing.assert_array_equal(y, x)
            continue
        scale = np.max(np.abs(x), initial=0.05, where=np.isfinite(x))
        np.testing.assert_allclose(y, x, rtol=near, atol=near * scale)
        if x.ndim > 1 and x.size and np.isfinite(x).all():
            # Of two that are as good as equal either may be the largest.
            picked = np.take_along_axis(x, y.argmax(-1)[..., None], -1)[..., 0]
            np.testing.assert_allclose(picked, x.max(-1), rtol=near, atol=near * scale)


def check(model, make, path, sizes=SIZES):
    """Export the model and run it at several batch sizes; ``make(n)`` is a batch, or a tuple of arrays."""

    def batch(n):
        xs = make(n)
        return xs if isinstance(xs, tuple) else (xs,)

    graph = exported(model, batch(3), path)
    run = runs(graph)
    for n in (*sizes, 3):
        xs = batch(n)
        assert_same(eager(model, *xs), run(*xs))
    return graph


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """No wait for the disk; and recording, which looks for who holds on to its arrays, not among all of a test run."""
    gc.freeze()
    with mock.patch("os.fsync"):
        yield
    gc.unfreeze()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


def numbers(*shape, dtype=np.float32):
    """Batches of normal numbers."""
    return lambda n: np.random.default_rng(n).normal(size=(n, *shape)).astype(dtype)


def trained(model, make):
    """The model after a few batches in train mode, so that its running statistics and parameters are its own."""
    rng = np.random.default_rng(0)
    for _, p in model.named_parameters():
        p.value += 0.1 * rng.normal(size=p.value.shape).astype(p.value.dtype)
    for n in (8, 9):
        model(2 * make(n) + 1 if make(n).dtype.kind == "f" else make(n))
    return model


def kinds(graph):
    return [node.op_type for node in graph.graph.node]


# --- networks and layers


@pytest.mark.parametrize("activation", nn.ACTIVATIONS)
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (nn.LeNet, {}),
        (nn.LeNet, {"batch_norm": True, "residual": True, "dropout": 0.3, "hidden": (12, 12)}),
        (nn.MLP, {"sizes": [256, 8, 8, 3]}),
        (nn.MLP, {"sizes": [256, 8, 8, 3], "batch_norm": True, "residual": True, "dropout": 0.3}),
        (nn.StridedCNN, {}),
    ],
    ids=["LeNet", "LeNet with all", "MLP", "MLP with all", "StridedCNN"],
)
def test_every_network(kind, options, activation, path):
    extent = 19 if kind is nn.StridedCNN else 16
    shape = {} if kind is nn.MLP else {"image_shape": (1, extent, extent)}
    make = numbers(1, extent, extent)
    model = trained(kind(**options, **shape, activation=nn.ACTIVATIONS[activation]), make)
    model.train()
    graph = check(model, make, path)
    assert {"Einsum", "Gather", "Transpose", "Identity"}.isdisjoint(kinds(graph))


def symbols(*shape):
    return lambda n: np.random.default_rng(n).integers(0, 6, (n, *shape))


#: For each layer, ways to make it and batches for it.
LAYERS = {
    "ELU": [(nn.ELU, numbers(4)), (lambda: nn.ELU(0.7), numbers(4))],
    "GELU": [(nn.GELU, numbers(4))],
    "MLP": [
        (lambda: nn.MLP([4, 3, 2]), numbers(4)),
        (lambda: nn.MLP([4, 3], dtype=np.float64), numbers(4, dtype="f8")),
    ],
    "AvgPool2d": [
        (lambda: nn.AvgPool2d(2), numbers(3, 5, 6)),
        (lambda: nn.AvgPool2d((3, 2), 1, (1, 0)), numbers(1, 5, 6)),
    ],
    "BatchNorm1d": [(lambda: nn.BatchNorm1d(4), numbers(4)), (lambda: nn.BatchNorm1d(4), numbers(4, 3))],
    "BatchNorm2d": [(lambda: nn.BatchNorm2d(4), numbers(4, 3, 2))],
    "Conv2d": [
        (lambda: nn.Conv2d(3, 4, 3), numbers(3, 6, 5)),
        (lambda: nn.Conv2d(4, 6, (2, 3), (2, 1), (1, 2), 2, bias=False), numbers(4, 6, 5)),
        (lambda: nn.Conv2d(2, 4, 3, dtype=np.float64), numbers(2, 5, 5, dtype=np.float64)),
    ],
    "Dropout": [(nn.Dropout, numbers(4))],
    "Embedding": [(lambda: nn.Embedding(6, 3), symbols(4)), (lambda: nn.Embedding(6, 3), symbols())],
    "Flatten": [(nn.Flatten, numbers(3, 2)), (nn.Flatten, numbers()), (nn.Flatten, numbers(0, 2))],
    "Identity": [(nn.Identity, numbers(4))],
    "LayerNorm": [(lambda: nn.LayerNorm(4), numbers(3, 4)), (lambda: nn.LayerNorm((3, 4), 0.1), numbers(3, 4))],
    "LeNet": [(nn.LeNet, numbers(1, 28, 28))],
    "LeakyReLU": [(nn.LeakyReLU, numbers(4)), (lambda: nn.LeakyReLU(0.3), numbers(4))],
    "Linear": [
        (lambda: nn.Linear(4, 3), numbers(4)),
        (lambda: nn.Linear(4, 1, bias=False), numbers(4)),
        (lambda: nn.Linear(4, 3), numbers(2, 4)),
        (lambda: nn.Linear(1, 1), numbers(1)),
    ],
    "LogSoftmax": [(nn.LogSoftmax, numbers(4)), (lambda: nn.LogSoftmax(1), numbers(4, 3))],
    "MaxPool2d": [
        (lambda: nn.MaxPool2d(2), numbers(3, 5, 6)),
        (lambda: nn.MaxPool2d((3, 2), 1, (1, 0)), numbers(1, 5, 6)),
    ],
    "RandomShift": [(nn.RandomShift, numbers(1, 5, 5))],
    "ReLU": [(nn.ReLU, numbers(4))],
    "Residual": [(lambda: nn.Residual(nn.Linear(4, 4)), numbers(4))],
    "Sequential": [(lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU()), numbers(4))],
    "SiLU": [(nn.SiLU, numbers(4))],
    "Sigmoid": [(nn.Sigmoid, numbers(4))],
    "Softmax": [(nn.Softmax, numbers(4)), (lambda: nn.Softmax(1), numbers(4, 3))],
    "Softplus": [(nn.Softplus, numbers(4))],
    "StridedCNN": [(nn.StridedCNN, numbers(1, 28, 28))],
    "Tanh": [(nn.Tanh, numbers(4))],
}


def test_every_layer_has_a_row():
    assert LAYERS.keys() == set(nn.__all__) - {"ACTIVATIONS", "Module", "parameter"}


@pytest.mark.parametrize(
    ("make", "batches"),
    [pytest.param(*way, id=f"{name} {i}") for name, ways in LAYERS.items() for i, way in enumerate(ways)],
)
def test_every_layer(make, batches, path):
    check(trained(make(), batches) if batches(2).size else make(), batches, path)


def test_lenet_is_what_an_engineer_expects(path):
    graph = check(nn.LeNet(), numbers(1, 28, 28), path, sizes=(64,))
    convolution, product = ["Conv", "Relu", "MaxPool"], ["Gemm", "Relu"]
    assert kinds(graph) == [*convolution, *convolution, "Flatten", *product, *product, "Gemm"]
    assert [node.name for node in graph.graph.node[:4]] == ["0/Conv", "1/Relu", "2/MaxPool", "3/Conv"]
    assert {x.name for x in graph.graph.initializer} == nn.LeNet().state_dict().keys()
    (x,), (y,) = graph.graph.input, graph.graph.output
    assert (x.name, y.name) == ("x", "output")
    assert [d.dim_param or d.dim_value for d in x.type.tensor_type.shape.dim] == ["batch", 1, 28, 28]
    assert [d.dim_param or d.dim_value for d in y.type.tensor_type.shape.dim] == ["batch", 10]
    assert (graph.producer_name, graph.producer_version, graph.graph.name) == ("vugrad", vg.__version__, "LeNet")


def test_every_layer_is_its_operator(path):
    def of(model, *shape):
        return kinds(exported(model, np.zeros((1, *shape), np.float32), path))

    assert of(nn.Linear(4, 3), 4) == ["Gemm"]
    assert of(nn.Linear(4, 3), 2, 4) == ["MatMul", "Add"]
    assert of(nn.Conv2d(4, 4, 3, 2, 1, groups=4), 4, 6, 6) == ["Conv"]
    assert of(nn.MaxPool2d(3, 2, 1), 4, 6, 6) == ["MaxPool"]
    assert of(nn.AvgPool2d(3, 2, 1), 4, 6, 6) == ["AveragePool"]
    assert of(nn.BatchNorm2d(4), 4, 6, 6) == of(nn.BatchNorm1d(4), 4) == ["BatchNormalization"]
    assert of(nn.LayerNorm(4), 4) == ["LayerNormalization"]
    for layer in (nn.Softmax, nn.LogSoftmax, nn.Softplus):
        assert of(layer(), 4) == [layer.__name__]
    for layer in (nn.ReLU, nn.ELU, nn.GELU, nn.LeakyReLU):
        assert [kind.lower() for kind in of(layer(), 4)] == [layer.__name__.lower()]
    assert of(nn.SiLU(), 4) == ["Sigmoid", "Mul"]


@settings(max_examples=40)
@given(
    st.tuples(*[st.integers(1, 4)] * 2),
    st.tuples(*[st.integers(1, 3)] * 2),
    st.tuples(*[st.integers(0, 2)] * 2),
    st.tuples(*[st.integers(1, 2)] * 3),
    st.tuples(*[st.integers(1, 6)] * 2),
    st.booleans(),
)
def test_convolutions_of_every_geometry(tmp_path_factory, kernel, stride, padding, channels, size, bias):
    rows, columns = (max(n, k - 2 * p) for n, k, p in zip(size, kernel, padding, strict=True))
    groups, into, out = channels
    model = nn.Conv2d(groups * into, groups * out, kernel, stride, padding, groups, bias)
    model = trained(model, numbers(groups * into, rows, columns))
    path = tmp_path_factory.mktemp("conv") / "model.onnx"
    graph = check(model, numbers(groups * into, rows, columns), path, sizes=(1, 2))
    assert kinds(graph) == ["Conv"]


@settings(max_examples=40)
@given(
    st.sampled_from([nn.MaxPool2d, nn.AvgPool2d]),
    st.tuples(*[st.integers(1, 4)] * 2),
    st.tuples(*[st.integers(1, 3)] * 2),
    st.tuples(*[st.integers(0, 2)] * 2),
    st.tuples(*[st.integers(1, 6)] * 2),
)
def test_poolings_of_every_geometry(tmp_path_factory, kind, kernel, stride, padding, size):
    padding = tuple(min(p, k // 2) for p, k in zip(padding, kernel, strict=True))
    rows, columns = (max(n, k - 2 * p) for n, k, p in zip(size, kernel, padding, strict=True))
    path = tmp_path_factory.mktemp("pool") / "model.onnx"
    graph = check(kind(kernel, stride, padding), numbers(2, rows, columns), path, sizes=(1, 2))
    name = "MaxPool" if kind is nn.MaxPool2d else "AveragePool"
    assert kinds(graph) == [name] or kernel == (1, 1)


# --- ops and primitives


class Function(nn.Module):
    """A function of arrays as a model."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *xs):
        return self.function(*xs)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_op(row, path):
    if row.op is not ops.Dropout:
        check_on_each_instance(row, path)
    if row.shapes[0][:1]:
        check_on_batches(row, path)


def check_on_each_instance(row, path):
    """Each op of the first instance of a batch, so that all its axes are as the table has them."""
    xs = row.inputs(np.random.default_rng(0), np.float32)
    model = Function(lambda *batches: row.op.do_forward(*(x[0] for x in batches), **row.constants))
    check(model, lambda n: tuple(np.stack([x] * n) for x in xs), path, sizes=(2,))


#: What an op says that cannot be exported with the batch on its first axis.
REFUSALS = "at each batch size|run over the batch|of shapes .*37"


def check_on_batches(row, path):
    """Each op with the batch on the first axis of all operands that are as long there: right, or refused."""
    xs = row.inputs(np.random.default_rng(0), np.float32)
    batched = [i for i, x in enumerate(xs) if x.shape[:1] == xs[0].shape[:1]]

    def apply(*batches):
        operands = dict(enumerate(xs)) | dict(zip(batched, batches, strict=True))
        return row.op.do_forward(*(operands[i] for i in range(len(xs))), **row.constants)

    try:
        vg.export_onnx(Function(apply), tuple(xs[i] for i in batched), path)
    except ValueError as error:
        if not re.search(REFUSALS, str(error)):
            raise
        return
    run = runs(onnx.load(path))
    for n in (5, 8):  # so many that no index of the table's is beyond them
        batches = [np.resize(xs[i], (n, *xs[i].shape[1:])) for i in batched]
        index = row.constants.get("index")
        if not (isinstance(index, np.ndarray) and index.dtype.kind == "b"):  # a mask is for one batch size
            assert_same(eager(Function(apply), *batches), run(*batches))


FLOATS = [-np.inf, -3.7, -1, -0.5, -1e-6, -0.0, 0, 1e-6, 0.3, 0.5, 1.5, 2.5, 80, np.inf, np.nan]
WHOLE = {"i1": [-128, -3, 0, 1, 5, 127], "u1": [0, 1, 5, 200, 255], "i4": [-(2**31), -3, 0, 1, 5, 2**31 - 1]}
WHOLE |= {"i2": WHOLE["i1"], "i8": [-(2**52), -3, 0, 1, 5, 2**52], "u2": WHOLE["u1"], "u4": [0, 1, 5, 200, 2**32 - 1]}
WHOLE |= {"u8": [0, 1, 5, 200, 2**52], "?": [False, True]}
VALUES = {"f4": FLOATS, "f8": FLOATS, **WHOLE}
SIGNED, UNSIGNED = ["i1", "i2", "i4", "i8"], ["u1", "u2", "u4", "u8"]
INTS, REALS = [*SIGNED, *UNSIGNED], ["f4", "f8"]
ALL = ["?", *INTS, *REALS]
NOT_U8 = [kind for kind in ALL if kind != "u8"]  # of which onnxruntime finds no largest


def pairs(kind):
    """All pairs of numbers of a dtype, the special ones among them, as two arrays with the batch first."""
    x, y = np.meshgrid(np.array(VALUES[kind], kind), np.array(VALUES[kind], kind))
    return x.reshape(-1, 1), y.reshape(-1, 1)


UNARY = {
    **{name: (getattr(np, name), REALS) for name in ("sqrt", "exp", "log", "expm1", "log1p", "log2", "log10", "tanh")},
    **{name: (getattr(np, name), ["f4"]) for name in ("tan", "arcsin", "arccos", "arctan", "sinh", "cosh")},
    **{name: (getattr(np, name), REALS) for name in ("sin", "cos")},
    **{name: (getattr(np, name), [*REALS, *INTS]) for name in ("floor", "ceil", "trunc", "abs", "sign")},
    **{name: (getattr(np, name), [*REALS, *INTS]) for name in ("isnan", "isinf", "isfinite")},
    "rint": (np.rint, REALS),
    "neg": (np.negative, [*REALS, *INTS]),
    "not": (np.invert, ["?", *INTS]),
    "sigmoid": (ops.primitives.sigmoid, REALS),
    "erf": (ops.primitives.erf, ["f4"]),
}
BINARY = {
    "add": (np.add, ALL),
    "sub": (np.subtract, [*REALS, *INTS]),
    "mul": (np.multiply, ALL),
    "div": (np.divide, REALS),
    "pow": (np.power, REALS),
    "max": (np.maximum, ALL),
    "min": (np.minimum, ALL),
    "and": (np.bitwise_and, ["?", *INTS]),
    "or": (np.bitwise_or, ["?", *INTS]),
    "xor": (np.bitwise_xor, ["?", *INTS]),
    "shl": (np.left_shift, INTS),
    "shr": (np.right_shift, INTS),
    **{name: (f, ALL) for name, f in {"eq": np.equal, "ne": np.not_equal, "lt": np.less}.items()},
    **{name: (f, ALL) for name, f in {"le": np.less_equal, "gt": np.greater, "ge": np.greater_equal}.items()},
    "where": (lambda x, y: np.where(x < y, x, y), ALL),
}
OF_ONE = {
    "sum": (lambda x: np.sum(x, axis=1), [*REALS, *INTS]),
    "maximum": (lambda x: np.max(x, axis=1), NOT_U8),
    "minimum": (lambda x: np.min(x, axis=1, keepdims=True), NOT_U8),
    "argmax": (lambda x: np.argmax(x, axis=1), NOT_U8),
    "argmin": (lambda x: np.argmin(x, axis=1), NOT_U8),
    "reshape": (lambda x: np.reshape(x, (2, -1)).reshape(-1), ALL),
    "transpose": (lambda x: np.transpose(x).sum(axis=1), ["i4"]),
    "broadcast": (lambda x: np.broadcast_to(x[:, None], (len(x), 3, x.shape[1])), ALL),
    "slice": (lambda x: x[::-1, 3:0:-2], ALL),
    "pad": (lambda x: np.pad(x, ((0, 0), (1, 2)), constant_values=1), ALL),
    "concatenate": (lambda x: np.concatenate([x, x[:, :1]], axis=1), ALL),
    "gather": (lambda x: x[:, np.array([[3, -1], [0, 0]])], ALL),
    "scatter": (
        lambda x: ops.primitives.scatter(x, (slice(None), np.array([1, 1, 0, -1])), (len(x), 5)),
        ["f4", "i8"],
    ),
    "window": (lambda x: ops.primitives.unfold(x[:, None], (1, 2), (1, 2)), ALL),
    "fold": (lambda x: ops.primitives.fold(x.reshape(-1, 1, 2, 1, 2), (2, 4), (1, 1)), ["f4", "f8", "i4"]),
    "contract": (lambda x: np.einsum("ij,ik->ijk", x, x), [*REALS, "i4", "i8"]),
    "cast": (lambda x: (x.astype(np.float64), x.astype(bool), x.astype("f4")), ALL),
}
CASES = {**UNARY, **BINARY, **OF_ONE}


def samples(name, kind):
    """What a primitive is tried on in a dtype: the special numbers, all pairs of them, or several in a row."""
    if name == "pow":
        x, y = pairs(kind)
        return x, np.where(np.abs(y) < 10, y, 2)  # beyond, the last digits are the runtime's
    if name not in OF_ONE:
        return pairs(kind)[: 1 + (name in BINARY)]
    values = np.array(VALUES[kind], kind)
    return (np.resize(values[~np.isnan(values)] if name.startswith("arg") else values, (6, 4)),)


@pytest.mark.parametrize("name", CASES)
def test_every_primitive(name, path):
    """In every dtype, at the numbers that are special in it."""
    function, dtypes = CASES[name]
    xs = [samples(name, kind) for kind in dtypes]
    n = len(xs[0])
    rows = max(len(parts[0]) for parts in xs)
    batches = [np.resize(x, (rows, *x.shape[1:])) for parts in xs for x in parts]
    model = Function(lambda *all_: tuple(function(*all_[i : i + n]) for i in range(0, len(all_), n)))
    with np.errstate(all="ignore"):
        assert name in {x.primitive for x in trace(function, xs[0]).program.instructions}
        found = iter(runs(exported(model, tuple(batches), path))(*batches))
    for i, kind in enumerate(dtypes):
        for x, y in zip(eager(Function(function), *batches[n * i : n * i + n]), found, strict=False):
            assert (x.shape, x.dtype) == (y.shape, y.dtype), kind
            if kind not in REALS:
                np.testing.assert_array_equal(y, x, err_msg=kind)
            else:
                near = 2e-6 if kind == "f4" else 1e-12
                exact = name in ("expm1", "log1p")  # for small numbers too
                np.testing.assert_allclose(y, x, rtol=near, atol=1e-30 if exact else near, err_msg=kind)
    assert next(found, None) is None


def test_every_primitive_is_tested():
    assert CASES.keys() == PRIMITIVES.keys() - {"input", "constant", "bits"}
    assert TRANSLATIONS.keys() - {"range"} == PRIMITIVES.keys() - {"input"}


@pytest.mark.parametrize("name", ["erf", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh"])
def test_what_onnxruntime_has_not_in_float64_is_right_all_the_same(name, path):
    x = np.linspace(-0.9, 0.9, 7).reshape(-1, 1)
    graph = exported(Function(UNARY[name][0]), x, path)
    (y,) = ReferenceEvaluator(graph).run(None, {graph.graph.input[0].name: x})
    np.testing.assert_allclose(y, UNARY[name][0](x), rtol=1e-6, atol=1e-12)  # its erf is in float32
    assert y.dtype == x.dtype


def test_positions_from_the_input_count_from_the_end_and_are_kept_within(path):
    """As the compiler has them: -1 is the last, and beyond the ends come the ends."""
    embedding = nn.Embedding(6, 3)
    index = np.array([-9, -6, -1, 0, 5, 6, 99])
    (found,) = runs(exported(embedding, index, path))(index)
    np.testing.assert_array_equal(found, embedding.weight.value[[0, 0, 5, 0, 5, 5, 5]])
    model = Function(lambda i, j: model.table[i, j])
    model.table = np.arange(12.0).reshape(3, 4)
    (found,) = runs(exported(model, (index, index), path))(index, index)
    np.testing.assert_array_equal(found, model.table[[0, 0, 2, 0, 2, 2, 2], [0, 0, 3, 0, 3, 3, 3]])


def test_gaps_between_rows_and_between_instances(path):
    def spread(index, rows, columns):
        return Function(lambda x: ops.primitives.scatter(x, index, (rows * len(x), columns)))

    for model in (spread((slice(None), slice(1, 9, 2)), 1, 9), spread((slice(0, None, 2),), 2, 4)):
        graph = check(model, numbers(4), path)
        assert "ScatterND" not in kinds(graph)
    assert [d.dim_param or d.dim_value for d in graph.graph.output[0].type.tensor_type.shape.dim] == ["2*batch", 4]


class Random(nn.Module):
    """A random function of the compiler's tests, of the first instances."""

    def __init__(self, seed):
        super().__init__()
        self.random = compiler_fuzz.Function(seed)
        self.nodes = self.random.nodes

    def forward(self, *batches):
        values = [*(x[0] for x in batches), *(node.value for node in self.nodes)]
        for function, operands in self.random.steps:
            values.append(function(*(values[i] for i in operands)))
        return tuple(values[i] for i in self.random.outputs)


@pytest.mark.parametrize("seed", range(188, 218))
def test_random_functions(seed, path):
    model = Random(seed)
    xs = tuple(np.stack([x, x]) for x in model.random.arguments)
    with np.errstate(all="ignore"):
        graph = exported(model, xs, path)
        assert_same(eager(model, *xs), runs(graph)(*xs), near=1e-4)


TRANSPOSED = {
    "a layer": lambda w: lambda x: np.transpose(x, (0, 2, 1)) @ w.T,
    "a vector": lambda w: lambda x: np.transpose(x, (0, 2, 1)) @ w[0],
    "an einsum": lambda w: lambda x: np.einsum("bcd,zc->bzd", x, w),
    "from the left": lambda w: lambda x: w @ x,
    "a vector from the left": lambda w: lambda x: w[0] @ x,
}


@pytest.mark.parametrize("way", TRANSPOSED)
@pytest.mark.parametrize("columns", [1, 2])
def test_products_after_transpositions(way, columns, path):
    """Of a transposition and a product with a vector onnxruntime makes one that is wrong."""
    weight = np.random.default_rng(0).normal(size=(columns, 4)).astype(np.float32)
    graph = check(Function(TRANSPOSED[way](weight)), numbers(4, 2), path)
    arrays = {x.name: len(x.dims) for x in graph.graph.initializer}
    products = [node for node in graph.graph.node if node.op_type == "MatMul"]
    assert all(arrays.get(x, 2) == 2 for node in products for x in node.input)


@st.composite
def einsums(draw):
    """Subscripts of the batch b with a known array, or with itself, and the extents of their letters."""
    extents = {c: draw(st.integers(1, 3)) for c in "cdez"}
    first = "bcde"[: draw(st.integers(2, 4))]
    second = "".join(draw(st.lists(st.sampled_from("cdz"), unique=True, min_size=1, max_size=2)))
    output = [c for c in sorted({*first[1:], *second}) if c not in first or c not in second or draw(st.booleans())]
    output = draw(st.sampled_from([output, output[::-1]]))
    order = draw(st.permutations(range(1, len(first))))
    return first, second + draw(st.sampled_from(["", "", "b"])), "b" + "".join(output), extents, order


@settings(max_examples=100)
@given(einsums())
def test_einsums_with_extents_of_one(tmp_path_factory, way):
    first, second, output, extents, order = way
    known = np.random.default_rng(0).normal(size=[extents[c] for c in second.replace("b", "")]).astype(np.float32)
    first = "b" + "".join(first[i] for i in order)

    def function(x):
        y = np.transpose(x, (0, *order))
        if "b" not in second:
            return np.einsum(f"{first},{second}->{output}", y, known)
        other = known * y.reshape(len(y), -1)[:, :1].reshape(len(y), *[1] * known.ndim)
        return np.einsum(f"{first},b{second[:-1]}->{output}", y, other)

    extent = dict(zip(order, (extents[c] for c in first[1:]), strict=True))
    shape = [extent[i] for i in range(1, len(first))]
    check(Function(function), numbers(*shape), tmp_path_factory.mktemp("einsum") / "model.onnx", sizes=(1, 2))


PARTS = ["turn", "linear", "norm", "softmax", "mean", "max", "drop", "add"]


@settings(max_examples=80)
@example(["linear"], (3, 2, 1))
@given(
    st.lists(st.sampled_from([*PARTS, "turn", "linear"]), min_size=1, max_size=5),
    st.tuples(*[st.integers(1, 3)] * 3),
)
def test_layers_with_extents_of_one(tmp_path_factory, names, extents):
    rows, columns, out = extents
    rng = np.random.default_rng(0)
    shape, layers = (rows, columns), []
    for name in ["turn", *names]:
        if name == "linear":
            layers.append(trained(nn.Linear(shape[-1], out), numbers(shape[-1])))
            shape = (shape[0], out)
        elif name == "norm":
            layers.append(nn.LayerNorm(shape[-1], 0.1))  # which makes no more of rounding errors
        elif name == "turn":
            layers.append(lambda x: np.transpose(x, (0, 2, 1)))
            shape = shape[::-1]
        elif name == "softmax":
            layers.append(nn.Softmax(2))
        elif name == "add":
            w = rng.normal(size=(shape[0], 1)).astype(np.float32)
            layers.append(lambda x, w=w: x + w * x)
        elif name == "drop":  # and put back
            layers.append(lambda x: (np.abs(x).max(axis=2) @ np.ones((x.shape[1], 1), np.float32))[:, :, None] * x)
        else:
            layers.append(lambda x, name=name: x - getattr(np, name)(x, axis=1, keepdims=True))

    def function(x):
        for layer in layers:
            x = layer(x)
        return x

    model = Function(function)
    model.layers = layers
    check(model, numbers(rows, columns), tmp_path_factory.mktemp("ones") / "model.onnx", sizes=(1, 2))


def test_instances_pick_from_their_own_rows(path):
    """Positions that are the instances' own, 0, 1, 2 …, are made in the graph."""
    model = Function(lambda x, i: x[np.arange(len(x)), i])
    graph = check(model, lambda n: (numbers(4)(n), symbols()(n) % 4), path)
    assert "Range" in kinds(graph)


def test_nan_is_heard(path):
    for function in (np.max, np.min):
        model = Function(lambda x, function=function: function(x, axis=1))
        x = np.array([[1, np.nan, -1], [np.nan, 2, 3], [1, 2, 3]], np.float32)
        assert_same(eager(model, x), runs(exported(model, x, path))(x))
    assert (
        kinds(exported(Function(lambda x: np.exp(x - np.max(x, axis=1, keepdims=True))), x, path)).count("IsNaN") == 0
    )


def test_several_inputs_and_outputs(path):
    class Both(nn.Module):
        def forward(self, images, weights):
            y = images * weights[:, None]
            return {"scaled": y, "same": images, "again": y}

    graph = exported(Both(), (np.zeros((3, 4)), np.zeros(3)), path)
    assert [x.name for x in graph.graph.input] == ["images", "weights"]
    assert [x.name for x in graph.graph.output] == ["output_scaled", "output_same", "output_again"]
    xs = np.arange(8.0).reshape(2, 4), np.array([1.0, 2.0])
    assert_same([xs[0] * xs[1][:, None], xs[0], xs[0] * xs[1][:, None]], runs(graph)(*xs))


def test_results_that_do_not_depend_on_the_input(path):
    def described(x):
        found = {
            "version": np.float32(3),
            "logits": 2 * x,
            "classes": np.array([10, 20]),
            "names": None,
            "deep": [1, x],
        }
        return {**found, "rows": np.arange(len(x)), "node": vg.TensorNode(np.ones(2))}

    graph = exported(Function(described), X, path)
    assert [x.name.removeprefix("output_") for x in graph.graph.output] == [
        *("version", "logits", "classes", "deep_0", "deep_1", "rows", "node")
    ]
    xs = numbers(4)(5)
    expected = [np.float32(3), 2 * xs, np.array([10, 20]), np.array(1), xs, np.arange(5), np.ones(2)]
    assert_same([np.asarray(x) for x in expected], runs(graph)(xs))


def test_names_that_are_taken(path):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.x, self.output = nn.parameter(np.ones(4)), np.ones(4)

        def forward(self, x):
            return x * self.x + self.output

    class Output(nn.Module):
        def forward(self, output):
            return output, np.exp(output), output + 1.0

    graph = check(Named(), numbers(4, dtype=np.float64), path)
    assert [graph.graph.input[0].name, graph.graph.output[0].name] == ["x_1", "output_1"]
    assert {x.name for x in graph.graph.initializer} == {"x", "output"}
    assert kinds(check(Output(), numbers(4), path)).count("Identity") == 1
    taken = check(Function(lambda output_0, output: (output_0, output)), lambda n: (numbers(4)(n), numbers(2)(n)), path)
    assert len({x.name for x in (*taken.graph.input, *taken.graph.output)}) == 4


def test_a_bias_used_twice_and_results_used_inside(path):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x):
            y = vg.relu(self.layer(x))
            return y, self.layer(y), y @ self.layer.weight

    check(Shared(), numbers(3), path)


def test_convolutions_written_otherwise(path):
    rng = np.random.default_rng(0)
    kernels = rng.normal(size=(4, 2, 3, 2)).astype(np.float32)

    def windows(x):
        return ops.primitives.unfold(x, (3, 2), (1, 2))

    ways = [
        lambda x: np.einsum("nchwij,ocij->nohw", windows(x), kernels),
        lambda x: np.einsum("ocij,nchwij->nhwo", kernels, windows(x)).transpose(0, 3, 1, 2),
        lambda x: (
            np.transpose(windows(x), (0, 2, 3, 1, 4, 5)).reshape(len(x), 3, 3, 12) @ kernels.reshape(4, 12).T
        ).transpose(0, 3, 1, 2),
    ]
    for way in ways:
        assert kinds(check(Function(way), numbers(2, 5, 6), path)) == ["Conv"]
    others = [
        lambda x: np.einsum("nchwij,ocij->nohwc", windows(x), kernels),
        lambda x: np.einsum("nchwij,ocij->nohwi", windows(x), kernels),
        lambda x: np.einsum("nchwij,ncij->nhw", windows(x), windows(x)[:, :, 0, 0]),
        lambda x: windows(x).max(axis=(-2, -1)) + windows(x).sum(axis=(4, 5)) + windows(x)[..., 0, 1],
    ]
    for way in others:
        assert "Conv" not in kinds(check(Function(way), numbers(2, 5, 6), path))


# --- what is refused, and what stays as it was


def test_the_model_stays_as_it_was(path):
    model = nn.LeNet(batch_norm=True, dropout=0.5)
    model[0].eval()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    modes, members = [m.training for _, m in model.named_modules()], [dict(vars(m)) for _, m in model.named_modules()]
    vg.export_onnx(model, np.zeros((2, 1, 28, 28), np.float32), path)
    assert [m.training for _, m in model.named_modules()] == modes
    assert [dict(vars(m)) for _, m in model.named_modules()] == members
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    with pytest.raises(CannotCompileError):
        vg.export_onnx(nn.Sequential(model, Function(float)), np.zeros((2, 1, 28, 28), np.float32), path)
    assert [m.training for _, m in model.named_modules()] == modes


class Remembering(nn.Module):
    """Keeps what it computes, here and there."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.w, self.last, self.count = {"w": 1, "deep": [{}]}, None, 0
        self.history, self.pair, self._hidden = [], ([],), [nn.ReLU()]

    def forward(self, x):
        self.last = h = self.linear(x)
        self.count += 1
        self.w["w"] = self.w["deep"][0]["h"] = h
        self.history.append(h)
        self.pair[0].append(self.history)
        self._hidden[0].kept = h
        return h


def test_nothing_stays_in_the_model(path):
    model = Remembering()
    parts = model.w, model.w["deep"][0], model.history, model.pair[0]
    with pytest.raises(CannotCompileError, match="keeps an array"):
        vg.export_onnx(model, X, path)
    assert (model.w, model.last, model.count) == ({"w": 1, "deep": [{}]}, None, 0)
    assert (model.history, model.pair, hasattr(model._hidden[0], "kept")) == ([], ([],), False)
    assert all(x is y for x, y in zip(parts, (model.w, model.w["deep"][0], model.history, model.pair[0]), strict=True))
    assert "forward" not in vars(model.linear)
    assert model(X).shape == (3, 4)
    assert model.count == len(model.history) == 1


def test_lists_that_hold_themselves_are_put_back():
    model = nn.ReLU()
    model.kept = [1, {"x": 2}]
    model.kept.append(model.kept)
    model.again = (model.kept, model)
    with kept(model):
        model.kept[1]["x"] = model.again[0][0] = 3
        model.kept.reverse()
        model.kept, model.new = [], 5
    assert model.kept is model.again[0] is model.kept[2]
    assert model.kept[:2] == [1, {"x": 2}]
    assert not hasattr(model, "new")


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = np.zeros(1)

    def forward(self, x):
        self.calls = self.calls + np.mean(x)
        return x


class Ticking(nn.Module):
    def __init__(self):
        super().__init__()
        self.ticks = 0

    def forward(self, x):
        self.ticks += 1
        return x * self.ticks


def nested(depth):
    """Modules in each other."""
    model = nn.ReLU()
    for _ in range(depth):
        model = nn.Sequential(model)
    return model


X = np.ones((3, 4), np.float32)
REFUSED = {
    "None": (nn.ReLU(), None, TypeError, "example is a NoneType: .* or a tuple of arrays"),
    "a dict": (nn.ReLU(), {"x": X}, TypeError, "example is a dict"),
    "text": (nn.ReLU(), "x", TypeError, "example is a str"),
    "a number": (nn.ReLU(), 1.0, TypeError, "example is a float"),
    "a list": (nn.ReLU(), [X], TypeError, "example is a list"),
    "a list among arrays": (Function(np.add), (X, [X]), TypeError, "example has in it a list"),
    "too many": (nn.ReLU(), (X, X), TypeError, "forward of ReLU .* there are 2: too many .* a tuple"),
    "none for one": (nn.Residual(nn.ReLU()), (X, X, X), TypeError, "there are 3"),
    "float64": (
        nn.MLP([4, 3]),
        X.astype("f8"),
        ValueError,
        r"float64 and the model float32.* x\.astype\(np\.float32\)",
    ),
    "no batch": (nn.ReLU(), np.float32(1), ValueError, r"of shape \(\).* x\[None\]"),
    "nothing": (nn.ReLU(), (), ValueError, "of shape nothing"),
    "batches that differ": (Function(np.add), (X, X[:2]), ValueError, r"\(3, 4\) and \(2, 4\)"),
    "a function": (np.tanh, X, TypeError, "takes a vg.nn.Module, not a ufunc"),
    "a branch": (Function(lambda x: x if x.sum() > 0 else -x), X, CannotCompileError, "a branch"),
    "a mean over the batch": (
        Function(lambda x: x - x.mean(axis=0)),
        X,
        ValueError,
        "a constant of 37.0 at 37 and of 41",
    ),
    "a loop over the batch": (Function(lambda x: sum(row for row in x)), X, ValueError, "at each batch size"),
    "pairs in a row": (Function(lambda x: (x @ x.T).reshape(-1)), X, ValueError, "at each batch size"),
    "a fixed batch": (Function(lambda x: x + X), X, ValueError, "37, 4"),
    "windows over the batch": (
        Function(lambda x: ops.primitives.unfold(x, (2, 2))),
        X,
        ValueError,
        "run over the batch",
    ),
    "random": (
        Function(lambda x: x * ops.primitives.random_bits(x[0, :2].astype("u4"), (4,))),
        X,
        ValueError,
        "random",
    ),
    "state": (Counting(), X, ValueError, "changes its 'calls'"),
    "nothing out": (Function(lambda x: 3), X, ValueError, "nothing that depends"),
    "text out": (Function(lambda x: (x, "yes")), X, ValueError, "returns a str as its output_1"),
    "an object out": (Function(lambda x: {"x": x, "o": object()}), X, ValueError, "returns a object as its output_o"),
    "a constant of the batch": (
        Function(lambda x: (2 * x, np.ones((len(x), 2)), 3 * x)),
        X,
        ValueError,
        r"each batch size in output_1: a constant of shape \(37, 2\) at 37",
    ),
    "a branch on the batch": (
        Function(lambda x: x * 2 if len(x) > 10 else x * 3),
        X,
        ValueError,
        "at each batch size: other numbers at 3 than at 37 instances",
    ),
    "a branch on large batches": (
        Function(lambda x: x * 2 if len(x) > 50 else x * 3),
        np.ones((51, 4)),
        ValueError,
        "51",
    ),
    "a branch on one instance": (
        Function(lambda x: x * 2 if len(x) > 1 else x * 3),
        X,
        ValueError,
        "other numbers at 1 than at 37 instances",
    ),
    "more outputs for one": (
        Function(lambda x: [x] * (1 + (len(x) < 3))),
        X,
        ValueError,
        "2 outputs at [12] and 1 at 37",
    ),
    "the first ten": (Function(lambda x: x[:10]), X, ValueError, r"of shape \(3, 4\) at 3 and of \(10, 4\) at 37"),
    "a squeeze": (
        Function(lambda x: np.squeeze(x.sum(axis=1, keepdims=True))),
        X,
        ValueError,
        r"an output of shape \(\) at 1 and of \(37,\) at 37",
    ),
    "chance": (Function(lambda x: x * np.random.default_rng().random(4)), X, ValueError, "each time .*random"),
    "chance in an output": (
        Function(lambda x: (x, np.random.default_rng().random())),
        X,
        ValueError,
        "each time that it is called in output_1, in eval mode too: it draws",
    ),
    "calls counted": (Ticking(), X, ValueError, "each time .* counts"),
    "deep": (nested(300), X, ValueError, "lie so deep in each other, .* sys.setrecursionlimit"),
    "half": (nn.ReLU(), X.astype(np.float16), CannotCompileError, "float16"),
}


@pytest.mark.parametrize(("model", "example", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(model, example, kind, message, path):
    with pytest.raises(kind, match=message):
        vg.export_onnx(model, example, path)
    assert not path.exists()


def test_a_fixed_batch_is_explained(path):
    with pytest.raises(ValueError, match="37, 4") as caught:
        vg.export_onnx(Function(lambda x: x + X), X, path)
    assert "every batch size" in caught.value.__notes__[0]


def test_whatever_a_model_raises_is_explained(path):
    class Small(nn.Module):
        def forward(self, x):
            return x + {3: 1.0, 2: 1.0}[len(x)]

    with pytest.raises(KeyError) as caught:
        vg.export_onnx(Small(), X, path)
    assert "37 and 41 and 43" in caught.value.__notes__[0]
    with pytest.raises(KeyError) as caught:
        vg.export_onnx(Small(), X[:1], path)
    assert not hasattr(caught.value, "__notes__")  # it is the example that it cannot take


def test_a_model_that_takes_no_batch_of_one(path):
    def paired(x):
        if len(x) < 2:
            raise ValueError("one is not enough")
        return 2 * x

    check(Function(paired), numbers(4), path, sizes=(2, 7))


@pytest.mark.parametrize("example", [X[:0], X[:1], X[:2], np.ones((41, 4), np.float32)], ids=len)
def test_examples_of_every_size(example, path):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.LayerNorm(3), nn.Linear(3, 1), nn.Softmax())
    assert_same(eager(model, X), runs(exported(model, example, path))(X))


def test_deeper_modules_with_more_calls(path):
    with pytest.raises(ValueError, match="at each batch size"):
        vg.export_onnx(nn.Sequential(nested(50), Function(lambda x: x.mean(axis=0))), X, path)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(3000)
    try:
        check(nested(300), numbers(4), path)
    finally:
        sys.setrecursionlimit(limit)


def test_arrays_that_are_called_the_same(path):
    class Apart(nn.Module):
        def __init__(self):
            super().__init__()
            self.d = {1: nn.parameter(np.eye(4)), "1": nn.parameter(2 * np.eye(4))}

        def forward(self, x):
            return x @ self.d[1] + x @ self.d["1"]

    class Dotted(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = [nn.parameter(np.eye(4))]
            setattr(self, "a.0", nn.parameter(2 * np.eye(4)))

        def forward(self, x):
            return x @ self.a[0] + x @ getattr(self, "a.0")

    for model, name in ((Apart(), "d.1"), (Dotted(), "a.0")):
        with pytest.raises(ValueError, match=f"two arrays are called '{name}'"):
            vg.export_onnx(model, np.ones((2, 4)), path)
        assert not path.exists()


def test_a_path_is_text(tmp_path):
    for path in (None, b"model.onnx", 3):
        with pytest.raises(TypeError, match=f"'model.onnx', not {type(path).__name__}"):
            vg.export_onnx(nn.ReLU(), X, path)


def test_where_in_the_model_is_said(path):
    model = nn.Sequential(nn.Linear(4, 4), Function(lambda x: x - x.mean(axis=0)))
    with pytest.raises(ValueError, match="in 1: a constant"):
        vg.export_onnx(model, X, path)


def test_too_large_a_model(path, monkeypatch):
    monkeypatch.setattr(exporting, "LIMIT", 1000)
    with pytest.raises(ValueError, match="GiB"):
        vg.export_onnx(nn.Linear(16, 16), np.zeros((1, 16), np.float32), path)
    assert not path.exists()


def test_without_the_package(path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else find(name))
    with pytest.raises(ImportError, match=r"pip install 'vugrad\[onnx\]'"):
        vg.export_onnx(nn.ReLU(), X, path)


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "model.onnx", tmp_path):
        with pytest.raises(OSError, match="cannot write"):
            vg.export_onnx(nn.ReLU(), X, path)


def test_a_file_is_replaced_whole_or_not_at_all(path):
    vg.export_onnx(nn.ReLU(), X, os.fspath(path))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="at each batch size"):
        vg.export_onnx(Function(lambda x: x.mean(axis=0)), X, path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]
