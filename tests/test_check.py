"""``vg.gradcheck``: right gradients pass, wrong ones are told why, and what cannot be told is said to be so."""

import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from given import given, keeping
from mutants import mutants
from rows import has_elements

import vugrad as vg
from vugrad import ops
from vugrad.check.compare import gradcheck
from vugrad.check.numeric import slope
from vugrad.check.shrink import diagnose
from vugrad.check.subject import of_op
from vugrad.ops.table import ROWS


def some(*shape):
    return np.random.default_rng(sum(shape)).uniform(0.5, 2, shape)


# --- slopes and their error bars


def on_complex(f):
    def at(t):
        return f(t) if isinstance(t, complex) and t.imag else complex(f(np.float64(np.real(t))))

    return lambda *ts: [at(t) for t in ts]


@pytest.mark.parametrize(
    ("f", "true"),
    [
        (lambda t: np.exp(2 + t), np.exp(2)),
        (lambda t: np.tan(1.5 + t), 1 / np.cos(1.5) ** 2),
        (lambda t: np.sin(1000 * (0.1 + t)), 1000 * np.cos(100)),
        (lambda t: np.abs(1e-3 + t), 1),
        (lambda t: abs(t) * t, 0),
        (lambda t: np.log(0.5 + t), 2),
        (lambda t: np.float64(np.float32(np.sin(0.4 + np.real(t)))), np.cos(0.4)),
        (lambda t: t * 0 + 5, 0),
    ],
    ids=["exp", "steep", "quick", "near a kink", "kink in the slope", "near a pole", "float32", "constant"],
)
def test_a_slope_is_within_its_error_bar(f, true):
    with np.errstate(all="ignore"):
        found = slope(on_complex(f), 0.1, 1.0)
    assert found.method in ("complex step", "differences")
    assert abs(found.value - true) <= found.error + 1e-15 * abs(true)
    assert found.error <= 1e-4 * max(abs(true), 1)


@pytest.mark.parametrize(
    ("f", "left", "right"), [(abs, -1, 1), (lambda t: max(np.real(t), 0), 0, 1)], ids=["|x|", "ReLU"]
)
def test_a_kink_has_two_slopes(f, left, right):
    found = slope(on_complex(f), 0.1, 1.0)
    assert (found.method, round(found.left, 9), round(found.right, 9)) == ("kink", left, right)


@pytest.mark.parametrize("f", [np.sqrt, np.log, np.sign], ids=["edge", "pole", "jump"])
def test_where_there_is_no_slope_none_is_claimed(f):
    with np.errstate(all="ignore"):
        found = slope(on_complex(f), 0.1, 1.0)
    assert found.method == "none" or found.error > 0.1 * abs(found.value)


# --- what is right


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_op_is_right_and_a_smooth_one_twice(row):
    report = gradcheck(row.op, *row.inputs(np.random.default_rng(7)), **row.constants)
    assert report, report
    assert report.elements == sum(np.prod(row.shapes[i], dtype=int) for i in row.real)
    if row.smooth and sum(map(np.prod, row.shapes)) < 40:
        report = gradcheck(row.op, *row.inputs(np.random.default_rng(3)), order=2, **row.constants)
        assert report, report


def test_functions_modules_and_losses():
    x = some(6, 5)
    network = vg.nn.MLP([5, 4, 3], batch_norm=True, dropout=0.3)
    before = network.state_dict()
    report = gradcheck(network, x, order=2)
    assert report, report
    assert report.elements > 2 * (5 * 4 + 4 * 3)
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert gradcheck(lambda x, y: vg.losses.cross_entropy(x, y), some(3, 4), np.array([0, 3, 1]))
    assert gradcheck(lambda x: np.split(np.exp(x), 2), some(4))


@pytest.mark.parametrize("order", [1, 2])
def test_one_node_may_be_two_outputs(order):
    report = gradcheck(lambda x: [np.exp(x)] * 2, some(3), order=order)
    assert report, report


def test_of_many_elements_a_part_is_looked_at_and_a_direction_counts_all():
    assert gradcheck(vg.nn.Linear(40, 30), some(2, 40)).elements == 500

    def forward(context, x):
        context["x"] = x
        return x * x

    def backward(context, go):
        g = 2 * go * context["x"]
        g[-5:] *= 3
        return g

    report = gradcheck(given(forward, backward), some(20_000))
    assert (report.status, report.elements) == ("wrong", 500)
    assert "a random direction" in str(report)


def test_among_many_with_zeros_those_without_a_kink_count():
    x = some(1000)
    x[::3] = 0

    def backward(context, go):
        g = go * (context["x"] > 0)
        g[1:20] *= 1.5
        return g

    relu = keeping(lambda x: np.maximum(x, 0))
    right = gradcheck(given(relu, lambda context, go: go * (context["x"] > 0)), x)
    assert right
    assert right.kinks
    assert gradcheck(given(relu, backward), x).status == "wrong"
    # A tie of two that are not seen is in every direction.
    x = np.append(some(1000), [9.0, 9.0])
    largest = given(keeping(np.max), lambda c, go: go * (np.arange(c["x"].size) == np.argmax(c["x"])))
    report = gradcheck(largest, x)
    assert report.status != "wrong"
    if not report.kinks:
        assert "random direction" in str(report)


def test_kinks_are_said_and_not_counted_as_wrong():
    report = gradcheck(vg.ReLU, np.array([0.0, 1.0, -1.0]))
    assert report
    assert [element.name for element in report.kinks] == ["x[0]"]
    assert "1 elements are at a kink" in str(report)
    assert len(gradcheck(vg.Maximum, np.array([1.0, 2.0]), np.array([1.0, 3.0])).kinks) == 2
    wrong = gradcheck(given(lambda context, x: np.abs(x), lambda context, go: 3 * go), np.zeros(2))
    assert wrong.status == "not established"
    assert "none between" in str(wrong)


def test_what_cannot_be_told_is_not_called_right():
    report = gradcheck(lambda x: np.sqrt(x), np.array([0.0, 1.0]))
    assert report.status == "not established"
    assert not report
    assert "not finite, jumps, or turns" in str(report)


def test_nothing_to_check():
    assert "There is no element to check" in str(gradcheck(vg.Exp, np.zeros((0, 3))))


# --- what is wrong, and why


def division(context, x, y):
    context.update(x=x, y=y)
    return x / y


def linear(context, x, w):
    context.update(x=x, w=w)
    return x @ w.T


def repeated(context, x):
    return np.repeat(x[:, None], 16, axis=1)


def normalize(context, x):
    context.update(x=x, s=np.sum(x, axis=1, keepdims=True))
    return x / context["s"]


def mean_loss(context, x):
    context["x"] = x
    return np.mean(x)


def picked(context, x):
    context["x"] = x
    return x[[0, 1, 0, 2]]


def overwriting(context, go):
    gx = np.zeros_like(context["x"])
    gx[[0, 1, 0, 2]] += go
    return gx


def softmax(context, x):
    e = np.exp(x)
    y = context["y"] = e / np.sum(e, axis=1, keepdims=True)
    return y


def changed_later(context, x):
    y = context["y"] = np.exp(x)
    y += 1
    return y


def tanh(context, x):
    context["y"] = x
    return np.tanh(x)


def plain(context, x, y):
    return x + y


def kept_output(f):
    """A forward that computes ``f`` and saves its output."""

    def forward(context, x):
        context["y"] = f(x)
        return context["y"]

    return forward


cube, root = keeping(lambda x: x**3), kept_output(np.sqrt)
tanh_op, logistic_op = kept_output(np.tanh), kept_output(lambda x: 1 / (1 + np.exp(-x)))


#: The six of the report's section D first: 5 is a gradient that stays at the zeros that it is before any backward, and
#: 6 a step that grows with the batch.
MISTAKES = {
    "D1 division by transposes": (
        (division, lambda c, go: (go / c["y"].T, -go * c["x"].T / c["y"].T ** 2), some(3, 3), some(3, 3) + 1),
        ("transposed", "in the gradient of x the operand y is transposed"),
    ),
    "D1 where that does not fit": (
        (division, lambda c, go: (go / c["y"].T, -go * c["x"].T / c["y"].T ** 2), some(2, 3), some(2, 3) + 1),
        ("transposed", "in the gradient of x the operand y is transposed"),
    ),
    "D2 no upstream gradient and no sum": (
        (linear, lambda c, go: (c["w"], c["x"]), some(4, 3), some(2, 3)),
        ("upstream", "the upstream gradient go is not used"),
    ),
    "D2 transposed": (
        (linear, lambda c, go: (go @ c["w"].T, go.T @ c["x"]), some(4, 3), some(2, 3)),
        ("transposed", "the operand w is transposed"),
    ),
    "D3 the sum over the wrong index": (
        (repeated, lambda c, go: np.sum(go, axis=0), some(4)),
        ("transposed", "summed over the wrong axis"),
    ),
    "D4 the sum over k is lost": (
        (normalize, lambda c, go: go / c["s"] - go * c["x"] / c["s"] ** 2, some(2, 3)),
        ("sum", "other indices on axis 1 too, and the sum over them is missing"),
    ),
    "D5 zeros": (
        (tanh, lambda c, go: 0 * go, some(3)),
        ("nothing", "the gradient of x is 0 here, whatever comes from above"),
    ),
    "D6 a sum in place of a mean": (
        (mean_loss, lambda c, go: go * np.ones_like(c["x"]), some(3, 4)),
        ("factor", "12 times what it should be (12 is x.size)"),
    ),
    "a lost term of softmax": (
        (softmax, lambda c, go: go * c["y"], some(2, 3)),
        ("sum", "the sum over them is missing"),
    ),
    "overwritten": ((picked, overwriting, some(3, 2)), ("overwritten", "only the last one's gradient is kept")),
    "saved, then changed": (
        (changed_later, lambda c, go: go * c["y"], some(3)),
        ("saved", "changes the array that it has saved as context['y']"),
    ),
    "the input saved for the output": (
        (tanh, lambda c, go: go * (1 - c["y"] ** 2), some(3)),
        ("operand", "is meant for the output, and context['y'] is something else"),
    ),
    "not summed to its shape": (
        (plain, lambda c, go: (go, go), some(2, 3), some(3)),
        ("sum", "the sum over axis 0 is missing, along which y was repeated"),
    ),
    "returned in the wrong order": (
        (linear, lambda c, go: (go.T @ c["x"], go @ c["w"]), some(3, 3), some(3, 3)[::-1] + 1),
        ("operand", "what is returned as the gradient of x is that of w"),
    ),
    "1/y² for 1/y": (
        (division, lambda c, go: (go / c["y"] ** 2, -go * c["x"] / c["y"] ** 2), some(2, 3), some(2, 3) + 1),
        ("power", "y stands in the gradient of x to the power -2 in place of -1.\nWrite: 1 / y in place of 1 / y**2"),
    ),
    "1/y for 1/y²": (
        (division, lambda c, go: (go / c["y"], -go * c["x"] / c["y"]), some(2, 3), some(2, 3) + 1),
        ("power", "y stands in the gradient of y to the power -1 in place of -2.\nWrite: 1 / y**2 in place of 1 / y"),
    ),
    "1/y² for 1/y of a row": (
        (
            division,
            lambda c, go: (go / c["y"] ** 2, -np.sum(go * c["x"] / c["y"] ** 2, axis=0)),
            some(2, 3),
            some(3) + 1,
        ),
        ("power", "y stands in the gradient of x to the power -2 in place of -1"),
    ),
    "x for x²": (
        (cube, lambda c, go: 3 * go * c["x"], some(2, 3)),
        ("power", "x stands in the gradient of x to the power 1 in place of 2.\nWrite: x**2 in place of x"),
    ),
    "√x squared": (
        (root, lambda c, go: go / (2 * c["y"] ** 2), some(2, 3)),
        ("power", "y stands in the gradient of x to a power that is 1 too low (y is the output).\nWrite: gx = gx * y"),
    ),
    "s(1 + s)": (
        (logistic_op, lambda c, go: go * c["y"] * (1 + c["y"]), some(2, 3)),
        ("sign", "y * (1 + y) stands where y * (1 - y) belongs (y is the output).\nWrite: go * (y * (1 - y))"),
    ),
    "1 + y² for 1 − y²": (
        (tanh_op, lambda c, go: go * (1 + c["y"] ** 2), some(2, 3)),
        ("sign", "1 + y**2 stands where 1 - y**2 belongs"),
    ),
    "the sign of a sum": (
        (softmax, lambda c, go: c["y"] * (go + np.sum(go * c["y"], axis=1, keepdims=True)), some(2, 3)),
        ("sign", "the term that sums over other outputs has the wrong sign"),
    ),
    "no upstream gradient under the sum": (
        (normalize, lambda c, go: go / c["s"] - np.sum(c["x"], axis=1, keepdims=True) / c["s"] ** 2, some(2, 3)),
        ("upstream", "the upstream gradient go is lost in one term: the others are right"),
    ),
    "no upstream gradient before the sum": (
        (normalize, lambda c, go: 1 / c["s"] - np.sum(go * c["x"], axis=1, keepdims=True) / c["s"] ** 2, some(2, 3)),
        ("upstream", "the upstream gradient go is lost in one term: the others are right"),
    ),
    "x.T @ go": (
        (linear, lambda c, go: (go @ c["w"], c["x"].T @ go), some(2, 3), some(4, 3)),
        (
            "transposed",
            "the gradient of w is transposed: it has shape (3, 4), and w has (4, 3).\n"
            "Write: gw = go.T @ x, in place of x.T @ go",
        ),
    ),
    "x.T @ go of squares": (
        (linear, lambda c, go: (go @ c["w"], c["x"].T @ go), some(3, 3), some(3, 3)[::-1] + 1),
        ("transposed", "the gradient of w is transposed.\nWrite: gw = go.T @ x, in place of x.T @ go"),
    ),
    "go.T @ x of weights (in, out)": (
        (
            lambda c, x, w: (c.update(x=x, w=w), x @ w)[1],
            lambda c, go: (go @ c["w"].T, go.T @ c["x"]),
            some(2, 3),
            some(3, 4),
        ),
        ("transposed", "Write: gw = x.T @ go, in place of go.T @ x"),
    ),
    "no derivative": ((changed_later, lambda c, go: go, some(3)), ("derivative", "own derivative is missing")),
    "only the first of a batch": (
        (plain, lambda c, go: (go, go[0]), some(2, 3), some(3)),
        ("sum", "of axis 0 of go only the first counts"),
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named(name):
    (forward, backward, *xs), (kind, text) = MISTAKES[name]
    report = gradcheck(given(forward, backward), *xs)
    assert report.status == "wrong"
    assert text in report.diagnosis, report.diagnosis
    assert diagnose(report.subject).mistake.kind == kind
    assert "The smallest case" in report.diagnosis
    assert "Write: " in report.diagnosis


def test_every_message_calls_a_transposed_gradient_so():
    for xs in ((some(2, 3), some(4, 3)), (some(3, 3), some(3, 3)[::-1] + 1)):
        wrong = given(linear, lambda c, go: (go @ c["w"], c["x"].T @ go))
        assert "the gradient of w is transposed" in str(gradcheck(wrong, *xs))
        proof = vg.prove(wrong, *xs)
        assert proof.status == "refuted"
        assert re.search(r"^  gw\[a,b\] = .* not the same: it is transposed$", str(proof), re.MULTILINE)
    assert "of shape (3, 4) for w of shape (4, 3): it is transposed" in vg.prove(wrong, (2, 3), (4, 3)).text


def test_a_term_without_the_upstream_gradient_is_not_linear():
    report = gradcheck(given(normalize, lambda c, go: go / c["s"] - c["x"] / c["s"] ** 2), some(2, 3))
    assert (
        "not linear: for an upstream gradient of 0, the gradient of x is not 0. Multiply each of its terms"
        in report.text
    )


def test_the_smallest_case_is_worked_out_by_hand():
    (forward, backward, x), _ = MISTAKES["D4 the sum over k is lost"]
    text = str(gradcheck(given(forward, backward), x))
    assert text.splitlines()[3:] == [
        "The smallest case, Given of (1, 2):",
        "  x = [[1. 2.]]",
        "  go = [[2. 3.]]",
        "  x[0, 0] reaches y[0, 0], y[0, 1]: gx[0, 0] = 2 · (0.2222) + 3 · (-0.2222) = -0.2222",
        "  the code gives 0.4444",
    ]


@pytest.mark.parametrize("share", [1.001, 0.999])
def test_an_error_of_a_thousandth_is_caught_anywhere(share):
    x = some(3, 4)
    for place in np.ndindex(3, 4):

        def backward(context, go, place=place):
            g = go * np.exp(context["x"])
            g[place] *= share
            return g

        def forward(context, x):
            context["x"] = x
            return np.exp(x)

        report = gradcheck(given(forward, backward), x)
        assert [element.at for element in report.wrong] == [place]
        assert "No known mistake makes its numbers what they are" in str(report)


#: Built-in backwards with one part changed, and the kind of mistake that this is.
CHANGED = [
    *(
        (o, "upstream lost", "upstream")
        for o in (ops.Exp, ops.Tanh, ops.Sin, ops.Log, ops.Sigmoid, ops.Softplus, ops.GELU)
    ),
    *((o, "derivative lost", "derivative") for o in (ops.Exp, ops.Sqrt, ops.SiLU, ops.Square, ops.Tan)),
    *((o, "sign", "sign") for o in (ops.Exp, ops.Cos, ops.Reciprocal, ops.Softmax, ops.LogSumExp, ops.Power)),
    *((o, "no sum_to", "sum") for o in (ops.Add, ops.Sub, ops.Multiply, ops.Divide, ops.Where, ops.Maximum)),
    (ops.Negative, "no minus", "sign"),
    (ops.Erf, "0.5 → 1.5", "factor"),
    (ops.Mean, "Div → Mult", "factor"),
    (ops.Var, "left operand alone", "factor"),
    (ops.AvgPool2d, "left operand alone", "factor"),
    (ops.MatrixMultiply, "no swapaxes", "transposed"),
    (ops.ReLU, "upstream lost", "upstream"),
    (ops.MaxPool2d, "right operand alone", "upstream"),
    (ops.Maximum, "turned comparison", "operand"),
]


@pytest.mark.parametrize(("changed", "words", "kind"), CHANGED, ids=lambda value: getattr(value, "__name__", value))
def test_a_changed_backward_is_named(changed, words, kind):
    kinds = set()
    for name, mutant in mutants(changed):
        if name == words:
            for row in ROWS:
                if row.op is changed and has_elements(row):
                    found = diagnose(of_op(mutant, row.inputs(np.random.default_rng(0)), row.constants))
                    kinds |= {found.mistake.kind} if found else set()
    assert kind in kinds


def test_the_wrong_op_in_a_network_is_found():
    wrong = given(normalize, lambda c, go: go / c["s"] - go * c["x"] / c["s"] ** 2)
    report = gradcheck(lambda x, w: np.exp(wrong.do_forward(np.exp(x))) @ w, some(2, 3), some(3, 2))
    assert report.status == "wrong"
    assert "The first op in it that is wrong is\nGiven of x (2, 3): wrong" in str(report)
    assert "the sum over them is missing" in str(report)


def test_a_number_that_leaves_the_graph():
    report = gradcheck(lambda x: x * x.value, some(3))
    assert report.status == "wrong"
    assert "does a number leave the graph" in str(report)


def test_a_wrong_second_derivative_is_found():
    def forward(context, x):
        context["x"] = x
        return np.exp(x)

    frozen = given(forward, lambda c, go: go * np.exp(getattr(c["x"], "value", c["x"])))
    assert gradcheck(frozen, some(3))
    report = gradcheck(frozen, some(3), order=2)
    assert report.status == "wrong"
    assert "the gradient of Given" in str(report)


# --- what is easily taken for the other


def second_three_times(context, go):
    g = 2 * go * context["x"]
    return g * np.array([1, 3])


def square(context, x):
    context["x"] = x
    return x * x


def apart(context, a, b):
    return 3 * a + 2 * b


def scales(context, a, b):
    return a * 1e8, b * 1e-6


TINY = np.array([1e-10, 1.0])
#: Wrong ones that must not be called right.
NOT_RIGHT = {
    "beside a tiny input": (apart, lambda c, go: (6 * go, 2 * go), np.ones(3), np.full(3, 1e-12)),
    "beside a huge element": (square, second_three_times, np.array([1e8, 1e-3])),
    "outputs of two scales": (scales, lambda c, go, ho: (1e8 * go, 2e-6 * ho), np.ones(2), np.ones(2)),
    "below a large constant": (keeping(lambda x: 1e6 + 1e-7 * x), lambda c, go: 1e-6 * go, np.ones(2)),
    "clipped": (keeping(lambda x: 2 * x), lambda c, go: 2 * np.clip(go, -5, 5), np.ones(2)),
    "rectified": (keeping(lambda x: np.maximum(x, 0)), lambda c, go: go * (go > 0), np.array([1.0, -2])),
    "all that tie": (keeping(np.max), lambda c, go: go * (c["x"] == np.max(c["x"])), np.ones(3)),
    "rounded away": (
        keeping(np.exp),
        lambda c, go: go * (np.exp(c["x"] + 1e-15) - np.exp(c["x"])) / 1e-15,
        np.ones(2),
    ),
    "none that tie": (keeping(np.max), lambda c, go: 0 * go * c["x"], np.full(2, 2.0)),
    "in lower precision": (
        keeping(lambda x: np.sum(x.astype(np.float32) ** 2)),
        lambda c, go: 3 * go * c["x"],
        np.array([1.0, -3]),
    ),
}
NOT_RIGHT |= {
    "many that tie in two inputs": (
        lambda c, x, y: (c.update(x=x, y=y), np.maximum(x, y))[1],
        lambda c, go: (go * (c["x"] >= c["y"]), go * (c["y"] >= c["x"])),
        np.zeros(13),
        np.zeros(13),
    ),
    "divided by the upstream gradient": (keeping(np.square), lambda c, go: go * go * 2 * c["x"] / go, np.ones(3)),
    "another for an upstream 0": (
        keeping(np.square),
        lambda c, go: np.where(go == 0, 1, go * 2 * c["x"]),
        np.ones(3),
    ),
    "bounded far away": (keeping(np.square), lambda c, go: np.clip(go, -1e9, 1e9) * 2 * c["x"], np.ones(3)),
    "opposite signs that tie": (
        keeping(lambda x: np.max(np.abs(x))),
        lambda c, go: go * np.sign(c["x"]) * (np.abs(c["x"]) == np.max(np.abs(c["x"]))),
        np.array([1.0, -1.0, 0.5]),
    ),
    "two inputs that tie": (
        lambda c, x, y: (c.update(x=x, y=y), np.maximum(x, y))[1],
        lambda c, go: (go * (c["x"] >= c["y"]), go * (c["y"] >= c["x"])),
        np.array([1.0, 2.0, 3.0]),
        np.array([1.0, 2.0, 0.0]),
    ),
    "two kinks at once": (
        keeping(lambda x: np.max(np.maximum(x, 0).reshape(2, 2), axis=1)),
        lambda c, go: np.repeat(go, 2),
        np.zeros(4),
    ),
    "saturated": (
        keeping(lambda x: 1 / (1 + np.exp(-x))),
        lambda c, go: -go * np.exp(-np.abs(c["x"])),
        np.array([40.0, 50.0, -40.0, 60.0]),
    ),
}


def logistic(x):
    return 1 / (1 + np.exp(-x))


#: Right ones that must not be called wrong.
NOT_WRONG = {
    "small beside 1": (
        keeping(lambda x: np.log(1 + np.exp(x))),
        lambda c, go: go * logistic(c["x"]),
        -np.arange(28, 31.0),
    ),
    "1 less nearly 1": (
        keeping(lambda x: 1 - logistic(x)),
        lambda c, go: -go * logistic(c["x"]) * logistic(-c["x"]),
        np.array([28.0, 30, 33]),
    ),
    "flat at 0": (keeping(lambda x: 1 - np.cos(x)), lambda c, go: go * np.sin(c["x"]), np.array([1e-7, 3e-7])),
    "tiny inputs": (keeping(lambda x: np.exp(x) - 1), lambda c, go: go * np.exp(c["x"]), np.array([1e-13, 3e-13])),
    "mean in lower precision": (
        keeping(lambda x: np.mean(x.astype(np.float32) ** 2)),
        lambda c, go: 2 * go * c["x"] / c["x"].size,
        np.random.default_rng(11).normal(size=(2, 3)),
    ),
    "steps": (keeping(lambda x: np.round(x, 6)), lambda c, go: 0 * go, np.array([0.1, 0.2])),
    "subnormal": (keeping(np.exp), lambda c, go: go * np.exp(c["x"]), np.array([-735.0, -740.0])),
    "backward in lower precision": (
        keeping(lambda x: x @ x.T),
        lambda c, go: (go + go.T).astype(np.float32) @ c["x"].astype(np.float32),
        np.random.default_rng(0).normal(size=(9, 20)),
    ),
    "a saturated loss": (
        lambda c, x: ops.CrossEntropy.forward(c, x, np.array([0])),
        lambda c, go: ops.CrossEntropy.backward(c, go)[0],
        np.array([[30.0, 0.0, -1.0]]),
    ),
    "steep at 0": (
        keeping(lambda x: np.sign(x) * np.sqrt(np.abs(x))),
        lambda c, go: go * 0.5 / np.sqrt(np.abs(c["x"])),
        TINY,
    ),
    "cube root": (keeping(np.cbrt), lambda c, go: go / 3 / np.cbrt(c["x"]) ** 2, TINY),
    "step": (keeping(lambda x: np.tanh(1e9 * x)), lambda c, go: go * 1e9 * (1 - np.tanh(1e9 * c["x"]) ** 2), TINY * 0),
    "lower precision": (
        keeping(lambda x: np.sum(x.astype(np.float32) ** 2)),
        lambda c, go: 2 * go * c["x"],
        np.array([1e4, -3.0]),
    ),
    "near a kink": (
        keeping(lambda x: np.maximum(x, 0)),
        lambda c, go: go * (c["x"] > 0),
        np.array([1e-4, -1e-3, 1e-6]),
    ),
}


@pytest.mark.parametrize("name", NOT_RIGHT)
def test_it_is_not_called_right(name):
    forward, backward, *xs = NOT_RIGHT[name]
    report = gradcheck(given(forward, backward), *xs)
    assert report.status != "checked", report


@pytest.mark.parametrize("name", NOT_WRONG)
def test_it_is_not_called_wrong(name):
    forward, backward, *xs = NOT_WRONG[name]
    report = gradcheck(given(forward, backward), *xs)
    assert report.status != "wrong", report


def test_what_is_kept_outside_of_the_context():
    class Kept(vg.Op):
        """It keeps its input on the class, where the next call writes over it."""

        @staticmethod
        def forward(context, x):
            Kept.x = x
            return x * x

        @staticmethod
        def backward(context, go):
            return 2 * go * Kept.x

    assert "uses what a later forward has changed" in str(gradcheck(Kept, some(3)))

    class Mask(vg.Op):
        """It keeps what does not change with the size of its input."""

        @staticmethod
        def forward(context, x):
            Mask.positive = x > 0
            return np.maximum(x, 0)

        @staticmethod
        def backward(context, go):
            return go * Mask.positive

    assert "uses what a later forward has changed" in str(gradcheck(Mask, np.array([1.0, -2.0])))
    report = gradcheck(lambda x: vg.gelu(Mask.do_forward(Mask.do_forward(x) + 0.5)), np.array([1.0, 0.25, -2.0]))
    assert "The first op in it that is wrong is\nMask" in str(report)


def power(context, x):
    context["x"] = x
    return x**3


def test_a_factor_is_called_an_extent_only_if_it_follows_it():
    lost = given(power, lambda c, go: go * c["x"] ** 2)
    text = gradcheck(lost, some(3)).diagnosis
    assert "is 0.3333 times what it should be.\n" in text
    mean = given(mean_loss, lambda c, go: go * np.ones_like(c["x"]))
    scaled = given(
        lambda context, x, scale=3.0: (context.update(x=x), scale * x**3)[1], lambda c, go: 3 * go * c["x"] ** 2
    )
    assert "(3 is scale)" in gradcheck(scaled, some(2), scale=3.0).diagnosis
    assert (
        "is 0.3333 times what it should be.\n"
        in gradcheck(
            given(
                lambda context, x, scale=3.0: (context.update(x=x, s=scale), scale * x**3)[1],
                lambda c, go: go * c["s"] * c["x"] ** 2,
            ),
            some(2),
            scale=3.0,
        ).diagnosis
    )
    assert "3 times what it should be (3 is x.shape[0])" in gradcheck(mean, some(3)).diagnosis
    share = given(keeping(lambda x: x / x.size), lambda c, go: go)
    assert "seen at other inputs than those given" in gradcheck(share, some(450)).diagnosis


def test_gradients_are_called_exchanged_only_if_they_are():
    both = given(lambda context, a, b: 3 * a * a * b, lambda c, go: (go, go))
    assert not gradcheck(both, some(2), some(2)).diagnosis.count("is returned as the gradient")
    apart = given(lambda context, a, b: (context.update(a=a, b=b), np.exp(a) * b)[1], same_twice)
    text = gradcheck(apart, some(3), some(3)).diagnosis
    assert "the gradient of a is that of b" in text
    assert "differentiate by a" in text


def test_the_smallest_case_is_at_no_kink():
    clip = given(keeping(lambda x: np.clip(x, -1, 1)), lambda c, go: 3 * go * (np.abs(c["x"]) <= 1))
    text = gradcheck(clip, np.array([0.3, -0.5, 0.7, 2.0])).diagnosis
    assert text.endswith("gx[0] = 2 · (1) = 2\n  the code gives 6"), text


def overwriting_the_output(context, go):
    y = context["y"]
    y *= y
    y -= 1
    y *= -go
    return y


def test_an_output_that_backward_writes_into():
    def forward(context, x):
        context["y"] = np.tanh(x)
        return context["y"]

    report = gradcheck(given(forward, overwriting_the_output), some(3))
    assert "writes into the output" in str(report)

    def copied(context, x):
        context["y"] = np.tanh(x)
        return context["y"] + 0

    report = gradcheck(given(copied, overwriting_the_output), some(3))
    assert "another gradient the second time" in str(report)


@pytest.mark.parametrize("f", [vg.relu, np.abs, lambda x: np.clip(x, -1, 1), lambda x: np.max(x, axis=1)])
def test_kinks_close_by_do_not_hide_what_is_right(f):
    for seed in range(2):
        report = gradcheck(f, np.random.default_rng(seed).normal(size=(20, 20)))
        assert report, report


def test_kinks_that_cancel_are_no_leak():
    report = gradcheck(lambda x: np.maximum(x, 0) - np.maximum(-x, 0), np.array([0.0, 1.0]))
    assert report.status == "wrong"
    assert "some are at a kink" in report.diagnosis


def test_the_axis_that_a_factor_follows():
    mean = given(keeping(lambda x: np.mean(x, axis=1)), lambda c, go: go[:, None] * np.ones_like(c["x"]))
    assert "(4 is x.shape[1])" in gradcheck(mean, some(4, 4)).diagnosis


def test_a_sum_that_no_sum_to_makes():
    def forward(context, w, x):
        context.update(w=w, x=x)
        return w @ x

    op = given(forward, lambda c, go: (np.outer(go, c["x"]), (c["w"].T * go)))
    text = gradcheck(op, some(3, 3), some(3)).diagnosis
    assert "gx = np.sum(gx, axis=1)" in text
    assert "sum_to" not in text


def test_a_context_that_backward_writes_into():
    def forward(context, x):
        context["e"] = context["s"] = np.exp(x)
        return context["e"].sum()

    def backward(context, go):
        g = context["e"]
        g *= 3
        return go * context["s"]

    text = gradcheck(given(forward, backward), some(2)).diagnosis
    assert "backward writes into an array of the context" in text


def same_twice(context, go):
    g = go * np.exp(context["a"])
    return g, g


def test_whole_numbers_alone_are_not_checked():
    with pytest.raises(TypeError, match=r"which have no derivative: write 3\.0 for 3"):
        gradcheck(vg.ops.Square, np.array([1, 2, 3]))


# --- ops that misbehave, and what is no op


def twice(context, x):
    return 2 * x


def doubling(context, x):
    x *= 2
    return x


def into_go(context, go):
    go *= 2
    return go


FAULTS = {
    "two gradients for one": (twice, lambda c, go: (2 * go, go), "Given.backward returns 2 gradient(s) for 1 input(s)"),
    "none": (twice, lambda c, go: None, "returns None where the gradient of x belongs: is its return missing?"),
    "a text": (twice, lambda c, go: "2", "returns str for the gradient of x"),
    "another shape": (twice, lambda c, go: np.ones(7), "returns a gradient of shape (7,) for x of shape (3,)"),
    "raises": (twice, lambda c, go: go * c["x"], "Given.backward raises KeyError: 'x'"),
    "random": (twice, lambda c, go: go * np.random.default_rng().random(), "another gradient each time"),
    "random forward": (lambda c, x: x * np.random.default_rng().random(), lambda c, go: go, "other numbers each time"),
    "writes into its input": (doubling, lambda c, go: 2 * go, "Given.forward writes into x"),
    "writes into go": (twice, into_go, "Given.backward writes into go"),
    "no value": (lambda c, x: None, lambda c, go: go, "Given.forward returns None"),
    "NaN": (twice, lambda c, go: go * np.nan, "3 of 3 elements are wrong"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_its_own_message(name):
    forward, backward, text = FAULTS[name]
    x = some(3)
    report = gradcheck(given(forward, backward), x)
    assert report.status == "wrong"
    assert text in str(report)
    np.testing.assert_array_equal(x, some(3))


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (3, "gradcheck takes an Op, a Module or a function of nodes, and not int 3"),
        (vg.TensorNode, "and not the class TensorNode"),
        (lambda x: x.value, "the function returns ndarray, not a node"),
    ],
    ids=["a number", "a class", "an array function"],
)
def test_what_is_no_op(f, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        gradcheck(f, some(2))


def test_without_sympy_gradients_are_checked_and_proofs_say_what_they_need():
    code = """
        import sys
        sys.modules["sympy"] = None
        import numpy as np, vugrad as vg
        assert vg.gradcheck(vg.Exp, np.ones(2))
        try:
            vg.prove
        except ImportError as error:
            assert "proofs need SymPy: pip install 'vugrad[lab]'" in str(error), error
        else:
            raise AssertionError
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)


def test_inputs_that_do_not_fit():
    with pytest.raises(ValueError, match=r"BatchMM of w \(2, 3\), x \(2, 4\): .*number of input features"):
        gradcheck(vg.BatchMM, some(2, 3), some(2, 4))
    with pytest.raises(
        TypeError, match=r"arrays of real or whole numbers, or shapes as \(2, 3\), and not of complex128"
    ):
        gradcheck(vg.Exp, np.ones(2, complex))
    with pytest.raises(ValueError, match="order is 1, or 2"):
        gradcheck(vg.Exp, np.ones(2), order=3)
