"""The graph: every fault of the original library that the report lists in section E has its test here."""

import copy
import gc
import sys
import weakref

import numpy as np
import pytest
from gradients import jacobian
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

import vugrad as vg


def node(*numbers, dtype=np.float64, name=None):
    return vg.TensorNode(np.array(numbers, dtype), name=name)


class SinCos(vg.Op):
    """s, c = sin x, cos x;  gx = gs cos x − gc sin x."""

    @staticmethod
    def forward(context, x):
        s, c = np.sin(x), np.cos(x)
        context.update(s=s, c=c)
        return s, c

    @staticmethod
    def backward(context, gs, gc):
        return gs * context["c"] - gc * context["s"]


class Logged(vg.Op):
    """Σ x², from which nothing comes back."""

    @staticmethod
    def forward(context, x):
        return np.sum(x**2)

    @staticmethod
    def backward(context, go):
        return (None,)


class at_most:  # noqa: N801
    """Fails as soon as more than ``limit`` functions have been called: an exponential walk ends at once."""

    def __init__(self, limit):
        self.limit, self.calls = limit, 0

    def __enter__(self):
        sys.setprofile(self.count)
        return self

    def __exit__(self, *exception):
        sys.setprofile(None)

    def count(self, frame, event, arg):
        self.calls += event in ("call", "c_call")
        if self.calls > self.limit:
            sys.setprofile(None)
            raise AssertionError(f"more than {self.limit} calls")


# --- E1: a branch from which no gradient comes back


def test_a_branch_that_is_not_part_of_the_loss_changes_nothing():
    x = node(1, 2, 3)
    h = x * 2
    penalty = (h * h).sum()
    h.sum().backward()
    assert x.grad.tolist() == [2, 2, 2]
    assert penalty.value == 56


def test_an_op_that_gives_no_gradient_leaves_its_siblings_theirs():
    x = node(1, 2, 3)
    h = x * 2
    (h.sum() + Logged.do_forward(h)).backward()
    assert x.grad.tolist() == [2, 2, 2]


def test_an_op_that_only_feeds_one_without_a_gradient():
    x = node(1, 2, 3)
    (Logged.do_forward(x * 2) + x.sum()).backward()
    assert x.grad.tolist() == [1, 1, 1]


def test_unused_branches_get_no_gradient():
    x, y = node(1, 2), node(3, 4)
    unused = x * y
    (x * x).sum().backward()
    assert x.grad.tolist() == [2, 4]
    assert not y.grad.any()
    assert not unused.grad.any()


# --- E2: shared nodes and long chains


def diamonds(depth):
    x = node(1.0)
    y = x
    for _ in range(depth):
        y = y + y
    return x, y.sum()


@pytest.mark.parametrize(
    "walk",
    [
        vg.TensorNode.backward,
        lambda y: y.backward(create_graph=True),
        vg.TensorNode.zero_grad,
        vg.TensorNode.clear,
        lambda y: y.source.backward(),
        lambda y: y.source.zero_grad(),
        lambda y: y.source.clear(),
    ],
    ids=["backward", "create_graph", "zero_grad", "clear", "op backward", "op zero_grad", "op clear"],
)
def test_diamonds_take_linear_time(walk):
    calls = {}
    for depth in (30, 60):
        _, y = diamonds(depth)
        with at_most(60_000) as counter:
            walk(y)
        calls[depth] = counter.calls
    assert calls[60] < 2.5 * calls[30]


def test_each_op_of_a_diamond_runs_backward_once():
    runs = []

    class Double(vg.Op):
        """z = x + y."""

        @staticmethod
        def forward(context, x, y):
            return x + y

        @staticmethod
        def backward(context, go):
            runs.append(float(go[0]))
            return go, go

    x = node(1.0)
    y = x
    for _ in range(10):
        y = Double.do_forward(y, y)
    y.sum().backward()
    assert runs == [2.0**i for i in range(10)]
    assert x.grad == 1024


def test_a_hundred_thousand_ops_in_a_row():
    gc.disable()
    try:
        x = node(2.0)
        y = x
        for _ in range(100_000):
            y = -y
        y.sum().backward()
        assert x.grad == 1
        y.zero_grad()
        assert x.grad == 0
        y.source.zero_grad()
        middle = weakref.ref(y.source.inputs[0])
        z = -y
        del y
        z.clear()  # every op is cut
        assert middle() is None
        y = -x
        first = weakref.ref(y)
        for _ in range(100_000):
            y = -y
        del y  # the whole chain is dropped by its last node
        assert first() is None
    finally:
        gc.enable()


def test_ten_thousand_ops_in_a_row_differentiated_twice():
    x = node(1.0)
    y = x * x
    for _ in range(10_000):
        y = -y
    y.sum().backward(create_graph=True)
    g = x.grad
    x.zero_grad()
    g.sum().backward()
    assert (g.value, x.grad) == (2, 2)


# --- E3: several outputs


def test_both_outputs_used():
    x = node(0.3, 1.1)
    s, c = SinCos.do_forward(x)
    (3 * s + 5 * c).sum().backward()
    np.testing.assert_allclose(x.grad, 3 * np.cos(x.value) - 5 * np.sin(x.value))
    assert s.grad.tolist() == [3, 3]
    assert c.grad.tolist() == [5, 5]


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("dead", [False, True])
def test_one_output_unused(dead, create_graph):
    x = node(0.3, 1.1)
    outputs = SinCos.do_forward(x)
    loss = outputs[0].sum()
    outputs = outputs if not dead else None
    loss.backward(create_graph=create_graph)
    np.testing.assert_allclose(getattr(x.grad, "value", x.grad), np.cos(x.value))


def test_an_output_used_twice():
    x = node(0.3, 1.1)
    s, c = SinCos.do_forward(x)
    (s * s + c * s).sum().backward()
    np.testing.assert_allclose(x.grad, np.sin(2 * x.value) + np.cos(2 * x.value))


def test_two_outputs_can_be_cleared():
    x = node(0.3, 1.1)
    s, c = SinCos.do_forward(x)
    loss = (s + c).sum()
    loss.backward()
    loss.clear()
    assert s.source.inputs == ()
    assert s.source is c.source
    with pytest.raises(RuntimeError, match=r"cleared: SinCos no longer has its inputs\. Run the forward again"):
        s.sum().backward()


def test_the_op_itself_carries_the_gradients_of_its_outputs():
    x = node(0.3, 1.1)
    s, c = SinCos.do_forward(x)
    s.grad, c.grad = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    s.source.backward()
    np.testing.assert_allclose(x.grad, [np.cos(0.3), -np.sin(1.1)])
    assert s.grad.tolist() == [1, 0]
    s.source.zero_grad()
    assert not any(n.grad.any() for n in (x, s, c))


def test_an_output_of_whole_numbers():
    class Largest(vg.Op):
        """The largest element, and where it is."""

        @staticmethod
        def forward(context, x):
            i = np.argmax(x)
            context.update(i=i, n=len(x))
            return x[i], i

        @staticmethod
        def backward(context, go, gi):
            return go * (np.arange(context["n"]) == context["i"])

    x = node(1, 5, 2)
    largest, position = Largest.do_forward(x)
    largest.backward()
    assert x.grad.tolist() == [0, 1, 0]
    assert position.value == 1
    assert not position.requires_grad
    largest.source.backward()
    assert x.grad.tolist() == [0, 2, 0]


# --- E4: a batch of one, and large numbers (every warning is an error here)


def test_select_from_a_batch_of_one():
    x = node([0.1, 0.2, 0.7])
    y = vg.Select.do_forward(x, indices=np.array([2]))
    assert y.shape == (1,)
    y.sum().backward()
    assert x.grad.tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_of_large_logits(dtype):
    x = node([800, 0, -800], [-800, -800, -800], dtype=dtype)
    np.testing.assert_allclose(vg.softmax(x).value, [[1, 0, 0], [1 / 3] * 3], rtol=1e-6)
    y = vg.logsoftmax(x)
    np.testing.assert_allclose(y.value[0], [0, -800, -1600])
    y.sum().backward()
    assert np.isfinite(x.grad).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_of_large_logits(dtype):
    x = node(-1e4, -800, 0, 800, 1e4, dtype=dtype)
    y = vg.sigmoid(x)
    np.testing.assert_allclose(y.value, [0, 0, 0.5, 1, 1], atol=1e-30)
    y.sum().backward()
    np.testing.assert_allclose(x.grad, [0, 0, 0.25, 0, 0], atol=1e-30)


# --- E5: dtypes and operators

EXPRESSIONS = {
    "x + 2": (lambda x: x + 2, lambda x: 1),
    "2 + x": (lambda x: 2 + x, lambda x: 1),
    "x - 2": (lambda x: x - 2, lambda x: 1),
    "2 - x": (lambda x: 2 - x, lambda x: -1),
    "x * 3": (lambda x: x * 3, lambda x: 3),
    "3 * x": (lambda x: 3 * x, lambda x: 3),
    "0.5 * x": (lambda x: 0.5 * x, lambda x: 0.5),
    "x / 2": (lambda x: x / 2, lambda x: 0.5),
    "2 / x": (lambda x: 2 / x, lambda x: -2 / x**2),
    "x / x": (lambda x: (x * x) / x, lambda x: 1),
    "-x": (lambda x: -x, lambda x: -1),
    "+x": (lambda x: +x, lambda x: 1),
    "abs(x)": (lambda x: abs(-x), lambda x: 1),
    "x ** 2": (lambda x: x**2, lambda x: 2 * x),
    "x ** -1": (lambda x: x**-1, lambda x: -1 / x**2),
    "x ** 0.5": (lambda x: x**0.5, lambda x: 0.5 / np.sqrt(x)),
    "2 ** x": (lambda x: 2**x, lambda x: 2**x * np.log(2)),
    "x ** x": (lambda x: x**x, lambda x: x**x * (np.log(x) + 1)),
    "x - array": (lambda x: x - np.ones(3, x.dtype), lambda x: 1),
    "array * x": (lambda x: np.full(3, 2, x.dtype) * x, lambda x: 2),
    "array / x": (lambda x: np.ones(3, x.dtype) / x, lambda x: -1 / x**2),
    "x[1:]": (lambda x: x[1:], lambda x: [0, 1, 1]),
    "x[-1]": (lambda x: x[-1], lambda x: [0, 0, 1]),
    "x[::2]": (lambda x: x[::2], lambda x: [1, 0, 1]),
    "x[[0, 0]]": (lambda x: x[[0, 0]], lambda x: [2, 0, 0]),
    "x[x > 1.5]": (lambda x: x[x > 1.5], lambda x: [0, 1, 1]),
    "x @ array": (lambda x: x @ np.arange(3, dtype=x.dtype), lambda x: [0, 1, 2]),
    "array @ x": (lambda x: np.arange(6, dtype=x.dtype).reshape(2, 3) @ x, lambda x: [3, 5, 7]),
    "x.T @ x": (lambda x: x.T @ x, lambda x: 2 * x),
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_operators_keep_the_dtype(name, dtype):
    f, derivative = EXPRESSIONS[name]
    x = node(1, 2, 3, dtype=dtype)
    y = f(x)
    assert y.dtype == dtype
    y.sum().backward()
    assert x.grad.dtype == dtype
    expected = np.broadcast_to(derivative(x.value.astype(float)), 3)
    np.testing.assert_allclose(x.grad, expected, rtol=4 * np.finfo(dtype).eps)
    assert y.grad.dtype == dtype


@given(
    hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3),
    st.sampled_from(["add", "subtract", "multiply", "divide"]),
)
def test_what_was_broadcast_is_summed_on_the_way_back(shapes, name):
    rng = np.random.default_rng(0)
    x, y = (vg.TensorNode(rng.uniform(0.5, 2, shape)) for shape in shapes.input_shapes)
    f = getattr(np, name)
    weights = rng.standard_normal(shapes.result_shape)
    loss = (f(x, y) * weights).sum()
    loss.backward()
    np.testing.assert_allclose(x.grad, jacobian(lambda v: (f(v, y.value) * weights).sum(), x.value), atol=1e-8)
    np.testing.assert_allclose(y.grad, jacobian(lambda v: (f(x.value, v) * weights).sum(), y.value), atol=1e-8)


def test_whole_numbers_have_no_gradient_and_pass_through():
    pixels = vg.TensorNode(np.array([[0, 255]], np.uint8))
    w = node([0.5], [0.25], dtype=np.float32)
    y = (pixels * np.float32(2)) @ w
    y.sum().backward()
    assert w.grad.tolist() == [[0], [510]]
    assert (y.dtype, w.grad.dtype) == (np.float32, np.float32)
    assert pixels.grad.tolist() == [[0, 0]]  # beside floating-point numbers, integers are constants
    assert pixels.grad.dtype == np.float64


def test_a_weight_of_whole_numbers_is_an_error_and_not_a_rounded_gradient():
    w = node(1.0, 2.0, name="w")
    w.value = np.array([1, 2])
    with pytest.raises(TypeError, match=r"w of Multiply holds int64, which cannot hold a gradient: give it floating"):
        (w * node(0.5, 0.5)).sum().backward()


def test_an_op_of_a_student_may_write_into_what_it_is_given():
    class Masked(vg.Op):
        @staticmethod
        def forward(context, x):
            context["x"] = x
            return np.maximum(x, 0)

        @staticmethod
        def backward(context, goutput):
            goutput[context["x"] <= 0] = 0
            return goutput

    a, b = vg.TensorNode([-1.0, 1.0]), vg.TensorNode([1.0, 1.0])
    z = Masked.do_forward(a) + b
    (z * z).sum().backward()
    assert a.grad.tolist() == [0, 4]
    assert b.grad.tolist() == [2, 4]
    Masked.do_forward(a).sum().backward()  # the gradient of a sum is a view that cannot be written to
    assert a.grad.tolist() == [0, 5]


def test_a_copy_of_a_leaf_is_a_leaf_and_of_a_graph_an_error():
    net = vg.nn.Linear(2, 2)
    copied = copy.deepcopy(net)
    copied.weight.value[:] = 0
    assert net.weight.value.any()
    with pytest.raises(TypeError, match="part of a graph"):
        copy.deepcopy(net.weight * 2)


def test_setting_a_gradient_to_none_forgets_it():
    x = vg.TensorNode([1.0])
    (x * x).sum().backward()
    x.grad = None
    assert x.grad.tolist() == [0]
