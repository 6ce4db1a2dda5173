"""``vg.debug``: the first op that goes wrong is named, forward and backward, and nothing else is."""

import re

import numpy as np
import pytest
from given import given

import vugrad as vg
from vugrad.graph import OpNode
from vugrad.graph.backward import thread
from vugrad.viewer import NotFiniteError, OverwrittenError


class Exploding(vg.nn.Module):
    def forward(self, x):
        return np.exp(1000 * x)


def test_the_first_op_that_is_not_finite():
    net = vg.nn.Sequential(vg.nn.ReLU(), Exploding())
    with pytest.raises(NotFiniteError) as caught, vg.debug():
        np.log(net(vg.TensorNode([1.0, 2.0, 0.0])))
    text = str(caught.value)
    assert text.startswith("Exp.forward in 1 (Exploding) gives inf at [0] and 1 more from finite numbers\n")
    assert re.search(r"test_debug\.py:\d+, `return np\.exp\(1000 \* x\)`", text)
    assert "input 0: (3,) float64, from 0 to 2000, 1000 there" in text
    assert "Write vg.logsumexp" in text
    assert caught.value.source.op is vg.Exp


def test_the_first_gradient_that_is_not_finite():
    x = vg.TensorNode([[0.0, 4.0]], name="x")
    with pytest.raises(NotFiniteError, match=r"Sqrt\.backward gives inf at \[0, 0\] from finite numbers"), vg.debug():
        np.sqrt(x).sum().backward()


def test_what_came_in_with_the_data():
    net = vg.nn.Linear(3, 2)
    x = np.ones((4, 3))
    x[2, 1] = np.nan
    with (
        pytest.raises(NotFiniteError, match=r"input 1 of BatchMM in Linear \(Linear\) holds NaN that no op"),
        vg.debug(),
    ):
        net(x)


def test_what_is_infinite_on_purpose_is_let_be():
    x = vg.TensorNode(np.ones((2, 3)))
    mask = np.array([[0, 0, -np.inf], [0, 0, 0]])
    with vg.debug():
        y = vg.softmax(x + mask)
        (y * y).sum().backward()
        np.where(x > 0, np.log(x), 0.0).sum().backward()
    assert np.all(np.isfinite(x.grad))


def test_an_array_that_a_backward_needs_was_overwritten():
    net = vg.nn.MLP([3, 4, 2])
    with vg.debug():
        loss = net(np.ones((5, 3))).sum()
    for parameter in net.parameters():
        parameter.value -= 0.1
    with pytest.raises(OverwrittenError) as caught:
        loss.backward()
    assert str(caught.value).startswith("context['w'] of BatchMM in 2 (Linear) was written into after the forward")


def test_what_no_backward_needs_may_be_overwritten():
    x = vg.TensorNode(np.ones(3))
    with vg.debug():
        y = (x + 1).sum()
        x.value += 5
        y.backward()
    np.testing.assert_array_equal(x.grad, np.ones(3))


def test_all_that_a_context_holds_is_told_apart():
    x = vg.TensorNode(np.ones((3, 4)))
    with vg.debug():
        np.take_along_axis(x, np.array([[0], [1], [2]]), axis=1).sum().backward()


def test_an_error_can_be_looked_at(tmp_path):
    with pytest.raises(NotFiniteError) as caught, vg.debug():
        vg.nn.Sequential(vg.nn.ReLU(), Exploding())(vg.TensorNode([1.0, 2.0]))
    view = vg.view(caught.value)
    assert view.scene.wrong is caught.value.source
    svg = view.save(tmp_path / "wrong.svg").read_text()
    assert 'class="op wrong"' in svg
    assert "gives inf" in view.save(tmp_path / "wrong.html").read_text()


def test_gradients_are_those_without_it():
    net = vg.nn.LeNet()
    x, y = np.random.default_rng(0).random((4, 1, 28, 28), np.float32), np.array([1, 2, 3, 4])
    vg.losses.cross_entropy(net(x), y).backward()
    before = [p.grad.copy() for p in net.parameters()]
    net.zero_grad()
    with vg.debug():
        vg.losses.cross_entropy(net(x), y).backward()
    for parameter, gradient in zip(net.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.grad, gradient)


def test_a_gradient_of_a_gradient_is_charged_to_its_op():
    with pytest.raises(NotFiniteError, match=r"Sqrt\.backward gives inf"), vg.debug():
        vg.grad(lambda a: np.sqrt(a))(vg.TensorNode(0.0))


def test_what_infinity_is_not_defined_for():
    with pytest.raises(NotFiniteError, match="from infinite ones, of which that is not defined"), vg.debug():
        vg.softmax(vg.TensorNode(np.array([[-np.inf, -np.inf]])))


def test_gradients_that_add_up_to_infinity():
    x = vg.TensorNode(np.array([1e-10], np.float32))
    with vg.debug():
        y = x * np.float32(1)
        loss = (y * np.float32(3e38)).sum() + (y * np.float32(3e38)).sum()
    with pytest.raises(NotFiniteError, match="add up to what is not finite"):
        loss.backward()


def test_data_that_is_not_there_may_be_filled_in():
    x = vg.TensorNode(np.array([[np.nan, 1.0]]))
    with vg.debug():
        y = np.where(np.isnan(x.value.reshape(2)), 0.0, x.reshape(2)).sum()
    assert y.item() == 1


def test_a_function_that_calls_itself():
    before = np.geterr()

    @vg.debug()
    def f(n):
        return np.exp(vg.TensorNode(1.0)) if n == 0 else f(n - 1)

    f(2)
    assert np.geterr() == before
    assert thread.kind is OpNode


def test_it_ends_and_nests_with_no_grad():
    x = vg.TensorNode([0.0])
    with vg.debug():
        with vg.no_grad():
            assert np.log(x).source is None
        assert type(np.exp(x).source) is not OpNode
    assert thread.kind is OpNode
    assert type(np.exp(x).source) is OpNode

    @vg.debug()
    def f(x):
        return np.log(x)

    for _ in range(2):
        with pytest.raises(NotFiniteError):
            f(x)
    assert thread.kind is OpNode


def test_compiled_functions_run_op_by_op():
    f = vg.compile(lambda x: np.log(x).sum())
    with np.errstate(all="ignore"):
        assert float(f(np.array([1.0, 0.0]))) == -np.inf
    with pytest.raises(NotFiniteError, match=r"Log\.forward"), vg.debug():
        f(vg.TensorNode([1.0, 0.0]))
    data = np.ones((8, 3), np.float32), np.zeros(8, int)
    with pytest.raises(NotFiniteError), vg.debug():
        vg.train.fit(
            vg.nn.Sequential(vg.nn.Linear(3, 2), vg.nn.Softplus(), Exploding()), data, epochs=1, progress=False
        )


def test_ops_of_ones_own_with_several_outputs():
    def forward(context, x):
        return x, np.log(x)

    op = given(forward, lambda context, a, b: a + b)
    with pytest.raises(NotFiniteError, match=r"Given\.forward gives -inf at \[1\]"), vg.debug():
        op.do_forward(vg.TensorNode([1.0, 0.0]))
