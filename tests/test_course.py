"""The contract with existing course code: each of its sentences, written the way course code would be."""

# ruff: noqa: NPY002 (course code draws from np.random)

import ast
import copy
import itertools
import json
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


def run_script(script, *flags):
    env = os.environ | {"PYTHONPATH": str(PACKAGE.parent), "PYTHONWARNINGS": "error"}
    if mnist_folder():
        env["VUGRAD_DATA"] = mnist_folder()
    # As it is, but for the seed.
    code = (
        "import os, runpy, sys, vugrad; vugrad.seed(0); del sys.argv[0]; sys.path[0] = os.path.dirname(sys.argv[0]);"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, HERE / "course" / script, *flags],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_training(*flags):
    return [[float(number) for number in line.split()] for line in run_script("train_mlp.py", *flags).splitlines()]


def test_the_training_script_on_synthetic_data():
    epochs = run_training("-D", "synth", "-b", "100", "-e", "4", "-l", "0.01", "--limit", "10050")
    assert len(epochs) == 4
    assert epochs[-1][2] < 0.4 < epochs[0][2]
    assert epochs[-1][1] > 0.85


@needs_mnist
def test_the_training_script_on_mnist():
    """Raw pixels of 0 to 255; the last batch is of one instance."""
    epochs = run_training("-D", "mnist", "-b", "64", "-e", "2", "-l", "1e-4", "--limit", "1281")
    assert epochs[-1][2] < epochs[0][2]
    assert epochs[-1][1] > 0.6


def test_a_fork_with_modules_of_its_own():
    """Its losses are those of the definition: written as JSON, falling, and the same for the same np.random.seed."""
    first, again, other = (json.loads(run_script("fork/train.py", seed)) for seed in ("1", "1", "2"))
    assert first == again != other
    assert len(first["losses"]) == 4
    assert first["losses"][-1] < 0.6 * first["losses"][0] < 0.6 * 600


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


INTEGERS = {  # of two integers a = [[3]] and b = [[4]]: what is made of them, and both derivatives
    "a + b": (lambda a, b: a + b, 1, 1),
    "a - b": (lambda a, b: a - b, 1, -1),
    "a * b": (lambda a, b: a * b, 4, 3),
    "a * 0.5 + b": (lambda a, b: a * 0.5 + b, 0.5, 1),
    "a * b * a": (lambda a, b: a * b * a, 24, 9),
    "a.matmul(b)": (lambda a, b: a.matmul(b), 4, 3),
    "the sum of a row": (lambda a, b: vg.Sum.do_forward(np.concatenate([a, b, a])), 2, 1),
    "a cast between": (lambda a, b: (a * 0.5).astype(int) + b, 0, 1),
    "a twice": (lambda a, b: a + a, 2, 0),
}


@pytest.mark.parametrize(("f", "da", "db"), INTEGERS.values(), ids=INTEGERS)
@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.int32])
def test_integer_nodes_have_gradients_among_themselves(f, da, db, kind):
    a, b = vg.TensorNode(np.array([[3]], kind)), vg.TensorNode(np.array([[4]], kind))
    assert (a.grad.tolist(), a.grad.dtype) == ([[0]], np.float64)
    c = f(a, b)
    c.backward()
    assert (a.grad.tolist(), b.grad.tolist()) == ([[da]], [[db]])
    c.zero_grad()
    assert not a.grad.any()
    c.grad = np.full(c.size(), 10.0)
    c.source.backward()
    assert (a.grad.tolist(), b.grad.tolist()) == ([[10 * da]], [[10 * db]])


def test_integers_have_gradients_in_compiled_code_too():
    a = vg.TensorNode(np.array([[3]]))

    def step(x):
        b = vg.TensorNode(x)
        c = b * b * 0.5
        c.backward()
        return c, b.grad

    c, gradient = vg.compile(step)(a.value)
    assert (c.value.tolist(), gradient.tolist(), gradient.dtype) == ([[4.5]], [[3]], np.float64)


def test_integers_are_constants_beside_floats():
    a, x = vg.TensorNode(np.array([[3]])), vg.TensorNode(np.array([[2.0]]))
    (a * x).backward()
    assert (a.grad.tolist(), x.grad.tolist()) == ([[0]], [[3]])


def test_backward_starts_here_or_goes_on():
    x = vg.TensorNode(np.ones((1, 1)))
    (x * x).backward(start=True)
    (x * x).backward(True)
    assert x.grad == 4
    y = vg.TensorNode(np.array([1.0, 3.0]))
    z = y * y
    z.grad = np.array([10.0, 1.0])
    z.backward(start=False)
    assert y.grad.tolist() == [20, 6]
    assert z.grad.tolist() == [10, 1]
    y.backward(start=False)  # a leaf: nothing is below it
    assert y.grad.tolist() == [20, 6]
    with pytest.raises(ValueError, match="one number"):
        z.backward(start=True)
    with pytest.raises(ValueError, match="builds no graph"):
        z.backward(start=False, create_graph=True)


def test_attributes_on_nodes():
    net = Net([2, 3, 2])
    for parm in net.parameters():
        parm.velocity = np.zeros_like(parm.value)
    net.parameters()[0].velocity += 1
    copied = copy.deepcopy(net)
    assert copied.parameters()[0].velocity.all()
    assert copied.parameters()[0].velocity is not net.parameters()[0].velocity
    assert not hasattr(vg.TensorNode(1.0), "velocity")


def test_expand_takes_an_extent_of_one():
    x = vg.TensorNode(np.ones((1, 3)))
    y = vg.Expand.do_forward(x, dim=0, repeats=4)
    vg.Sum.do_forward(y * y).backward()
    assert (y.size(), x.grad.tolist()) == ((4, 3), [[8, 8, 8]])
    with pytest.raises(ValueError, match="only an axis of extent 1 can be expanded, and axis 1 has extent 3"):
        vg.Expand.do_forward(x, dim=1, repeats=2)


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


@pytest.mark.parametrize("loss", [vg.celoss, lambda p, y: vg.celoss(p, y) * (1 / len(y))], ids=["sum", "mean"])
def test_a_students_network_trains_compiled_as_it_does_op_by_op(loss):
    """The warning that something is not compiled would be an error here."""
    x = np.random.default_rng(0).standard_normal((60, 2))
    runs = []
    for compiled in (True, False):
        np.random.seed(1)
        net = vg.nn.Sequential(vg.Linear(2, 8), ReLU.do_forward, vg.Linear(8, 2), vg.softmax)
        sgd = vg.optim.SGD(net.parameters(), lr=0.01)
        settings = {"optimizer": sgd, "epochs": 2, "batch_size": 25, "seed": 0, "progress": False, "compile": compiled}
        history = vg.train.fit(net, (x, (x[:, 0] > 0).astype(int)), loss=loss, **settings)
        runs.append([*history["loss"], *(p.value.sum() for p in net.parameters())])
    np.testing.assert_allclose(*runs, rtol=1e-5)
    assert runs[0][1] < runs[0][0]


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
        loss = vg.celoss(vg.softmax(net(vg.TensorNode(x))), targets)
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
    loss = vg.celoss(vg.softmax(net(vg.TensorNode(value=pixels))), np.array([0, 1, 1, 0, 1], np.uint8))
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
    for loss in (vg.celoss(vg.softmax(x), targets), vg.logceloss(vg.logsoftmax(x), targets)):
        np.testing.assert_allclose(loss.value, expected)
        loss.backward()
        np.testing.assert_allclose(x.grad, np.exp(logprobs) - (targets[:, None] == np.arange(3)), atol=1e-12)
        loss.zero_grad()


def celoss_by_hand(p, targets):
    return -np.log(p[np.arange(len(p)), targets]).sum()


P, T = np.array([[0.2, 0.5, 0.3], [0.7, 0.2, 0.1], [0.25, 0.25, 0.5]]), np.array([1, 0, 1])


def test_celoss_takes_probabilities():
    """Its first and second derivatives, eager, nested and compiled."""
    p = vg.TensorNode(P)
    loss = vg.celoss(p, T)
    assert loss.value == pytest.approx(celoss_by_hand(P, T))
    loss.backward()
    hit = T[:, None] == np.arange(3)
    np.testing.assert_allclose(p.grad, np.where(hit, -1 / P, 0))
    total = vg.grad(lambda p: np.sum(vg.grad(lambda q: vg.celoss(q, T))(p)))
    np.testing.assert_allclose(total(P), np.where(hit, 1 / P**2, 0))
    compiled = vg.compile(lambda p: vg.value_and_grad(lambda q: vg.celoss(q, T))(p))
    value, gradient = compiled(P)
    np.testing.assert_allclose(value, celoss_by_hand(P, T))
    np.testing.assert_allclose(gradient, np.where(hit, -1 / P, 0))


def test_celoss_of_an_array_is_a_constant():
    assert vg.celoss(P, T).item() == pytest.approx(celoss_by_hand(P, T))
    assert not vg.celoss(P, T).requires_grad


@pytest.mark.parametrize("outputs", [np.array([[1.0, -2.0]]), np.array([[0.0, 3.0]])], ids=["negative", "above 1"])
def test_celoss_refuses_logits(outputs):
    with pytest.raises(ValueError, match=r"celoss takes probabilities.*vg\.celoss\(vg\.softmax\(outputs\), targets\)"):
        vg.celoss(vg.TensorNode(outputs), np.array([0]))


def test_losses_are_json_over_pixels():
    """Of float64, whatever the network is of: the running sum, and each of them."""
    net, each, cl = Net([4, 3, 2]), [], 0.0
    pixels = np.arange(40, dtype=np.uint8).reshape(10, 4)
    for fr in range(0, 10, 4):
        x, targets = vg.TensorNode(pixels[fr : fr + 4]), np.arange(10, dtype=np.uint8)[fr : fr + 4] % 2
        for loss in (vg.logceloss(vg.logsoftmax(net(x)), targets), vg.celoss(vg.softmax(net(x)), targets)):
            cl += loss.value
            each.append(loss.value)
            assert loss.value.dtype == loss.grad.dtype == np.float64
            loss.backward()
            assert net.layers[0].w.grad.dtype == np.float32
            loss.zero_grad()
    assert json.loads(json.dumps({"all": cl, "each": each})) == {"all": pytest.approx(sum(each)), "each": each}


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 1, 3, 4), (4,)])
def test_softmax_is_along_the_last_axis(shape):
    x = np.random.default_rng(0).standard_normal(shape)
    expected = np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(vg.softmax(vg.TensorNode(x)).value, expected)
    np.testing.assert_allclose(vg.logsoftmax(vg.TensorNode(x)).value, np.log(expected))
    np.testing.assert_allclose(vg.compile(lambda x: vg.softmax(x).value)(x), expected)


DRAWS = {
    "Linear": lambda: vg.Linear(3, 2).w.value,
    "vg.modules.Linear": lambda: vg.modules.Linear(3, 2).w.value,
    "load_synth": lambda: vg.load_synth(20, 5)[0].x,
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_the_seed_that_was_set_last_counts(draw):
    def after(*seeds):
        for seed, n in seeds:
            seed(n)
        return draw().tolist()

    numpy, ours = np.random.seed, vg.seed
    assert after((numpy, 1)) == after((numpy, 1)) != after((numpy, 2))
    assert after((ours, 1)) == after((ours, 1)) != after((ours, 2))
    assert after((ours, 1), (numpy, 1)) == after((ours, 2), (numpy, 1)) == after((numpy, 1))
    assert after((numpy, 1), (ours, 1)) == after((numpy, 2), (ours, 1)) == after((ours, 1))
    with vg.random.drawn_from(np.random.default_rng(3)):
        within = draw().tolist()
    with vg.random.drawn_from(np.random.default_rng(3)):
        assert draw().tolist() == within


def test_course_names_draw_what_the_original_draws():
    np.random.seed(3)
    w, ((xtrain, _), (xval, _), _) = vg.Linear(3, 2).w.value, vg.load_synth(20, 5)
    np.random.seed(3)
    np.testing.assert_allclose(w, np.random.randn(2, 3) * np.sqrt(2 / 5), rtol=1e-6)
    np.testing.assert_array_equal(np.concatenate([xtrain, xval]), np.random.randn(25, 2))


@pytest.mark.parametrize("before", [lambda: None, np.random.randn, lambda: np.random.randint(9, size=700)])
def test_our_seed_leaves_numpys_numbers_alone(before):
    draws = []
    for seed in (lambda: None, lambda: vg.seed(1)):
        np.random.seed(5)
        before()
        seed()
        draws.append(np.random.randn(5).tolist())
    assert draws[0] == draws[1]


# --- modules that look at their input, in everything that runs a model


class Looking(vg.Module):
    """It takes nodes alone, as a module of the course does."""

    def __init__(self):
        super().__init__()
        self.inner = vg.Linear(3, 2)

    def forward(self, input):
        assert isinstance(input, vg.TensorNode)
        assert len(input.size()) == 2
        return self.inner(input)


XL, YL = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32), np.array([0, 1] * 4)
RUNS = {
    "called": lambda net: net(XL).value,
    "by name": lambda net: vg.nn.Sequential(net)(XL).value,
    "predict": lambda net: vg.train.predict(net, XL),
    "evaluate": lambda net: vg.train.evaluate(net, vg.data.Split(XL, YL)),
    "fit": lambda net: vg.train.fit(net, (XL, YL), epochs=1, progress=False),
    "fit, eager": lambda net: vg.train.fit(net, (XL, YL), epochs=1, progress=False, compile=False),
    "doctor": lambda net: vg.doctor(net, vg.losses.cross_entropy, (XL, YL)),
    "summary": lambda net: net.summary((3,)),
    "summary of a batch": lambda net: net.summary(XL),
    "view": lambda net: vg.view(net, XL),
    "compile": lambda net: vg.compile(net)(XL).value,
    "compile, in a step": lambda net: vg.compile(lambda x: net(x).sum(), state=net)(XL),
    "gradcheck": lambda net: vg.gradcheck(net, XL),
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_a_module_that_looks_at_its_input(run):
    run(Looking())


class LookingUp(vg.Module):
    """What it is called with are positions, in arrays that it has, and a mask."""

    def __init__(self):
        super().__init__()
        self.table = np.arange(12.0).reshape(4, 3)
        self.weight = vg.TensorNode(np.ones((4, 3)))

    def forward(self, at, mask):
        rows = self.table[at] + np.take(self.table, at, axis=0) + self.weight[at]
        return np.where(~mask & (at > 0), 0.0, rows.sum(axis=1))


@pytest.mark.parametrize("run", [lambda net: net, vg.compile], ids=["eager", "compiled"])
def test_positions_and_masks_are_nodes_too(run):
    y = run(LookingUp())(np.array([0, 1, 3]), np.array([False, False, True]))
    assert y.value.tolist() == [2 * 3 + 3, 0, 2 * 30 + 3]


def test_the_doctor_has_nothing_against_a_softmax_before_celoss():
    net = vg.nn.Sequential(vg.Linear(3, 2), vg.nn.Softmax())
    kinds = [finding.kind for finding in vg.doctor(net, vg.celoss, (XL, YL))]
    assert kinds == ["summed loss"]
    assert vg.doctor(net, vg.losses.cross_entropy, (XL, YL))[0].kind == "softmax before cross-entropy"


# --- datasets


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
    assert np.array_equal(vg.load_mnist(shuffle_seed=-1)[0][0], xtrain)
    order = np.random.default_rng(0).permutation(60_000)
    (xs, ys), (vs, ws), _ = vg.load_mnist(shuffle_seed=0)
    assert np.array_equal(np.concatenate([ys, ws]), yall[order])
    assert np.array_equal(vs, xall.reshape(-1, 784)[order[-5_000:]])
    assert np.array_equal(xs[:50], xall.reshape(-1, 784)[order[:50]])
    from vugrad.mnist import load

    images, labels, test_images, test_labels = load()
    assert (images.shape, test_images.shape) == ((60_000, 784), (10_000, 784))
    assert images.dtype == labels.dtype == test_labels.dtype == np.uint8
    assert np.array_equal(labels, yall)
    assert np.array_equal(test_labels, ytest)


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


#: What each module path of the original has, beside what it defines itself: its forks import it from there.
PATHS = {
    "core": ["TensorNode", "OpNode", "Op", "Module", "Add", "Sub", "Multiply", "MatrixMultiply"],
    "ops": ["Op", "TensorNode", "np", "Log", "Exp", "Sum", "Normalize", "BatchMM", "Sigmoid", "Expand", "Select"],
    "functions": [
        *("TensorNode", "np", "init", "load", "celoss", "logceloss", "sigmoid", "softmax", "logsoftmax"),
        *("load_synth", "load_mnist", "Log", "Select", "Sum", "Normalize", "Exp", "Sigmoid", "RowMax", "Expand"),
        *("RowSum", "Unsqueeze", "Id"),
    ],
    "modules": ["Linear", "Module", "TensorNode", "Op", "np", "BatchMM", "celoss", "load_mnist"],
    "mnist": ["init", "load"],
}


@pytest.mark.parametrize("path", PATHS)
def test_a_module_path_has_what_the_originals_has(path):
    namespace = {}
    exec(f"from vugrad.{path} import *", namespace)
    assert set(PATHS[path]) <= namespace.keys()
    for name in PATHS[path]:
        if name not in ("np", "init", "load"):
            assert namespace[name] is getattr(vg, name)
    assert getattr(vg, path).__name__ == f"vugrad.{path}"


@pytest.mark.parametrize("door", ["core", "functions", "modules", "mnist"])
def test_the_doors_have_no_code_of_their_own(door):
    tree = ast.parse((PACKAGE / f"{door}.py").read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    *imports, last = tree.body[1:]
    assert {type(statement) for statement in imports} <= {ast.Import, ast.ImportFrom}
    assert isinstance(last, ast.ImportFrom) or last.targets[0].id == "__all__"


def test_nodes_are_keys():
    a, b = vg.TensorNode(np.ones(2)), vg.TensorNode(np.ones(2))
    table = {a: 1, b: 2}
    assert (table[a], table[b], len({a, b, a})) == (1, 2, 2)


def test_celoss_has_a_gradient_where_another_class_has_probability_0():
    """gp = −1/p at the target, else 0; and through the softmax, softmax(x) minus one-hot."""
    p = vg.TensorNode(np.array([[1.0, 0, 0], [0, 0.5, 0.5]], np.float32))
    loss = vg.celoss(p, np.array([0, 1]))
    loss.backward()
    assert loss.item() == pytest.approx(np.log(2))
    np.testing.assert_array_equal(p.grad, [[-1, 0, 0], [0, -2, 0]])
    x = vg.TensorNode(np.array([[200.0, -200, 0]], np.float32))
    vg.celoss(vg.softmax(x), np.array([0])).backward()
    np.testing.assert_array_equal(x.grad, np.zeros((1, 3)))
