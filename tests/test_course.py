"""The contract with existing course code: each of its sentences, written the way course code would be."""

# ruff: noqa: NPY002 (course code draws from np.random)

import ast
import itertools
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from gradients import jacobian

import vugrad as vg

HERE = pathlib.Path(__file__).parent
PACKAGE = pathlib.Path(vg.__file__).parent


def mnist_folder():
    for folder in (os.environ.get("VUGRAD_DATA"), HERE.parents[1] / "shared" / "data"):
        if folder and (pathlib.Path(folder) / "mnist").is_dir():
            return str(folder)
    return None


@pytest.fixture(autouse=True)
def _seeds():
    np.random.seed(0)
    vg.seed(0)


needs_mnist = pytest.mark.skipif(mnist_folder() is None, reason="no MNIST: $VUGRAD_DATA names no folder with mnist/")


# --- the training script, its flags and its conventions


def run_script(*flags):
    env = os.environ | {"PYTHONPATH": str(PACKAGE.parent), "PYTHONWARNINGS": "error"}
    if mnist_folder():
        env["VUGRAD_DATA"] = mnist_folder()
    # As it is, but for the seed.
    code = (
        "import runpy, sys, vugrad; vugrad.seed(0); del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, HERE / "course" / "train_mlp.py", *flags],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [[float(number) for number in line.split()] for line in done.stdout.splitlines()]


def test_the_training_script_on_synthetic_data():
    epochs = run_script("-D", "synth", "-b", "100", "-e", "4", "-l", "0.01", "--limit", "10050")
    assert len(epochs) == 4
    assert epochs[-1][2] < 0.4 < epochs[0][2]
    assert epochs[-1][1] > 0.85


@needs_mnist
def test_the_training_script_on_mnist():
    """Raw pixels of 0 to 255; the last batch is of one instance."""
    epochs = run_script("-D", "mnist", "-b", "64", "-e", "2", "-l", "1e-4", "--limit", "1281")
    assert epochs[-1][2] < epochs[0][2]
    assert epochs[-1][1] > 0.6


# --- TensorNode


def test_the_value_is_the_array_itself():
    array = np.random.randn(2, 2)
    x = vg.TensorNode(array)
    assert x.value is array
    assert (x.source, x.name) == (None, None)
    assert vg.TensorNode(array, None, "x").name == "x"
    assert vg.TensorNode(value=array, source=None, name="y").name == "y"


def test_grad_is_zeros_before_any_backward():
    x = vg.TensorNode(np.random.randn(2, 3))
    c = x + x
    assert np.array_equal(x.grad, np.zeros((2, 3)))
    assert np.array_equal(c.grad, np.zeros((2, 3)))


def test_size_is_the_shape_or_one_extent():
    x = vg.TensorNode(np.zeros((2, 3)))
    assert x.size() == (2, 3)
    assert (x.size(0), x.size(dim=1)) == (2, 3)


def test_backward_starts_from_one_element_and_adds():
    x = vg.TensorNode(np.ones((1, 1)))
    y = x * x
    y.backward()
    y.backward()
    assert x.grad == 4
    with pytest.raises(ValueError, match="one number"):
        (vg.TensorNode(np.ones(2)) * 2.0).backward()


def test_zero_grad_reaches_everything_below():
    x, w = vg.TensorNode(np.ones((1, 2))), vg.TensorNode(np.ones((3, 2)))
    h = vg.BatchMM.do_forward(w, x)
    loss = vg.Sum.do_forward(h)
    loss.backward()
    assert all(n.grad.any() for n in (x, w, h, loss))
    loss.zero_grad()
    assert not any(n.grad.any() for n in (x, w, h, loss))


def test_clear_cuts_the_graph():
    x = vg.TensorNode(np.ones(2))
    loss = vg.Sum.do_forward(x * x)
    product = loss.source.inputs[0]
    loss.clear()
    assert len(loss.source.inputs) == 0
    assert len(product.source.inputs) == 0
    assert loss.value == 2


def test_arithmetic_between_nodes_and_with_a_float():
    a, b = vg.TensorNode(np.array([[1.0, 2.0]])), vg.TensorNode(np.array([[3.0, 5.0]]))
    assert np.array_equal((a + b).value, [[4, 7]])
    assert np.array_equal((a - b).value, [[-2, -3]])
    assert np.array_equal((a * b).value, [[3, 10]])
    assert np.array_equal((a * 0.5).value, [[0.5, 1]])
    assert np.array_equal(a.matmul(vg.TensorNode(np.array([[1.0], [10.0]]))).value, [[21]])


# --- OpNode


def test_the_bipartite_graph():
    a, b = vg.TensorNode(np.random.randn(2, 2)), vg.TensorNode(np.random.randn(2, 2))
    c = a * b
    assert isinstance(c.source, vg.OpNode)
    assert c.source.op is vg.Multiply
    assert isinstance(c.source.context, dict)
    assert c.source.inputs[0].value is a.value
    assert c.source.inputs[1] is b
    assert len(c.source.outputs) == 1
    assert c.source.outputs[0] is c
    c.grad = np.ones((2, 2))
    c.source.backward()
    assert np.array_equal(a.grad, b.value)
    c.source.zero_grad()
    assert not a.grad.any()
    c.source.clear()
    assert len(c.source.inputs) == 0


# --- Op, and ops that students write


class ReLU(vg.Op):
    """As in the contract: max(0, input)."""

    @staticmethod
    def forward(context, input):
        relx = np.maximum(0, input)
        context["relx"] = relx
        return relx

    @staticmethod
    def backward(context, goutput):
        return goutput * (context["relx"] > 0)


class ReLU64(vg.Op):
    """Its gradient is of float64, whatever the input is."""

    @staticmethod
    def forward(context, input):
        context["input"] = input
        return input * (input > 0)

    @staticmethod
    def backward(context, goutput):
        return goutput * (context["input"] > 0).astype(float)


class Halves(vg.Op):
    """Two outputs, and a constant."""

    @staticmethod
    def forward(context, x, at):
        context["at"] = at
        return x[:, :at], x[:, at:]

    @staticmethod
    def backward(context, goleft, goright):
        return np.concatenate([goleft, goright], axis=1)


class Scale(vg.Op):
    """Two inputs, one of which has no gradient."""

    @staticmethod
    def forward(context, x, factor):
        context["factor"] = factor
        return x * factor

    @staticmethod
    def backward(context, goutput):
        return goutput * context["factor"], None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("op", [ReLU, ReLU64])
def test_a_students_relu(op, dtype):
    rng = np.random.default_rng(0)
    x, w = vg.TensorNode(rng.normal(size=(4, 3)).astype(dtype)), vg.TensorNode(rng.normal(size=(2, 3)).astype(dtype))
    h = op.do_forward(vg.BatchMM.do_forward(w, x))
    loss = vg.Sum.do_forward(h * h)
    loss.backward()
    assert (h.value.dtype, x.grad.dtype, w.grad.dtype, h.grad.dtype) == (dtype,) * 4
    expected = jacobian(lambda v: (np.maximum(0, v @ w.value.T) ** 2).sum(), x.value)
    np.testing.assert_allclose(x.grad, expected, rtol=1e-4, atol=1e-5)
    assert h.source.op is op
    with vg.no_grad():
        assert np.array_equal(op.do_forward(x).value, np.maximum(x.value, 0))


@pytest.mark.parametrize("op", [ReLU, ReLU64])
def test_a_students_relu_can_be_differentiated_twice(op):
    x = np.array([[-1.0, 2.0]])
    hessian = vg.hessian(lambda v: (op.do_forward(v) ** 3).sum())(x)
    assert np.array_equal(np.diag(hessian.reshape(2, 2)), [0, 12])


def test_ops_are_called_on_arrays_directly():
    context, x = {}, np.array([[-1.0, 2.0]])
    assert np.array_equal(ReLU.forward(context, x), [[0, 2]])
    assert np.array_equal(ReLU.backward(context, np.ones((1, 2))), [[0, 1]])
    left, right = Halves.forward({}, x, at=1)
    assert (left.shape, right.shape) == ((1, 1), (1, 1))


def test_several_outputs_constants_and_inputs_without_a_gradient():
    x = vg.TensorNode(np.array([[1.0, 2.0, 3.0]]))
    left, right = Halves.do_forward(x, at=1)
    loss = vg.Sum.do_forward(left * left) + vg.Sum.do_forward(Scale.do_forward(right, vg.TensorNode(np.array(10.0))))
    loss.backward()
    assert np.array_equal(x.grad, [[2, 10, 10]])
    loss.zero_grad()
    loss.clear()


def test_row_sum_goes_back_by_the_shape_that_row_max_left():
    context, x = {}, np.random.randn(3, 4)
    assert np.array_equal(vg.RowMax.forward(context, x), x.max(axis=1))
    go = np.array([1.0, 2.0, 3.0])
    assert np.array_equal(vg.RowSum.backward({"xshape": context["xshape"]}, go), np.repeat(go[:, None], 4, axis=1))
    assert vg.RowSum.backward(context, go).shape == (3, 4)


# --- the ops by name: constants, results, and gradients called by hand

X = np.array([[0.5, 2.0, 2.0], [1.5, 0.25, 1.0]])
Y = np.array([[1.0, -1.0, 3.0], [0.5, 2.0, -2.0]])
W = np.arange(12.0).reshape(4, 3)
OPS = {
    "Add": ((X, Y), {}, X + Y),
    "Sub": ((X, Y), {}, X - Y),
    "Multiply": ((X, Y), {}, X * Y),
    "MatrixMultiply": ((X, W.T), {}, X @ W.T),
    "Log": ((X,), {}, np.log(X)),
    "Id": ((X,), {}, X),
    "Exp": ((X,), {}, np.exp(X)),
    "Sum": ((X,), {}, X.sum()),
    "RowMax": ((X,), {}, [2, 1.5]),
    "RowSum": ((X,), {}, [4.5, 2.75]),
    "Normalize": ((X,), {}, X / X.sum(axis=1, keepdims=True)),
    "BatchMM": ((W, X), {}, X @ W.T),
    "Sigmoid": ((Y,), {}, 1 / (1 + np.exp(-Y))),
    "Expand": ((X[:, :1],), {"dim": 1, "repeats": 16}, np.repeat(X[:, :1], 16, axis=1)),
    "Select": ((X,), {"indices": np.array([1, 2])}, [2, 1]),
    "Squeeze": ((X[None],), {}, X),
    "Squeeze 1": ((X[:, None],), {"dim": 1}, X),
    "Unsqueeze": ((X,), {}, X[None]),
    "Unsqueeze 1": ((X,), {"dim": 1}, X[:, None]),
}


@pytest.mark.parametrize("name", OPS)
def test_each_op(name):
    inputs, constants, expected = OPS[name]
    op = getattr(vg, name.split()[0])
    context = {}
    output = op.forward(context, *inputs, **constants)
    np.testing.assert_allclose(output, expected)
    go = np.random.default_rng(0).standard_normal(np.shape(output))
    gradients = op.backward(context, go)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    nodes = [vg.TensorNode(x) for x in inputs]
    node = op.do_forward(*nodes, **constants)
    vg.Sum.do_forward(node * vg.TensorNode(go)).backward()
    assert len(gradients) == len(inputs)
    for i, (gradient, n) in enumerate(zip(gradients, nodes, strict=True)):
        assert np.shape(gradient) == n.value.shape
        np.testing.assert_allclose(n.grad, gradient)

        def loss(x, i=i):
            return (op.forward({}, *inputs[:i], x, *inputs[i + 1 :], **constants) * go).sum()

        if name != "RowMax":  # it has a tie here
            np.testing.assert_allclose(gradient, jacobian(loss, n.value), atol=1e-6)


def test_row_max_gives_a_tie_to_the_first():
    context = {}
    vg.RowMax.forward(context, X)
    assert np.array_equal(vg.RowMax.backward(context, np.array([1.0, 1.0])), [[0, 1, 0], [1, 0, 0]])


def test_select_from_a_last_batch_of_one():
    assert np.array_equal(vg.Select.do_forward(vg.TensorNode(X[:1]), indices=np.array([2])).value, [2])


# --- Module and Linear


class Net(vg.Module):
    """Layers in a plain list, and ``parameters`` overridden for them."""

    def __init__(self, sizes):
        super().__init__()
        self.layers = [vg.Linear(fr, to) for fr, to in itertools.pairwise(sizes)]

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = vg.sigmoid(layer(x))
        return self.layers[-1](x)

    def parameters(self):
        return [parm for layer in self.layers for parm in layer.parameters()]


def test_linear():
    layer = vg.Linear(200, 300)
    assert (layer.w.value.shape, layer.b.value.shape) == ((300, 200), (1, 300))
    assert not layer.b.value.any()
    assert layer.w.value.std() == pytest.approx(np.sqrt(2 / 500), rel=0.02)
    assert layer.w.value.mean() == pytest.approx(0, abs=1e-3)
    assert [parm is of for parm, of in zip(layer.parameters(), (layer.w, layer.b), strict=True)] == [True, True]
    assert vg.Linear(input_size=2, output_size=3).w.value.shape == (3, 2)
    x = np.random.randn(5, 200)
    np.testing.assert_allclose(layer(vg.TensorNode(x)).value, x @ layer.w.value.T)


def test_a_module_with_layers_in_a_list():
    net = Net([2, 3, 4])
    assert len(net.parameters()) == 4
    assert net.layers[0].parameters()[0] is net.parameters()[0]
    net.layers[0].parameters()[0].value = np.zeros((3, 2))
    out = net(vg.TensorNode(np.random.randn(7, 2)))
    assert out.size() == (7, 4)
    assert np.allclose(out.value, out.value[0])


def test_a_replaced_array_of_another_dtype_is_trained():
    net = Net([2, 3, 2])
    assert net.layers[0].w.grad.dtype == np.float32
    net.layers[0].w.value = np.random.normal(size=(3, 2))
    net.layers[1].w.value = np.zeros((2, 3))
    x, targets = np.random.randn(5, 2).astype(np.float32), np.array([0, 1, 1, 0, 1])
    losses = []
    for _ in range(3):
        loss = vg.celoss(net(vg.TensorNode(x)), targets)
        losses.append(float(loss.value))
        loss.backward()
        for parm in net.parameters():
            assert (parm.grad.dtype, parm.grad.shape) == (parm.value.dtype, parm.value.shape)
            parm.value -= 0.1 * parm.grad
        loss.zero_grad()
        loss.clear()
    assert losses == sorted(losses, reverse=True)
    assert net.layers[0].w.value.dtype == np.float64


def test_momentum_with_velocities_kept_outside():
    net = Net([2, 3, 2])
    velocities = {parm: np.zeros_like(parm.value) for parm in net.parameters()}
    assert len(velocities) == 4
    x, targets = np.random.randn(5, 2), np.array([0, 1, 1, 0, 1])
    losses = []
    for _ in range(5):
        loss = vg.logceloss(vg.logsoftmax(net(vg.TensorNode(value=x))), targets)
        losses.append(float(loss.value))
        loss.backward()
        for parm in net.parameters():
            velocities[parm] = 0.5 * velocities[parm] - 0.05 * parm.grad
            parm.value += velocities[parm]
        loss.zero_grad()
        loss.clear()
    assert losses == sorted(losses, reverse=True)
    arrays = [parm.value for parm in net.parameters()]
    assert all(v.shape == a.shape for v, a in zip(velocities.values(), arrays, strict=True))


def test_an_update_is_in_place():
    layer = vg.Linear(2, 3)
    array = layer.w.value
    layer.w.value -= 0.1 * layer.w.grad
    assert layer.w.value is array


def test_pixels_need_no_gradient():
    net = Net([4, 3, 2])
    pixels = np.arange(20, dtype=np.uint8).reshape(5, 4)
    loss = vg.celoss(net(vg.TensorNode(value=pixels)), np.array([0, 1, 1, 0, 1], np.uint8))
    loss.backward()
    assert all(parm.grad.any() for parm in net.parameters())
    assert {parm.grad.dtype for parm in net.parameters()} == {np.dtype(np.float32)}
    loss.zero_grad()
    loss.clear()


def test_validation_leaves_nothing_behind():
    net = Net([2, 3, 2])
    o = net(vg.TensorNode(np.random.randn(100, 2)))
    assert np.argmax(o.value, axis=1).shape == (100,)
    o.clear()
    assert len(o.source.inputs) == 0
    assert not any(parm.grad.any() for parm in net.parameters())


# --- functions


def test_losses_are_sums_over_the_batch():
    logits, targets = np.random.default_rng(0).standard_normal((4, 3)), np.array([0, 2, 1, 1])
    shifted = logits - logits.max(axis=1, keepdims=True)
    logprobs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    expected = -logprobs[np.arange(4), targets].sum()
    x = vg.TensorNode(logits)
    np.testing.assert_allclose(vg.logsoftmax(x).value, logprobs)
    np.testing.assert_allclose(vg.softmax(x).value, np.exp(logprobs))
    for loss in (vg.celoss(x, targets), vg.logceloss(vg.logsoftmax(x), targets)):
        np.testing.assert_allclose(loss.value, expected)
        loss.backward()
        np.testing.assert_allclose(x.grad, np.exp(logprobs) - (targets[:, None] == np.arange(3)), atol=1e-12)
        loss.zero_grad()


def test_load_synth():
    (xtrain, ytrain), (xval, yval), num_classes = vg.load_synth(num_train=1000, num_val=200)
    assert (xtrain.shape, ytrain.shape, xval.shape, yval.shape) == ((1000, 2), (1000,), (200, 2), (200,))
    assert num_classes == 2
    form = np.einsum("ni,ij,nj->n", xtrain, [[1, 0.5], [1, 0.2]], xtrain)
    assert np.array_equal(ytrain, form > 0.6)
    assert len(vg.load_synth()[0][0]) == 60_000
    assert len(vg.load_synth()[1][1]) == 10_000


@needs_mnist
def test_load_mnist(monkeypatch):
    monkeypatch.setenv("VUGRAD_DATA", mnist_folder())
    (xtrain, ytrain), (xval, yval), num_classes = vg.load_mnist()
    assert (xtrain.shape, ytrain.shape, xval.shape, yval.shape) == ((55_000, 784), (55_000,), (5_000, 784), (5_000,))
    assert num_classes == 10
    assert xtrain.dtype == np.uint8
    assert (xtrain.min(), xtrain.max()) == (0, 255)
    (xall, yall), (xtest, ytest), _ = vg.load_mnist(final=True, flatten=False)
    assert (xall.shape, xtest.shape) == ((60_000, 1, 28, 28), (10_000, 1, 28, 28))
    assert np.array_equal(xall[-5_000:].reshape(5_000, 784), xval)
    assert np.array_equal(np.concatenate([ytrain, yval]), yall)
    assert ytest[:5].tolist() == [7, 2, 1, 0, 4]


# --- names and module paths

NAMES = [
    *("TensorNode", "OpNode", "Op", "Module", "Linear"),
    *("sigmoid", "softmax", "logsoftmax", "celoss", "logceloss", "load_synth", "load_mnist"),
    *{name.split()[0] for name in OPS},
]


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_name_is_an_attribute_of_vg(name):
    assert hasattr(vg, name)
    assert name in dir(vg)


def test_the_module_paths_of_the_course():
    from vugrad import Op
    from vugrad.core import Op as CoreOp, OpNode, TensorNode
    from vugrad.functions import celoss, load_mnist, load_synth, logceloss, logsoftmax, sigmoid, softmax
    from vugrad.modules import Linear, Module
    from vugrad.ops import BatchMM, RowMax, Select

    assert CoreOp is Op is vg.Op
    for found in (OpNode, TensorNode, celoss, load_mnist, load_synth, logceloss, logsoftmax, sigmoid, softmax):
        assert found is getattr(vg, found.__name__)
    for found in (Linear, Module, BatchMM, RowMax, Select):
        assert found is getattr(vg, found.__name__)


@pytest.mark.parametrize("door", ["core", "functions", "modules"])
def test_the_doors_have_no_code_of_their_own(door):
    tree = ast.parse((PACKAGE / f"{door}.py").read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    assert {type(statement) for statement in tree.body[1:]} == {ast.ImportFrom, ast.Assign}
    assert tree.body[-1].targets[0].id == "__all__"


def test_nodes_are_keys():
    a, b = vg.TensorNode(np.ones(2)), vg.TensorNode(np.ones(2))
    table = {a: 1, b: 2}
    assert (table[a], table[b], len({a, b, a})) == (1, 2, 2)
