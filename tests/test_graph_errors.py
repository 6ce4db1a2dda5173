"""What the graph says when it cannot: each error names the op, shows the shapes, and tells what to write. And reprs."""

import re

import numpy as np
import pytest

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
        "this node has no gradients below it: it was made under vg.no_grad(), or from constants alone (so are "
        "integers, beside floating-point numbers or with create_graph)",
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
        "Told.backward returned None: is its return missing? An op through which no gradient flows returns (None, "
        "None)",
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
        "MatrixMultiply of shapes (2, 3) and (2, 3): matmul: Input operand 1 has a mismatch",
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
        "np.cumprod does not work on nodes. Near ones that do: np.prod",
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
