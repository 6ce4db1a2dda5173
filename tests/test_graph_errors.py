"""What the graph says when it cannot: each error names the op, shows the shapes, and tells what to write. And reprs."""

import array
import math
import re

import numpy as np
import pytest
import scipy.linalg
import scipy.special

import vugrad as vg


def node(*shape, dtype=np.float64, name=None):
    return vg.TensorNode(np.ones(shape, dtype), name=name)


def returns(gradient):
    """An op of two inputs, Σ (x + y), whose backward returns what it is told."""

    class Told(vg.Op):
        """y = Σ (x + y)."""

        @staticmethod
        def forward(context, x, y):
            return np.sum(x + y)

        @staticmethod
        def backward(context, go):
            return gradient

    return Told.do_forward(node(2, 3), node(2, 1))


def cleared():
    y = np.exp(node(2))
    loss = y.sum()
    loss.clear()
    return (y * 2).sum()


class Unfinished(vg.Op):
    """An op that is not written yet."""


class Unlike(vg.Op):
    """An op with demands of its own."""

    hint = "Give it others"

    @staticmethod
    def forward(context, x, y):
        raise ValueError("the extents must differ")


class OneWay(vg.Op):
    """y = Σ x, and no backward."""

    @staticmethod
    def forward(context, x):
        return np.sum(x)


class Forgotten(vg.Op):
    """y = Σ x, and a backward without a return."""

    @staticmethod
    def forward(context, x):
        context["n"] = x.shape
        return np.sum(x)

    @staticmethod
    def backward(context, go):
        np.broadcast_to(go, context["n"])


ERRORS = {
    "non-scalar": (
        lambda: node(2, 3, name="h").backward(),
        ValueError,
        "backward() starts from one number, but 'h' has shape (2, 3): reduce it, as in loss.sum().backward(), or use "
        "vg.jacobian",
    ),
    "empty": (lambda: node(0).backward(), ValueError, "this node has shape (0,)"),
    "integers, twice differentiable": (
        lambda: (vg.TensorNode(np.arange(3)) * 2).sum().backward(create_graph=True),
        RuntimeError,
        "this node has no gradients below it: it was made under vg.no_grad(), or from constants alone (integers "
        "count as constants beside floating-point arrays, and with create_graph)",
    ),
    "integers of a frozen network": (
        lambda: (vg.TensorNode(np.arange(3)) * node(3).detach()).sum().backward(),
        RuntimeError,
        "this node has no gradients below it",
    ),
    "a graph within no_grad": (
        lambda: vg.no_grad()(lambda y: y.backward(create_graph=True))(node(2).sum()),
        RuntimeError,
        "inside vg.no_grad() the backward pass cannot build a graph: call it outside",
    ),
    "constants": (lambda: node(1).detach().backward(), RuntimeError, "has no gradients below it"),
    "cleared": (
        lambda: cleared().backward(),
        RuntimeError,
        "the graph below this node was cleared: Exp no longer has its inputs. Run the forward again before backward()",
    ),
    "too few gradients": (
        lambda: returns(np.ones((2, 3))).backward(),
        ValueError,
        "Told.backward returned 1 gradient(s) for 2 input(s): return a tuple with one for each array that forward "
        "takes (None where there is none)",
    ),
    "too many gradients": (
        lambda: returns((None, None, None)).backward(),
        ValueError,
        "Told.backward returned 3 gradient(s) for 2 input(s)",
    ),
    "no return": (
        lambda: returns(None).backward(),
        TypeError,
        "Told.backward returned None: is its return missing? If no gradient flows through it, return (None, None)",
    ),
    "no return, of one input": (
        lambda: Forgotten.do_forward(node(2)).backward(),
        TypeError,
        "Forgotten.backward retur",
    ),
    "no return, twice differentiable": (
        lambda: Forgotten.do_forward(node(2)).backward(create_graph=True),
        TypeError,
        "Forgotten.backward returned None: is its return missing?",
    ),
    "no return, in vg.grad": (lambda: vg.grad(Forgotten.do_forward)(np.ones(2)), TypeError, "Forgotten.backward"),
    "no return, in vg.debug": (
        lambda: vg.debug()(lambda: Forgotten.do_forward(node(2)).backward())(),
        TypeError,
        "Forgotten.backward",
    ),
    "no return, compiled": (
        lambda: vg.compile(lambda x: vg.grad(Forgotten.do_forward)(x))(np.ones(2)),
        TypeError,
        "Forgotten.backward",
    ),
    "gradient of a wrong shape": (
        lambda: returns((np.ones((2, 3)), np.ones((2, 3)))).backward(),
        ValueError,
        "Told.backward returned a gradient of shape (2, 3) for input 1 of shape (2, 1). A gradient has its input's "
        "shape: sum over the axes along which the input was repeated (vg.ops.sum_to does it)",
    ),
    "gradient of a wrong shape, twice differentiable": (
        lambda: returns((1.0, np.ones((2, 1)))).backward(create_graph=True),
        ValueError,
        "Told.backward returned a gradient of shape () for input 0 of shape (2, 3)",
    ),
    "shapes of a sum": (
        lambda: node(2, 3) + node(3, 2),
        ValueError,
        "Add of shapes (2, 3) and (3, 2): operands could not be broadcast together with shapes (2,3) (3,2) . Shapes "
        "must be equal or broadcast: give the smaller array axes of extent 1, as in y[:, None] or y.T",
    ),
    "shapes of a sum with an array": (
        lambda: np.ones(4) - node(3),
        ValueError,
        "Sub of shapes (4,) and (3,): operands could not be broadcast",
    ),
    "shapes of a product": (
        lambda: node(2, 3) @ node(2, 3),
        ValueError,
        "MatrixMultiply of shapes (2, 3) and (2, 3): their extents do not fit. The last extent of x",
    ),
    "what to write for a product": (lambda: node(2, 3) @ node(2, 3), ValueError, "try x @ y.T"),
    "shapes under no_grad": (
        lambda: vg.no_grad()(lambda: node(2) + node(3))(),
        ValueError,
        "Add of shapes (2,) and (3,)",
    ),
    "an op of one's own": (
        lambda: Unlike.do_forward(node(2, 3), node(2)),
        ValueError,
        "Unlike of shapes (2, 3) and (2,): the extents must differ. Give it others",
    ),
    "index": (lambda: node(2, 3)[5], IndexError, "Slice of shapes (2, 3): index 5 is out of bounds for axis 0"),
    "no forward": (
        lambda: Unfinished.do_forward(node(2)),
        NotImplementedError,
        "an Op needs a static method forward(context, *inputs, **constants)",
    ),
    "no backward": (
        lambda: OneWay.do_forward(node(2)).backward(),
        NotImplementedError,
        "an Op needs a static method backward(context, *goutputs)",
    ),
    "a node of a node": (
        lambda: vg.TensorNode(node(2)),
        TypeError,
        "TensorNode(node): it is a node already; node.detach() makes a constant of it",
    ),
    "an array of a node": (
        lambda: np.asarray(node(2, name="w")),
        TypeError,
        "'w' would leave the graph here, and its gradient would be lost: write node.value for its array",
    ),
    "an array of nodes": (lambda: np.array([node(2), node(2)]), TypeError, "would leave the graph here"),
    "written into": (
        lambda: node(2).__setitem__(0, 1.0),
        TypeError,
        "a node in a graph cannot be written into, since its old value may be needed for a gradient: build the new "
        "array with np.where",
    ),
    "a node added into an array": (
        lambda: np.ones(2).__iadd__(node(2)),
        TypeError,
        "np.add cannot write a node into an array in place: write a = a + node",
    ),
    "a function without a derivative": (
        lambda: np.cumprod(node(2)),
        TypeError,
        "np.cumprod does not work on nodes. Similar ones that do: np.prod",
    ),
    "a ufunc without a derivative": (lambda: np.floor_divide(node(2), 2), TypeError, "np.floor_divide does not work"),
    "a method of a ufunc": (lambda: np.add.reduce(node(2)), TypeError, "np.add.reduce does not work on nodes"),
    "an option of a ufunc": (
        lambda: np.exp(node(2), where=np.array([True, False])),
        TypeError,
        "np.exp, where= does not work on nodes",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_teach(name):
    fault, kind, words = ERRORS[name]
    with pytest.raises(kind, match=re.escape(words)):
        fault()


# --- what would lose a gradient, a mask or an imaginary part without a word

S, V, A = vg.TensorNode(1.5), vg.TensorNode([1.0, 2.0]), np.zeros(2)


def added(to, what):
    to[...] += what


def multiplied(to, what):
    to @= what


LEAKS = {
    "float": lambda: float(S),
    "int": lambda: int(S),
    "complex": lambda: complex(S),
    "math.exp": lambda: math.exp(S),
    "math.floor": lambda: math.floor(S),
    "math.fsum": lambda: math.fsum([S, S]),
    "math.isclose": lambda: math.isclose(S, 1),
    "a text": lambda: "%.2f" % S,  # noqa: UP031
    "array.array": lambda: array.array("d", [S]),
    "a[0] = node": lambda: A.__setitem__(0, S),
    "a[:] = node": lambda: A.__setitem__(slice(None), V),
    "a[...] = node": lambda: A.__setitem__(..., S),
    "a[0] += node": lambda: A.__setitem__(0, A[0] + S),
    "a[...] += node": lambda: added(A, V),
    "a += node": lambda: A.__iadd__(V),
    "a @= node": lambda: multiplied(np.eye(2), vg.TensorNode(np.eye(2))),
    "a.flat[0] = node": lambda: A.flat.__setitem__(0, S),
    "a.fill": lambda: A.fill(S),
    "a.put": lambda: A.put(0, S),
    "a.dot": lambda: A.dot(V),
    "a.clip": lambda: A.clip(S, 2),
    "a.repeat": lambda: A.repeat(V),
    "a[node]": lambda: A[V],
    "np.float64": lambda: np.float64(S),
    "np.array of a list": lambda: np.array([S, S]),
    "np.array of objects": lambda: np.array([S, S], object),
    "np.asarray": lambda: np.asarray([[S, 1.0]]),
    "np.asanyarray": lambda: np.asanyarray(V),
    "np.fromiter": lambda: np.fromiter(iter(V), float),
    "np.from_dlpack": lambda: np.from_dlpack(V),
    "np.ma.array": lambda: np.ma.array(V),
    "np.r_": lambda: np.r_[S, S],
    "np.copyto": lambda: np.copyto(A, S),
    "np.put": lambda: np.put(A, 0, S),
    "np.place": lambda: np.place(A, A == 0, V),
    "np.putmask": lambda: np.putmask(A, A == 0, V),
    "np.full": lambda: np.full(3, S),
    "np.full_like": lambda: np.full_like(A, S),
    "np.append": lambda: np.append(A, S),
    "np.insert": lambda: np.insert(A, 0, S),
    "np.linspace": lambda: np.linspace(0, S, 3),
    "np.arange": lambda: np.arange(S),
    "np.vectorize": lambda: np.vectorize(lambda v: v * 2)(V),
    "np.frompyfunc": lambda: np.frompyfunc(lambda v: v * 2, 1, 1)(V),
    "np.add.at": lambda: np.add.at(A, [0], S),
    "np.pad with a node": lambda: np.pad(V, 1, constant_values=S),
    "out=": lambda: np.exp(V, out=A),
    "out= of an array": lambda: np.multiply(A, V, out=A),
    "np.random.normal": lambda: np.random.normal(S),  # noqa: NPY002
    "np.random.uniform": lambda: np.random.uniform(0, V),  # noqa: NPY002
    "Generator.normal": lambda: np.random.default_rng(0).normal(V),
    "Generator.choice": lambda: np.random.default_rng(0).choice(2, p=V),
    "scipy.special.expit": lambda: scipy.special.expit(V),
    "scipy.special.logsumexp": lambda: scipy.special.logsumexp(V),
    "scipy.linalg.norm": lambda: scipy.linalg.norm(V),
    "an op's constant": lambda: vg.leaky_relu(V, negative_slope=S),
}


def reasons(error):
    while error is not None:
        yield error
        error = error.__cause__


@pytest.mark.parametrize("name", LEAKS)
def test_no_gradient_is_lost_without_a_word(name):
    with pytest.raises((TypeError, ValueError)) as caught:
        LEAKS[name]()
    assert not A.any()
    said = "\n".join(map(str, reasons(caught.value)))
    assert re.search(
        "gradient would be lost|not work on nodes|in place: write a = a|is a node already|setting single item", said
    ), said


def test_what_lost_its_gradient_says_what_to_write():
    with pytest.raises(TypeError, match=r"float\(\) of 'w' would take it out of the graph.*np\.exp\(x\).*x\.item\(\)"):
        math.exp(node(name="w"))
    with pytest.raises(ValueError, match="sequence") as caught:  # NumPy's own, with ours as its cause
        A[0] = S
    assert "np.stack or np.where for a[0] = x" in str(caught.value.__cause__)


@pytest.mark.parametrize("read", [float, int, math.exp, np.asarray, lambda x: A.copy().__setitem__(0, x)])
def test_what_has_no_gradient_to_lose_can_be_read(read):
    read(S.detach())
    read(vg.TensorNode(1.5, requires_grad=False))
    read(vg.TensorNode(3))
    with vg.no_grad():
        read(S)
        read(S * 2)
    assert (S * 2).item() == 3


@pytest.mark.parametrize("read", [float, math.exp, np.asarray, "{:.3f}".format])
def test_a_loss_can_be_read_after_its_backward_pass(read):
    w = vg.TensorNode(1.5, name="w")
    loss = w * w
    loss.backward()
    read(loss)
    with pytest.raises(TypeError, match="gradient would be lost"):  # it is used again in the next step
        math.exp(w)
    optimizer = vg.optim.SGD([w], lr=0.1)

    def step(x):
        optimizer.zero_grad()
        loss = (w * x) ** 2
        loss.backward()
        optimizer.step()
        return loss

    loss = vg.compile(step, state=[w, optimizer])(np.array(2.0))
    read(loss)
    with pytest.raises(RuntimeError, match="'step' changes its state"):
        loss.backward()
    with pytest.raises(RuntimeError, match="'step' changes its state"):
        vg.grad(vg.compile(step, state=[w, optimizer]))(2.0)


def test_a_node_that_fills_an_array_keeps_its_gradient():
    x, y = vg.TensorNode(2.0), vg.TensorNode(np.zeros(3, np.float32))
    filled = np.full_like(y, x)
    assert (filled.dtype, filled.shape) == (np.float32, (3,))
    (filled * filled).sum().backward()
    assert x.grad == 12
    assert np.full_like(y, 2.0).tolist() == [2, 2, 2]
    assert np.full_like(y, x, dtype=float).dtype == float


Z, M = np.array([1 + 2j, 3.0]), np.ma.masked_array([1.0, 2.0], [True, False])
STRANGE = {
    "complex leaf": (
        lambda: vg.TensorNode(Z),
        "this array holds complex128, and only real numbers have gradients here",
    ),
    "complex number": (lambda: vg.TensorNode(1j), "this array holds complex128"),
    "complex parameter": (lambda: vg.nn.module.parameter(Z), "this array holds complex128"),
    "complex factor": (lambda: V * 1j, "Multiply gives complex128, and only real numbers have gradients here"),
    "complex array": (lambda: Z + V, "Add gives complex128"),
    "complex constant": (lambda: V * vg.TensorNode(Z, requires_grad=False), "Multiply gives complex128"),
    "complex exponent": (lambda: V**1j, "Power gives complex128"),
    "complex cast": (lambda: V.astype(complex), "Cast gives complex128"),
    "complex product": (lambda: np.ones((2, 2)) * 1j @ V, "MatrixMultiply gives complex128"),
    "complex branch": (lambda: np.where([True, False], V, Z), "Where gives complex128"),
    "complex einsum": (lambda: np.einsum("i,i", V, Z), "Einsum gives complex128"),
    "complex concatenation": (lambda: np.concatenate([V, Z]), "Concatenate gives complex128"),
    "vg.grad of complex": (lambda: vg.grad(lambda z: np.sum(np.abs(z)))(Z), "this array holds complex128"),
    "complex gradient": (
        lambda: returns((np.ones((2, 3)) * 1j, np.ones((2, 1)))).backward(),
        "Told.backward returned complex numbers for input 0 of float64: return real numbers",
    ),
    "masked leaf": (lambda: vg.TensorNode(M), "this is a masked array, and its mask would be lost"),
    "masked constant": (lambda: vg.TensorNode(M, requires_grad=False), "this is a masked array"),
    "masked operand": (lambda: V + M, "this is a masked array"),
    "masked first operand": (lambda: M * V, "this node would leave the graph here"),
    "masked input": (lambda: vg.nn.Linear(2, 1)(M), "this is a masked array"),
    "masked targets": (lambda: vg.losses.mse_loss(V, M), "this is a masked array"),
    "masked classes": (lambda: vg.losses.cross_entropy(node(2, 3), np.ma.masked_array([0, 1])), "a masked array"),
    "masked dataset": (lambda: vg.data.Dataset((np.ones((2, 1)), M)), "train.y is a masked array, and its mask"),
    "masked training": (lambda: vg.train.fit(vg.nn.Linear(1, 1), (M[:, None], A)), "train.x is a masked array"),
    "masked batch": (lambda: vg.doctor(vg.nn.Linear(1, 1), vg.losses.mse_loss, (M[:, None], A)), "a masked array"),
    "masked check": (lambda: vg.gradcheck(vg.Exp, M), "this is a masked array"),
    "masked, compiled": (lambda: vg.compile(np.exp)(M), "this is a masked array"),
    "masked prediction": (lambda: vg.train.predict(vg.nn.Linear(2, 1), np.ma.masked_array([[1.0, 2.0]])), "a masked"),
    "np.matrix": (lambda: vg.TensorNode(np.matrix([[1.0]])), "this is an np.matrix, whose x * y is a matrix product"),
}


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("name", STRANGE)
def test_arrays_with_an_arithmetic_of_their_own_are_refused(name):
    fault, words = STRANGE[name]
    with pytest.raises(TypeError, match=re.escape(words)):
        fault()


def test_complex_constants_may_become_real():
    z = vg.TensorNode(Z, requires_grad=False)
    w = vg.TensorNode([1.0, 2.0])
    (np.abs(z) * w).sum().backward()
    np.testing.assert_allclose(w.grad, np.abs(Z))
    with pytest.raises(RuntimeError, match="no gradients below it"):
        np.abs(z).sum().backward()
    with vg.no_grad():
        assert (w * 1j).dtype == complex


EMPTY = {
    "mean": lambda x: np.mean(x),
    "mean of each column": lambda x: x.mean(axis=0),
    "variance": lambda x: np.var(x, axis=0, keepdims=True),
    "standard deviation": lambda x: np.std(x),
    "max": lambda x: np.max(x, axis=0),
    "argmax": lambda x: np.argmax(x, axis=0),
    "cross-entropy": lambda x: vg.losses.cross_entropy(x, np.zeros(0, int)),
    "celoss": lambda x: vg.celoss(x, np.zeros(0, int)),
    "mean squares": lambda x: vg.losses.mse_loss(x, np.zeros((0, 3))),
    "BatchNorm": lambda x: vg.BatchNorm.do_forward(x, np.ones(3), np.zeros(3)),
    "predict": lambda x: vg.train.predict(vg.nn.Linear(3, 2), x.value),
    "evaluate": lambda x: vg.train.evaluate(vg.nn.Linear(3, 2), vg.data.Split(x.value, np.zeros(0, int))),
}


@pytest.mark.parametrize("name", EMPTY)
def test_the_mean_of_nothing_is_refused(name):
    with pytest.raises(ValueError, match=r"no element|nothing|empty|zero-size"):
        EMPTY[name](node(0, 3))


@pytest.mark.parametrize("f", [np.mean, np.var, lambda x: np.max(x, axis=0), lambda x: np.mean(vg.TensorNode(x))])
def test_the_mean_of_nothing_is_refused_in_compiled_code(f):
    with pytest.raises(ValueError, match="no element"):
        vg.compile(f)(np.ones((0, 3)))


def test_of_an_empty_batch_what_has_a_value_has_it():
    x = node(0, 3)
    assert x.mean(axis=1).shape == x.sum(axis=1).shape == (0,)
    assert (vg.softmax(x).shape, x.sum(axis=0).value.tolist()) == ((0, 3), [0, 0, 0])
    with pytest.raises(ValueError, match=r"Var of shapes \(3,\): ddof=3 must be less than the 3 elements"):
        np.var(node(3), ddof=3)


def test_a_second_backward_after_clear_loses_nothing():
    x = node(2)
    loss = (x * x).sum()
    loss.backward()
    before = x.grad.copy()
    loss.clear()
    with pytest.raises(RuntimeError, match="Sum no longer has its inputs"):
        loss.backward()
    assert x.grad.tolist() == before.tolist()
    (x * x).sum().backward()
    assert x.grad.tolist() == (2 * before).tolist()


def test_the_cause_of_an_error_is_kept():
    with pytest.raises(ValueError, match="Add of shapes") as caught:
        node(2) + node(3)
    assert isinstance(caught.value.__cause__, ValueError)


# --- to look at


def test_nodes_and_ops_are_readable_at_a_glance():
    a = vg.TensorNode(np.array([[1.0, 2.0], [3.0, 1 / 3]]), name="a")
    c = a * vg.TensorNode(np.array([10.0, 20.0]))
    assert repr(a) == "TensorNode(a: (2, 2) float64)\n  [[1.     2.    ]\n   [3.     0.3333]]"
    assert repr(c).splitlines()[0] == "TensorNode((2, 2) float64, from Multiply)"
    assert repr(c.source) == "OpNode(Multiply: (2, 2), (2,) -> (2, 2))"
    assert c.source.inputs[0] is a
    assert c.source.outputs[0] is c
    assert c.source.op is vg.Multiply


def test_the_repr_of_a_large_node_is_short():
    text = repr(vg.TensorNode(np.zeros((1000, 1000))))
    assert len(text) < 200
    assert text.startswith("TensorNode((1000, 1000) float64)")


def test_a_cleared_op_can_be_shown():
    x = node(2)
    y = x + x
    y.clear()
    assert repr(y.source) == "OpNode(Add:  -> (2,))"


def test_what_a_node_says_of_itself():
    x = vg.TensorNode([[1, 2, 3], [4, 5, 6.0]], name="x")
    assert (x.shape, x.ndim, x.dtype, len(x), x.name) == ((2, 3), 2, np.float64, 2, "x")
    assert (x.size(), x.size(0), x.size(dim=1)) == ((2, 3), 2, 3)
    assert [row.value.tolist() for row in x] == [[1, 2, 3], [4, 5, 6]]
    assert (x[0, 1].item(), float(x.detach()[0, 1]), bool(x[0, 1])) == (2, 2, True)
    assert (x > 2).tolist() == [[False, False, True], [True, True, True]]
    assert (x == x).all()
    assert (x.argmax(), x.argmax(axis=1).tolist()) == (5, [2, 2])
    assert x.max(axis=0).value.tolist() == [4, 5, 6]
    assert x.min().item() == 1
    assert x.T.shape == x.transpose().shape == x.transpose(1, 0).shape == (3, 2)
    assert x.reshape(-1).shape == x.reshape((6,)).shape == (6,)
    assert x.var(axis=1, ddof=1).value.tolist() == [1, 1]
    assert x.astype(np.float32).dtype == np.float32
    assert x.astype(np.float64, copy=False) is x
    assert np.asarray(x.detach()).tolist() == x.value.tolist()
    assert len({x, x.detach()}) == 2
