"""``vg.prove``: every op of the table on symbols, what is wrong refuted, and nothing claimed that was not shown."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from given import given, keeping
from mutants import mutants

import vugrad as vg
from vugrad import ops
from vugrad.check.cases import Branch, Case, Equal, First, Largest, Less, LessEqual, cases, point
from vugrad.check.proof import prove, prove_row
from vugrad.check.zero import exact, is_zero
from vugrad.ops.table import ROWS

X, Y, Z = sp.symbols("x y z", real=True)
P = sp.symbols("p", positive=True)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_op_is_proven(row):
    proof = prove_row(row, seconds=60)
    assert proof.status == "proven", proof
    assert proof.elements == sum(math.prod(row.shapes[i]) for i in row.real)


def changed(op, words):
    return next(mutant for name, mutant in mutants(op) if name == words)


@pytest.mark.parametrize(
    ("op", "words"),
    [
        (ops.Exp, "upstream lost"),
        (ops.Tanh, "sign"),
        (ops.Sigmoid, "1 → 2"),
        (ops.Divide, "Div → Mult"),
        (ops.Normalize, "Sub → Add"),
        (ops.Softmax, "left operand alone"),
        (ops.ReLU, "turned comparison"),
        (ops.LayerNorm, "Sub → Add"),
        (ops.Mean, "Div → Mult"),
        (ops.GELU, "left operand alone"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_wrong_backward_is_refuted_at_numbers(op, words):
    row = next(row for row in ROWS if row.op is op)
    proof = prove_row(replace(row, op=changed(op, words)))
    assert proof.status == "refuted"
    assert not proof
    found = re.search(r"; (with .* )?that is (\S+), not (\S+)$", proof.text)
    assert found, proof.text
    assert float(found[2]) != pytest.approx(float(found[3]), rel=1e-6)


def test_an_error_of_a_thousandth_is_refuted():
    class Almost(vg.Op):
        """y = x²;  gx = 2.001 x go."""

        @staticmethod
        def forward(context, x):
            context["x"] = x
            return x * x

        @staticmethod
        def backward(context, go):
            return 2.001 * context["x"] * go

    assert prove(Almost).status == "refuted"


class Loud(vg.Op):
    """An op whose body cannot be recorded."""

    @staticmethod
    def forward(context, x):
        context["x"] = x
        return x * (1 if float(x.sum()) > 0 else 2)

    @staticmethod
    def backward(context, go):
        return go * (1 if float(context["x"].sum()) > 0 else 2)


class NoReturn(vg.Op):
    """An op that returns nothing."""

    @staticmethod
    def forward(context, x):
        return 2 * x

    @staticmethod
    def backward(context, go):
        2 * go


def test_what_cannot_be_recorded_is_not_established():
    proof = prove(Loud)
    assert proof.status == "not established"
    assert "needs the numbers of an array" in proof.text


def test_what_is_not_linear_is_refuted():
    for backward in (lambda c, go: go * go * 2 * c["x"] / go, lambda c, go: np.where(go == 0, 1, 2 * go * c["x"])):
        proof = prove(given(keeping(np.square), backward), [(2,)])
        assert proof.status == "refuted"
        assert "is not linear" in proof.text


def test_a_fault_is_refuted():
    assert "returns None where the gradient of x belongs" in prove(NoReturn).text


def test_whole_numbers_are_tried_in_several_sets():
    power = next(row for row in ROWS if row.op is ops.Power and row.whole.get(1))
    proof = prove_row(replace(power, op=changed(ops.Power, "0 → 1")))
    assert proof.status == "refuted", proof


def test_an_equality_that_always_holds_is_no_tie():
    def f(x):
        return np.where(np.arcsin(x) + np.arccos(x) == np.pi / 2, 2 * x, x)

    proof = prove(given(keeping(f), lambda context, go: go), [(2,)])
    assert proof.status == "not established"
    assert "is a matter of rounding" in proof.text


def test_truth_values_are_numbers():
    clip = given(keeping(lambda x: np.clip(x, -1, 1)), lambda c, go: go * ((c["x"] > -1) & (c["x"] < 1)))
    assert prove(clip, [(2,)]).status == "proven"
    step = given(keeping(lambda x: np.where(x > 50, 2, x > 0)), lambda c, go: 0 * go)
    assert prove(step, [(2,)]).status == "proven"


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.take_along_axis(x, np.argmax(x, axis=1)[:, None], axis=1),
        lambda x: x + 1 / np.where(x > 0, 0.0, 0.0),
    ],
    ids=["places that depend on numbers", "1/0"],
)
def test_what_has_no_meaning_on_symbols_is_not_established(f):
    assert prove(given(keeping(f), lambda c, go: go + 0 * c["x"]), [(2, 3)]).status == "not established"


BY_FLOATS = {
    "whole": (lambda x: x.astype(np.int64) * 1.0, lambda x, go: go * 1.0),
    "truth": (lambda x: x * x / 2, lambda x, go: go * x.astype(bool)),
    "a sum of truths": (lambda x: np.where(x > 0, 2 * x, 0.0), lambda x, go: go * ((x > 0) + (x > 0))),
    "bits": (lambda x: np.where(x > 0, 0, x), lambda x, go: go * ~(x > 0).astype(int)),
    "bytes": (lambda x: np.where(x > 0, 0, -x), lambda x, go: go * ((x > 0).astype(np.uint8) - np.uint8(1))),
    "a sign of 0": (lambda x: 1.0 * x, lambda x, go: go * np.sign(np.maximum(x, 0))),
    "another sign of 0": (np.abs, lambda x, go: go * np.sign(np.maximum(x, 0))),
    "NaN": (lambda x: np.where(np.isnan(np.sqrt(x)), x, 2 * x), lambda x, go: 2 * go),
    "infinity": (lambda x: np.where(np.isinf(1 / np.maximum(x, 0)), 5 * x, x), lambda x, go: go * 1.0),
    "NaN beside itself": (lambda x: np.where(np.log(x) <= np.log(x), x, 3 * x), lambda x, go: go * 1.0),
    "a smaller domain": (lambda x: x * x, lambda x, go: 2 * go * np.exp(np.log(x))),
    "ties all over": (
        lambda x: np.where(np.maximum(x, 0) < 0, 5 * x, x),
        lambda x, go: go * np.where(x > 0, 1.0, 5.0),
    ),
}


@pytest.mark.parametrize("name", BY_FLOATS)
def test_what_floats_do_otherwise_is_not_proven(name):
    f, backward = BY_FLOATS[name]
    proof = prove(given(keeping(f), lambda c, go: backward(c["x"], go)), [(2,)])
    assert proof.status != "proven", proof
    assert proof.derivation is None or not proof.derivation.established


#: Right but at single points, where algebra has x/x for 1 and ties are left out, and the forward is smooth.
AT_POINTS = {
    "a product by division": (lambda x: x * x[::-1], lambda x, go: go * (x * x[::-1]) / x + (go * x)[::-1]),
    "not at 0": (lambda x: 1.0 * x, lambda x, go: go * (x != 0)),
    "a sign, squared": (lambda x: 3 * x, lambda x, go: 3 * go * np.sign(x) ** 2),
    "cancelled": (lambda x: x * x, lambda x, go: 2 * go * x**2 / x),
    "sizes": (lambda x: 1.0 * x, lambda x, go: go * np.abs(x) / np.abs(x)),
    "sinc": (
        lambda x: np.where(x == 0, 1, np.sin(x) / np.where(x == 0, 1, x)),
        lambda x, go: go * (np.cos(x) / x - np.sin(x) / x**2),
    ),
    "at 7": (lambda x: x * x, lambda x, go: go * (2 * x + 0 / (x - 7))),
    "at 3.5": (lambda x: x * x, lambda x, go: 2 * go * x * (4 * x * x - 49) / (4 * x * x - 49)),
    "Huber's corner": (
        lambda x: np.where(np.abs(x) < 2, x * x / 2, 2 * np.abs(x) - 2),
        lambda x, go: go * ((np.abs(x) < 2) * x + (np.abs(x) > 2) * 2 * np.sign(x)),
    ),
    "where the largest is 2": (lambda x: x * x, lambda x, go: 2 * go * x * (np.max(x) != 2)),
    "where two are equal": (lambda x: x * x, lambda x, go: 2 * go * x * (x[0] - x[1]) / (x[0] - x[1])),
}


@pytest.mark.parametrize("name", AT_POINTS)
def test_what_is_wrong_at_single_points_is_refuted(name):
    f, backward = AT_POINTS[name]
    proof = prove(given(keeping(f), lambda c, go: backward(c["x"], go)), [(2,)])
    assert proof.status == "refuted", proof
    assert proof.text.startswith("algebra alone does not show it, but at x = [")
    assert proof.derivation is None or not proof.derivation.established


OUTSIDE = {
    "by sizes": (np.log, lambda x, go: go / np.abs(x)),
    "zero outside": (np.log, lambda x, go: go * np.where(x > 0, 1 / x, 0)),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_outside_of_its_domain_nothing_is_asked(name):
    f, backward = OUTSIDE[name]
    proof = prove(given(keeping(f), lambda c, go: backward(c["x"], go)), [(2,)])
    assert proof.status == "proven", proof


NOT_REFUTED = {
    "a root, squared": (lambda x: np.sqrt(x) ** 2, lambda x, go: go * (x > 0)),
    "through a logarithm": (lambda x: np.exp(0.5 * np.log(x)) ** 2, lambda x, go: go * (x > 0)),
    "at the edge": (np.sqrt, lambda x, go: go / 2 / np.sqrt(x)),
    "the upper side": (lambda x: np.maximum(x, 0), lambda x, go: go * (x >= 0)),
    "a root of both signs": (
        lambda x: np.sqrt(x) * np.sqrt(x + 1),
        lambda x, go: go * 0.5 * (np.sqrt((x + 1) / x) + np.sqrt(x / (x + 1))),
    ),
    "a power": (lambda x: x**1.5, lambda x, go: go * 1.5 * np.sqrt(np.maximum(x, 0))),
    "rounded constants": (lambda x: x * 1e6 / 3, lambda x, go: go * (1e6 / 3)),
}


@pytest.mark.parametrize("name", NOT_REFUTED)
def test_what_is_right_in_its_domain_is_not_refuted(name):
    f, backward = NOT_REFUTED[name]
    assert prove(given(keeping(f), lambda c, go: backward(c["x"], go)), [(2,)]).status != "refuted"


def test_a_sign_of_what_is_rectified():
    relu = given(keeping(lambda x: np.maximum(x, 0)), lambda c, go: go * np.sign(np.maximum(c["x"], 0)))
    assert prove(relu, [(2,)]).status == "proven"


def test_input_and_upstream_gradient_of_one_name():
    def forward(context, g):
        context["x"] = g
        return g * g

    assert prove(given(forward, lambda context, g: 2 * g * context["x"]), [(2,)]).status == "proven"
    assert prove(given(forward, lambda context, g: g * context["x"]), [(2,)]).status == "refuted"


def test_numbers_are_found_in_every_case():
    pool = [row for row in ROWS if row.op is ops.MaxPool2d and "padding" in row.constants][-1]
    assert prove_row(replace(pool, op=changed(ops.MaxPool2d, "no transpose"))).status == "refuted"
    case = Case(((X, sp.Integer(-1)), (Y, X), (sp.Integer(2), P), (Z, P)))
    values = point(case, [X, Y, Z, P])
    assert values[Y] < values[X] < -1
    assert max(2, values[Z]) < values[P]


def test_when_the_time_is_up_nothing_is_claimed():
    proof = prove(vg.LayerNorm, [(2, 4), (4,), (4,)], seconds=0)
    assert proof.status == "not established"
    assert "the time ran out at x[0, 0]" in proof.text


def test_what_is_too_long_for_algebra_is_not_begun():
    def forward(context, w):
        h = context["h"] = w
        for _ in range(6):
            h = np.tanh(h @ w)
        return h

    proof = prove(given(forward, lambda context, go: go), [(3, 3)])
    assert "parts is too long for algebra" in proof.text


def test_loops_over_elements_have_no_formula_by_index():
    def forward(context, x):
        context["x"] = x
        return np.stack([2 * x[i] for i in range(x.shape[0])])

    proof = prove(given(forward, lambda context, go: 2 * go), [(3,)])
    assert (proof.status, proof.derivation) == ("proven", None)


def test_bad_input():
    with pytest.raises(TypeError, match="prove takes an Op, the class itself, and not 3:"):
        prove(3)
    with pytest.raises(TypeError, match=r"for functions there is vg\.gradcheck"):
        prove(lambda x: x)
    with pytest.raises(ValueError, match=r"BatchMM of w \(2, 3\), x \(2, 4\): .*number of input features"):
        prove(vg.BatchMM, [(2, 3), (2, 4)])


def test_a_proof_is_printed_as_its_derivation():
    proof = prove(vg.BatchMM, [(2, 3), (4, 3)])
    assert str(proof).splitlines()[:2] == [
        "BatchMM 2x3,4x3: proven. 18 elements",
        "BatchMM of w (N×M), x (P×M), by index, from the code of forward:",
    ]
    assert "gx[a,b] = Σ_j go[a,j] w[j,b]    the same ∎" in str(proof)
    assert r"\begin{align*}" in proof._repr_latex_()


def test_without_an_index_form_one_element_is_worked_out():
    proof = prove(vg.ops.AvgPool2d, [(1, 1, 1, 3)], kernel=(1, 2), stride=(1, 1))
    assert str(proof).splitlines() == [
        "AvgPool2d 1x1x1x3 kernel=(1,2) stride=(1,1): proven. 3 elements",
        "gx[0, 0, 0, 0] = Σ go[0, 0, 0, 0] · ∂/∂x[0, 0, 0, 0] (x[0, 0, 0, 0]/2 + x[0, 0, 0, 1]/2)",
        "  = go[0, 0, 0, 0] · (1/2)",
        "  = go[0, 0, 0, 0]/2, what the code computes",
    ]
    assert proof._repr_latex_() is None
    branching = prove(vg.ops.MaxPool2d, [(1, 1, 1, 2)], kernel=(1, 2), stride=(1, 1))
    assert str(branching).splitlines() == [
        "MaxPool2d 1x1x1x2 kernel=(1,2) stride=(1,1): proven. 2 elements, in up to 2 cases each",
        "where x[0, 0, 0, 1] < x[0, 0, 0, 0]:",
        "gx[0, 0, 0, 0] = Σ go[0, 0, 0, 0] · ∂/∂x[0, 0, 0, 0] (x[0, 0, 0, 0])",
        "  = go[0, 0, 0, 0] · (1)",
        "  = go[0, 0, 0, 0], what the code computes",
    ]


def test_the_default_shapes_are_those_of_the_table_or_two_by_three():
    assert prove(vg.Normalize).name == "Normalize 3x4"
    Cube = vg.elementwise(lambda x: x**3, lambda x: 3 * x**2, "Cube")
    proof = prove(Cube)
    assert (proof.name, proof.status, proof.elements) == ("Cube 2x3", "proven", 6)


# --- exact numbers, zeros, and cases


@pytest.mark.parametrize(
    ("number", "meant"),
    [
        (0.1, sp.Rational(1, 10)),
        (1e-5, sp.Rational(1, 100000)),
        (1 / 3, sp.Rational(1, 3)),
        (0.5**0.5, sp.sqrt(2) / 2),
        (2 / np.pi**0.5, 2 / sp.sqrt(sp.pi)),
        ((2 * np.pi) ** 0.5, sp.sqrt(2 * sp.pi)),
        (float(np.log(10)), sp.log(10)),
        (-np.inf, -sp.oo),
    ],
)
def test_floats_are_read_as_what_was_written(number, meant):
    assert exact(number) == meant


def test_another_float_is_its_own_binary_fraction():
    number = 0.123456789012345678
    assert exact(number) == sp.Rational(*number.as_integer_ratio())


@pytest.mark.parametrize(
    "zero",
    [
        sp.exp(X + Y) - sp.exp(X) * sp.exp(Y),
        sp.exp(X) / (1 + sp.exp(X)) - 1 / (1 + sp.exp(-X)),
        1 - sp.tanh(X) ** 2 - 4 / (sp.exp(X) + sp.exp(-X)) ** 2,
        sp.sin(X) ** 2 + sp.cos(X) ** 2 - 1,
        1 + sp.tan(X) ** 2 - 1 / sp.cos(X) ** 2,
        (P + 1) ** sp.Rational(3, 2) - (P + 1) * sp.sqrt(P + 1),
        1 / sp.sqrt(X**2 + 1) - sp.sqrt(X**2 + 1) / (X**2 + 1),
        P ** (Y - 1) * P - P**Y,
        sp.cosh(X) ** 2 - sp.sinh(X) ** 2 - 1,
        sp.sqrt(2) ** 2 / 2 - 1,
    ],
)
def test_zeros_are_shown(zero):
    assert is_zero(zero)
    assert not is_zero(zero + sp.Rational(1, 10**9))
    assert not is_zero(zero + X / 10**9)


def test_every_order_is_looked_at():
    found = []
    assert cases(lambda case: found.append(case.settled(Largest(X, Y, Z)))) == 3
    assert set(found) == {X, Y, Z}
    assert cases(lambda case: case.settled(Branch(Less(X, sp.Integer(0)), Y, Z))) == 2
    assert cases(lambda case: case.settled(Less(X, Y) + Less(Y, X) + LessEqual(-X, -Y))) == 2
    assert cases(lambda case: case.settled(Less(P, sp.Integer(0)))) == 1
    assert cases(lambda case: case.settled(Largest(X, Y) + Largest(Y, Z) + Largest(X, Z))) == 6


def test_what_follows_is_not_asked_again():
    case = Case(((X, Y), (Y, Z)))
    assert case.settled(Less(X, Z)) == 1
    assert case.settled(Less(Z, X)) == 0
    assert case.settled(First(X, Z, Y)) == 1
    assert case.settled(Equal(X, Y)) == 0
    assert case.settled(Equal(Largest(X, Y), Y)) == 1
    below = Case(((X, sp.Integer(0)),))
    assert below.settled(Less(X, sp.Integer(1))) == 1


def test_too_many_cases():
    with pytest.raises(RuntimeError, match="more than 5 cases"):
        cases(lambda case: case.settled(Largest(*sp.symbols("a:9", real=True))), most=5)
