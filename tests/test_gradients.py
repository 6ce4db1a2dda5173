"""What ``.grad`` promises: laziness, ownership, accumulation; second derivatives, ``no_grad``, and freed memory."""

import gc
import threading
import weakref

import numpy as np
import pytest
from gradients import jacobian

import vugrad as vg
from vugrad.graph.backward import below


def node(*numbers, dtype=np.float64, name=None):
    return vg.TensorNode(np.array(numbers, dtype), name=name)


@pytest.fixture(autouse=True)
def _grad_mode_is_left_as_it_was():
    yield
    assert (node(1.0) * 2).source is not None, "a test left no_grad on"


# --- lazy zeros


def test_zeros_before_any_backward_of_the_values_shape_and_dtype():
    x = node([1, 2], [3, 4], dtype=np.float32)
    y = x * x
    for n in (x, y):
        assert n.grad.tolist() == [[0, 0], [0, 0]]
        assert n.grad.dtype == np.float32
    assert x.grad is x.grad


def test_zeros_are_allocated_on_first_use():
    x = vg.TensorNode(np.broadcast_to(1.0, (10**7, 10**7)))  # whose zeros would be 800 TB
    y = x[0, :3]
    assert y.shape == (3,)
    y.clear()
    x.zero_grad()
    assert x.requires_grad


def test_the_zeros_may_be_written_into():
    x = node(1, 2)
    x.grad[0] = 5
    assert x.grad.tolist() == [5, 0]
    x.grad += 1
    assert x.grad.tolist() == [6, 1]


def test_setting_a_gradient_checks_its_shape_and_takes_the_values_dtype():
    x = node(1, 2, dtype=np.float32, name="w")
    x.grad = np.array([1.0, 2.0])
    assert x.grad.dtype == np.float32
    with pytest.raises(ValueError, match=r"a gradient has its value's shape, got \(3,\) for 'w' of \(2,\)"):
        x.grad = np.zeros(3)
    x.grad = node(3, 4, dtype=np.float32)  # as an update of a gradient that is a node does
    assert isinstance(x.grad, vg.TensorNode)


def test_gradients_follow_a_value_that_is_replaced():
    x = node([1, 2, 3], dtype=np.float32)
    assert x.grad.shape == (1, 3)
    x.value = np.ones((5, 3))
    assert (x.grad.shape, x.grad.dtype) == ((5, 3), np.float64)
    (x * x).sum().backward()
    assert x.grad.tolist() == [[2, 2, 2]] * 5
    x.value = np.ones((5, 3), np.float32)
    assert x.grad.dtype == np.float32, "the gradient of the old value, in the dtype of the new one"
    assert x.grad.tolist() == [[2, 2, 2]] * 5
    (x * x).sum().backward()
    assert (x.grad.dtype, x.grad[0, 0]) == (np.float32, 4)
    x.value = np.ones(3)  # would broadcast with what is there
    (x * x).sum().backward()
    assert x.grad.tolist() == [2, 2, 2]


# --- ownership: whoever writes into a gradient changes that gradient and nothing else


class HalfSquare(vg.Op):
    """y = Σ x² / 2;  gx = x: the very array that is in the context, and is the value."""

    @staticmethod
    def forward(context, x):
        context["x"] = x
        return np.sum(x * x) / 2

    @staticmethod
    def backward(context, go):
        return context["x"]


class Pair(vg.Op):
    """z = Σ (x + yᵀ);  gx = a new array, gy = a view of it."""

    @staticmethod
    def forward(context, x, y):
        context["shape"] = x.shape
        return np.sum(x + y.T)

    @staticmethod
    def backward(context, go):
        g = np.full(context["shape"], go)
        return g, g.T


class Slopes(vg.Op):
    """z = Σ |x|, for a loss;  gx = sign x, which is in the context."""

    @staticmethod
    def forward(context, x):
        context["d"] = np.sign(x)
        return np.sum(np.abs(x))

    @staticmethod
    def backward(context, go):
        return context["d"]


class Twice(vg.Op):
    """z = Σ (x + y);  gx = gy = one new array."""

    @staticmethod
    def forward(context, x, y):
        context["shape"] = x.shape
        return np.sum(x + y)

    @staticmethod
    def backward(context, go):
        g = np.full(context["shape"], go)
        return g, g


class Dots(vg.Op):
    """z = Σ x · y, for a loss;  gx = y and gy = x, which are kept in a tuple."""

    @staticmethod
    def forward(context, x, y):
        context["xs"] = (x, y)
        return np.sum(x * y)

    @staticmethod
    def backward(context, go):
        x, y = context["xs"]
        return y, x


def square():
    return vg.TensorNode(np.array([[1.0, 2.0], [3.0, 4.0]]))


GRAPHS = {
    "a + b": lambda a, b: (a + b).sum(),
    "a - b": lambda a, b: (a - b).sum(),
    "a + a": lambda a, b: (a + a + b).sum(),
    "sums": lambda a, b: a.sum() + b.sum(),
    "transposed": lambda a, b: (a.T + b).sum(),
    "reshaped": lambda a, b: (a.reshape(4) + b.reshape(4)).sum(),
    "identity": lambda a, b: (vg.Id.do_forward(a) + b).sum(),
    "stacked": lambda a, b: np.stack([a, b]).sum(),
    "joined": lambda a, b: np.concatenate([a, b, a]).sum(),
    "sliced": lambda a, b: (a[:1] + b[1:]).sum(),
    "matrix product": lambda a, b: (a @ b).sum(),
    "broadcast": lambda a, b: (a * b[0]).sum(),
    "context": lambda a, b: HalfSquare.do_forward(a) + HalfSquare.do_forward(b * 1),
    "slopes": lambda a, b: Slopes.do_forward(a) + b.sum(),
    "view": lambda a, b: Pair.do_forward(a, b),
    "view of an inner one": lambda a, b: Pair.do_forward(a * 1, b),
    "view for an inner one": lambda a, b: Pair.do_forward(a, b * 1),
    "one for two": lambda a, b: Twice.do_forward(a, b),
    "one for an inner one": lambda a, b: Twice.do_forward(a, b * 1) + a.sum(),
    "values": lambda a, b: Dots.do_forward(a, b),
    "linear": lambda a, b: vg.BatchMM.do_forward(a, b).sum(),
    "softmax": lambda a, b: vg.losses.cross_entropy(a + b, np.array([0, 1])),
    "a + b, squared": lambda a, b: np.square(a + b).sum(),
    "a - b, squared": lambda a, b: np.square(a - b).sum(),
    "transposed, squared": lambda a, b: np.square(a.T + b).sum(),
    "identity, squared": lambda a, b: np.square(vg.Id.do_forward(a)).sum() + np.square(vg.Id.do_forward(b)).sum(),
    "two outputs": lambda a, b: sum(part.sum() for part in np.split(a * b, 2)),
}


def arrays_in(context):
    for held in context.values():
        parts = held if isinstance(held, tuple | list) else [held]
        yield from (part for part in parts if isinstance(part, np.ndarray))


@pytest.mark.parametrize("order", ["forwards", "backwards"])
@pytest.mark.parametrize("name", GRAPHS)
def test_no_gradient_shares_memory_with_anything(name, order):
    def differentiated():
        a, b = square(), square()
        loss = GRAPHS[name](a, b)
        loss.backward()
        ops = below([loss])
        nodes = list(dict.fromkeys([loss, *(n for op in ops for n in op.inputs if n.requires_grad), a, b]))
        return (nodes if order == "forwards" else nodes[::-1]), ops

    expected = [n.grad.copy() for n in differentiated()[0]]
    nodes, ops = differentiated()
    saved = [(f"the value of {n!r}", n.value) for n in nodes]
    saved += [(f"{op.op.__name__}'s context", array) for op in ops for array in arrays_in(op.context)]
    for i, n in enumerate(nodes):
        np.testing.assert_array_equal(n.grad, expected[i], err_msg=f"a write into another changed the one of {n!r}")
        for what, other in saved + [(f"the gradient of {m!r}", m.grad) for m in nodes[:i]]:
            assert not np.shares_memory(n.grad, other), f"the gradient of {n!r} is in {what}"
        n.grad[...] = 77


def test_large_weight_gradients_are_not_copied():
    w = vg.TensorNode(np.zeros((8, 8)))
    made = []

    class Product(vg.BatchMM):
        """BatchMM that keeps no hold of the gradient it made, but remembers where it was."""

        @staticmethod
        def backward(context, go):
            gw, gx = vg.BatchMM.backward(context, go)
            made.append(gw.__array_interface__["data"])
            return gw, gx

    Product.do_forward(w, vg.TensorNode(np.ones((3, 8)))).sum().backward()
    assert w.grad.__array_interface__["data"] == made[0]


def test_the_gradient_given_to_an_op_stays_its_nodes_own():
    x = node(1, 2)
    y = vg.Id.do_forward(x)
    y.grad = np.array([3.0, 4.0])
    y.source.backward()
    y.grad[...] = 0
    assert x.grad.tolist() == [3, 4]
    x.grad[...] = 5
    assert y.grad.tolist() == [0, 0]
    z = vg.Id.do_forward(y)
    z.grad = np.array([1.0, 2.0])
    y.zero_grad()
    z.source.backward()
    z.grad[...] = 0
    assert y.grad.tolist() == x.grad.tolist() == [1, 2]


def test_gradients_of_inner_nodes():
    x = node(1, 2)
    y = x * x
    z = y + y  # hands its own gradient to y twice, which must not be added up inside it
    (z * z).sum().backward()
    assert z.grad.tolist() == [4, 16]
    assert y.grad.tolist() == [8, 32]
    assert x.grad.tolist() == [16, 128]


def test_gradients_that_are_nodes_can_be_read():
    a, b = node(1, 2), node(3, 4)
    c = a + b
    c.sum().backward(create_graph=True)
    for n in (a, b, c):
        assert isinstance(n.grad, vg.TensorNode)
        assert n.grad.value.tolist() == [1, 1]


# --- accumulation


def test_the_gradient_of_one_number_is_an_array():
    x = vg.TensorNode(2.0)
    for n in (1, 2, 3):
        (x * x).backward()
        assert type(x.grad) is np.ndarray
        assert x.grad == 4 * n
    x.grad[...] = 0
    assert x.grad == 0


def test_two_backwards_add_up():
    x = node(1, 2)
    y = x * x
    loss = y.sum()
    loss.backward()
    first = x.grad
    loss.backward()
    assert x.grad.tolist() == [4, 8]
    assert y.grad.tolist() == [2, 2]
    assert first.tolist() == [2, 4], "an array that was handed out earlier is not written into"
    (3 * x).sum().backward()
    assert x.grad.tolist() == [7, 11]


def test_zero_grad_reaches_all_below_and_nothing_else():
    x, other = node(1, 2), node(3, 4)
    y = x * other
    loss, unrelated = y.sum(), (y * y).sum()
    unrelated.backward()
    loss.backward()
    loss.zero_grad()
    assert not any(n.grad.any() for n in (x, other, y, loss))
    assert unrelated.grad == 1


def test_shared_nodes():
    x = node(2.0)
    (x * x * x + x).sum().backward()
    assert x.grad == 13


def test_a_node_on_paths_of_different_lengths():
    x = node(0.5)
    y = np.exp(x)
    z = y * np.sin(y * y + x) + y
    z.sum().backward()
    np.testing.assert_allclose(
        x.grad, jacobian(lambda v: (np.exp(v) * np.sin(np.exp(v) ** 2 + v) + np.exp(v))[0], x.value), rtol=1e-6
    )


def test_constants_get_no_gradient():
    x, c = node(1, 2), vg.TensorNode(np.ones(2), requires_grad=False)
    (x * c + c * c).sum().backward()
    assert not c.grad.any()
    assert x.grad.tolist() == [1, 1]
    assert not x.detach().requires_grad
    assert x.detach().value is x.value


def test_a_failing_backward_changes_no_gradient():
    class Broken(vg.Op):
        """y = x, and no way back."""

        @staticmethod
        def forward(context, x):
            return x

        @staticmethod
        def backward(context, go):
            raise ZeroDivisionError("no way back")

    x, y = node(1, 2), node(3, 4)
    (Broken.do_forward(x) * y).sum()
    with pytest.raises(ZeroDivisionError, match="no way back"):
        (Broken.do_forward(x) * y).sum().backward()
    assert not y.grad.any()


# --- create_graph


def test_third_derivatives():
    x = node(2.0)
    y = (x**5).sum()
    found = []
    for _ in range(3):
        x.zero_grad()
        y.backward(create_graph=True)
        found.append(x.grad.item())
        y = x.grad.sum()
    assert found == pytest.approx([80, 160, 240])


def test_create_graph_gives_the_same_gradients():
    for name, graph in GRAPHS.items():
        if name in ("context", "values", "slopes"):
            continue  # whose backward leaves out go, and so is right for a loss only
        plain, graphed = (square(), square()), (square(), square())
        graph(*plain).backward()
        graph(*graphed).backward(create_graph=True)
        for a, b in zip(plain, graphed, strict=True):
            np.testing.assert_array_equal(a.grad, b.grad.value, err_msg=name)


def test_a_gradient_penalty_is_trained_through():
    """The derivative of (‖∂f/∂x‖ − 1)² by the weights of f, a network, against finite differences."""
    rng = np.random.default_rng(0)
    net = vg.nn.MLP([3, 4, 1], activation=vg.nn.Tanh, rng=rng, dtype=np.float64)
    batch = rng.standard_normal((5, 3))

    def penalty():
        x = vg.TensorNode(batch)
        net(x).sum().backward(create_graph=True)
        norms = np.sqrt((x.grad * x.grad).sum(axis=1))
        return ((norms - 1) ** 2).mean()

    for parameter in net.parameters():
        start = parameter.value

        def at(value, parameter=parameter):
            parameter.value = value
            return penalty().value

        expected = jacobian(at, start)
        parameter.value = start
        net.zero_grad()
        loss = penalty()
        net.zero_grad()  # what the inner backward left in the weights
        loss.backward()
        np.testing.assert_allclose(parameter.grad, expected, atol=1e-7, err_msg=parameter.name)
    assert np.abs(net.parameters()[0].grad).max() > 1e-3


def test_a_backward_of_another_dtype_can_be_differentiated_again():
    class Square64(vg.Op):
        """y = x²;  gx = 2 x go, in float64 whatever x is."""

        @staticmethod
        def forward(context, x):
            context["x"] = x
            return x * x

        @staticmethod
        def backward(context, go):
            return 2 * context["x"] * go.astype(np.float64)

    x = node(1, 2, dtype=np.float32)
    Square64.do_forward(x).sum().backward(create_graph=True)
    g = x.grad
    assert g.dtype == np.float32
    x.zero_grad()
    (g * g).sum().backward()
    assert x.grad.tolist() == [8, 16]
    assert x.grad.dtype == np.float32


def test_what_reaches_an_op_has_the_dtype_of_what_it_made():
    received = []

    class Witness(vg.Op):
        """y = x, and a note of what came back."""

        @staticmethod
        def forward(context, x):
            return x

        @staticmethod
        def backward(context, go):
            received.append(go.dtype)
            return go.astype(np.float64)

    x = node(1, 2, dtype=np.float32)
    loss = Witness.do_forward(Witness.do_forward(x)).sum()
    loss.backward()
    assert received == [np.float32, np.float32]
    assert vg.grad(lambda v: Witness.do_forward(v).sum())(x.value).dtype == np.float32


def test_gradients_that_are_plain_arrays_become_nodes_too():
    class Floor(vg.Op):
        """y = ⌊x⌋;  gx = 0."""

        @staticmethod
        def forward(context, x):
            context["shape"] = x.shape
            return np.floor(x)

        @staticmethod
        def backward(context, go):
            return np.zeros(context["shape"])

    x = node(1.5, 2.5)
    Floor.do_forward(x).sum().backward(create_graph=True)
    assert isinstance(x.grad, vg.TensorNode)
    assert vg.hessian(lambda v: Floor.do_forward(v).sum())(x.value).tolist() == [[0, 0], [0, 0]]


# --- no_grad


def test_no_grad_builds_no_graph():
    x = node(1, 2)
    with vg.no_grad():
        y = x * x
        s, c = np.split(x, 2)
        assert (y + x).source is None
    assert y.value.tolist() == [1, 4]
    for n in (y, s, c):
        assert n.source is None
        assert not n.requires_grad
    assert (x * x).source is not None


def test_no_grad_nests_and_survives_exceptions():
    x = node(1.0)
    again = vg.no_grad()
    with vg.no_grad():
        with vg.no_grad():
            pass
        assert (x * x).source is None
        with again, again:
            pass
        with pytest.raises(KeyError), vg.no_grad():
            raise KeyError
        assert (x * x).source is None
    assert (x * x).source is not None


def test_no_grad_as_a_decorator():
    @vg.no_grad()
    def evaluate(x, depth=3):
        """Doc."""
        return evaluate(x, depth - 1) if depth else x * x

    assert evaluate(node(1.0)).source is None
    assert evaluate.__doc__ == "Doc."


def test_each_thread_has_its_own_mode():
    x = node(1.0)
    inside, done = threading.Event(), threading.Event()
    sources = []

    def other():
        with vg.no_grad():
            sources.append((x * x).source)
            inside.set()
            done.wait(10)
            sources.append((x * x).source)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    assert (x * x).source is not None
    done.set()
    thread.join()
    assert sources == [None, None]


def test_one_decorator_in_two_threads():
    """One enters while its thread is in ``no_grad``, the other while it is not, and they leave in the same order."""
    first_in, second_in, first_out = (threading.Event() for _ in range(3))
    x = node(1.0)
    sources = {}

    @vg.no_grad()
    def both(entered, leave):
        entered.set()
        leave.wait(10)

    def first():
        with vg.no_grad():
            both(first_in, second_in)
            sources["first"] = (x * x).source
        first_out.set()

    def second():
        first_in.wait(10)
        both(second_in, first_out)
        sources["second"] = (x * x).source

    threads = [threading.Thread(target=target) for target in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sources["first"] is None
    assert sources["second"] is not None


# --- memory


def test_graphs_are_freed_without_the_cyclic_collector():
    def forget(loss, *refs):
        loss.backward()
        return refs

    def dropped():
        x = square()
        y = np.tanh(x)
        return weakref.ref(y), weakref.ref(y.source.inputs[0])

    def backpropagated():
        x = square()
        y = vg.losses.cross_entropy(np.tanh(x), np.array([0, 1]))
        return forget(y, weakref.ref(x), weakref.ref(y))

    def cleared():
        x = square()
        y = np.tanh(x)
        z = y.sum()
        z.clear()
        refs = weakref.ref(x), weakref.ref(y)
        del x, y
        assert refs[0]() is None, "what was cleared holds on to its inputs"
        return refs

    def failed():
        x = square()
        y = np.tanh(x)
        with pytest.raises(ValueError, match="starts from one number"):
            y.backward()
        with pytest.raises(ValueError, match="Add of shapes"):
            y + np.ones(3)
        return weakref.ref(x), weakref.ref(y)

    def several_outputs():
        x = square()
        parts = vg.BatchNorm.do_forward(x, node(1, 1), node(0, 0))
        return forget(parts[0].sum(), weakref.ref(x), *map(weakref.ref, parts))

    def transformed():
        refs = []

        def f(x):
            refs.append(weakref.ref(x))
            return (x * x).sum()

        vg.grad(f)(np.ones(3))
        vg.hessian(f)(np.ones(3))
        vg.jvp(f, (np.ones(3),), (np.ones(3),))
        return refs

    def twice_differentiable():
        x = square()
        y = (x * x).sum()
        y.backward(create_graph=True)
        g = weakref.ref(x.grad)
        y.zero_grad()  # a gradient that is a node holds the graph that holds its own node
        return weakref.ref(x), weakref.ref(y), g

    gc.collect()
    gc.disable()
    try:
        for make in (dropped, backpropagated, cleared, several_outputs, transformed, twice_differentiable, failed):
            for ref in make():
                assert ref() is None, make.__name__
    finally:
        gc.enable()
