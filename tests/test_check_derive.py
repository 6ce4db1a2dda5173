"""Derivations: what stands on the board, that it is said to be the code's only if it is, and who has none."""

import contextlib
import re

import numpy as np
import pytest
import sympy as sp
from given import given, keeping
from rows import NO_INDEX_FORM, has_elements, smallest

import vugrad as vg
from vugrad import ops
from vugrad.check.algebra import derivative, name_of, normal, same, tidy, value
from vugrad.check.derive import derive, derive_row
from vugrad.check.formulas import PRIMES, read
from vugrad.check.indices import DELTA, GT, SUM, TOP, NoIndexForm, letters_in, named
from vugrad.check.subject import listed
from vugrad.ops.table import ROWS

NORMALIZE = """\
Normalize of x (N×M), by index, from the code of forward:
  y[i,j] = x[i,j] / Σ_k x[i,k]
The chain rule, for every element of x:
  gx[a,b] = Σ_i Σ_j go[i,j] ∂y[i,j]/∂x[a,b]
The derivative of one output by one input:
  ∂y[i,j]/∂x[a,b] = δ[i,a] δ[j,b] / Σ_k x[i,k] − x[i,j] δ[i,a] / (Σ_k x[i,k])²
The sums collapse: only i = a remains, and j = b in the terms with δ[j,b]:
  gx[a,b] = go[a,b] / Σ_k x[a,k] − Σ_j go[a,j] x[a,j] / (Σ_k x[a,k])²
The code of backward computes:
  gx[a,b] = go[a,b] / Σ_k x[a,k] − Σ_j go[a,j] x[a,j] / (Σ_k x[a,k])²    the same ∎"""

LINEAR = """\
BatchMM of w (N×M), x (P×M), by index, from the code of forward:
  z[i,j] = Σ_k x[i,k] w[j,k]
The chain rule, for every element of w:
  gw[a,b] = Σ_i Σ_j go[i,j] ∂z[i,j]/∂w[a,b]
The derivative of one output by one input:
  ∂z[i,j]/∂w[a,b] = x[i,b] δ[j,a]
The sums collapse: only j = a remains:
  gw[a,b] = Σ_i go[i,a] x[i,b]
The code of backward computes:
  gw[a,b] = Σ_i go[i,a] x[i,b]    the same ∎
The chain rule, for every element of x:
  gx[a,b] = Σ_i Σ_j go[i,j] ∂z[i,j]/∂x[a,b]
The derivative of one output by one input:
  ∂z[i,j]/∂x[a,b] = w[j,b] δ[i,a]
The sums collapse: only i = a remains:
  gx[a,b] = Σ_j go[a,j] w[j,b]
The code of backward computes:
  gx[a,b] = Σ_j go[a,j] w[j,b]    the same ∎"""

SOFTMAX = """\
Softmax of x (N×M), by index, from the code of forward:
  y[i,j] = exp(x[i,j] − max_k x[i,k]) / Σ_k exp(x[i,k] − max_m x[i,m])
         = exp(x[i,j]) / Σ_k exp(x[i,k])    the shift by the maximum cancels"""


SELECT = """\
Select of x (N×M), indices (N), by index, from the code of forward:
  y[i] = x[i,indices[i]]
The chain rule, for every element of x:
  gx[a,b] = Σ_i go[i] ∂y[i]/∂x[a,b]
The derivative of one output by one input:
  ∂y[i]/∂x[a,b] = δ[i,a] δ[b,indices[i]]
The sums collapse: only i = a remains:
  gx[a,b] = go[a] δ[b,indices[a]]
The code of backward computes:
  gx[a,b] = Σ_i go[i] δ[i,a] δ[b,indices[i]]
          = go[a] δ[b,indices[a]]    the same ∎"""

SIXTEEN = """\
  y[i,j] = x[i,0]    for j from 0 to 15
The chain rule, for every element of x:
  gx[a,0] = Σ_i Σ_j go[i,j] ∂y[i,j]/∂x[a,0]
The derivative of one output by one input:
  ∂y[i,j]/∂x[a,0] = δ[i,a]
The sums collapse: only i = a remains:
  gx[a,0] = Σ_j go[a,j]
The code of backward computes:
  gx[a,0] = Σ_j go[a,j]    the same ∎"""

A_ROW = """\
The derivative of one output by one input:
  ∂z[i,j]/∂y[a] = δ[j,a]
The sums collapse: only j = a remains:
  gy[a] = Σ_i go[i,a]
The code of backward computes:
  gy[a] = Σ_i go[i,a]    the same ∎"""

#: The last line for each input, without its first remark.
ENDS = [
    (ops.MatrixMultiply, {}, ["gx[a,b] = Σ_j go[a,j] y[b,j]", "gy[a,b] = Σ_i go[i,b] x[i,a]"]),
    (ops.Divide, {}, ["gx[a,b] = go[a,b] / y[a,b]", "gy[a,b] = −go[a,b] x[a,b] / y[a,b]²"]),
    (ops.Expand, {}, ["gx[a,0] = Σ_j go[a,j]"]),
    (ops.BroadcastTo, {}, ["gx[a,0] = Σ_i Σ_l go[i,a,l]"]),
    (ops.Sum, {"axis": 0}, ["gx[a,b,c] = go[b,c]"]),
    (ops.Mean, {}, ["gx[a,b,c] = go / (N M P)"]),
    (ops.Einsum, {"subscripts": "ij,jk->ki"}, ["gx[a,b] = Σ_i go[i,a] y[b,i]", "gy[a,b] = Σ_j go[b,j] x[j,a]"]),
    (ops.Transpose, {}, ["gx[a,b,c] = go[c,b,a]"]),
    (ops.Log, {}, ["gx[a,b] = go[a,b] / x[a,b]"]),
    (ops.RowMax, {}, ["gx[a,b] = go[a] δ[argmax_k x[a,k],b]"]),
    (ops.LeakyReLU, {}, ["gx[a,b] = go[a,b] (1 where x[a,b] > 0, else 0.01)"]),
    (ops.Take, {}, ["gx[a,b] = Σ_i go[i,b] δ[a,indices[i]]"]),
    (ops.TakeAlongAxis, {}, ["gx[a,b] = Σ_j go[a,j] δ[b,indices[a,j]]"]),
    (ops.Scatter, {}, ["gx[a,b] = go[index[a,b]]"]),
    (ops.Where, {}, ["gx[a,b] = go[a,b] condition[a,b]", "gy[a] = Σ_i go[i,a] (1 − condition[i,a])"]),
]


def wrong(backward, forward=ops.Normalize):
    """An op with another's forward and this backward."""
    return type("Wrong", (vg.Op,), {"forward": staticmethod(forward.forward), "backward": staticmethod(backward)})


def test_the_board():
    assert str(derive(ops.Normalize)) == NORMALIZE
    assert str(derive(ops.BatchMM)) == LINEAR
    assert str(derive(ops.Softmax)).startswith(SOFTMAX)
    assert str(derive(ops.Add, ((2, 3), (3,)))).endswith(A_ROW)
    assert str(derive(ops.Select)) == SELECT
    assert str(derive(ops.Select, ((3, 5),), indices=[4, 4, 0])) == SELECT
    assert str(derive(ops.Expand, dim=1, repeats=16)).endswith(SIXTEEN)
    assert str(derive(ops.Expand, ((16, 1),), dim=1, repeats=16)).endswith(SIXTEEN)


#: A vector in 16 equal columns, as a person may write it; the gradient is the sum over the columns.
COLUMNS = {
    "repeat": lambda x: np.repeat(x[:, None], 16, axis=1),
    "tile": lambda x: np.tile(x[:, None], (1, 16)),
    "stack": lambda x: np.stack([x] * 16, axis=1),
    "broadcast_to": lambda x: np.broadcast_to(x[:, None], (x.shape[0], 16)),
    "outer": lambda x: np.outer(x, np.ones(16)),
    "transposed": lambda x: np.broadcast_to(x, (16, x.shape[0])).T,
}


@pytest.mark.parametrize("name", COLUMNS)
def test_sixteen_equal_columns(name):
    for extent in (3, 16):
        proof = vg.prove(given(keeping(COLUMNS[name]), lambda context, go: np.sum(go, axis=1)), (extent,))
        assert proof.status == "proven"
        lines = str(proof).splitlines()
        assert lines[2] == "  y[i,j] = x[i]    for j from 0 to 15"
        assert lines[-3:] == ["  gx[a] = Σ_j go[a,j]", lines[-2], "  gx[a] = Σ_j go[a,j]    the same ∎"]
    # The report's own gradient sums over the wrong index.
    wrong_sum = vg.prove(given(keeping(COLUMNS[name]), lambda context, go: np.sum(go, axis=0)), (16,))
    assert wrong_sum.status == "refuted"
    assert "gx[a] = an array of shape (16)    not the same" in str(wrong_sum)


@pytest.mark.parametrize(("op", "constants", "ends"), ENDS, ids=[op.__name__ for op, *_ in ENDS])
def test_where_each_derivation_ends(op, constants, ends):
    derivation = derive(op, **constants)
    lines = str(derivation).splitlines()
    derived = [lines[n - 1].strip() for n, line in enumerate(lines) if line.startswith("The code of backward")]
    assert derived == ends
    assert derivation.established
    assert str(derivation).count("the same ∎") == len(ends)


def test_every_op_of_the_table_is_established_or_has_no_form():
    """At other constants and numbers of axes than those of the page that test_check_page makes."""
    without, seen = set(), {kind(smallest(row for row in ROWS if row.op is op)) for op in {row.op for row in ROWS}}
    for row in filter(has_elements, ROWS):
        if kind(row) not in seen:
            seen.add(kind(row))
            try:
                assert derive(row.op, row.shapes, **row.constants).established, row.name
            except NoIndexForm:
                without.add(row.op.__name__)
    assert without <= NO_INDEX_FORM | {"BatchMM", "Expand"}  # a stack of matrices; slices that lie apart


def kind(row):
    """What a derivation depends on, besides the numbers."""
    return (row.op, *row.constants, len(row.shapes[0]))


@pytest.mark.parametrize("row", [r for r in ROWS if r.op in (ops.Softmax, ops.LayerNorm, ops.Einsum, ops.RowMax)][::2])
def test_formulas_are_the_forward_in_numbers(row):
    if not has_elements(row):
        return
    xs = row.inputs(np.random.default_rng(0))
    formulas = read(row, PRIMES[0])
    names = {**dict(zip(formulas.inputs, xs, strict=True)), **{v.name: n for n, v in formulas.extents.items()}}
    for (element, formula, *_), y in zip(
        formulas.outputs, listed(row.op.forward({}, *xs, **row.constants)), strict=True
    ):
        for at in np.ndindex(*np.shape(y)):
            index = {k.name: n for k, n in zip(getattr(element, "indices", ()), at, strict=True) if k.is_Symbol}
            assert value(formula, {**names, **index}) == pytest.approx(y[at])
            assert value(normal(formula), {**names, **index}) == pytest.approx(y[at])


def lost_sum(context, go):  # the last line of the report
    x, s = context["x"], context["s"]
    return go / s - go * x / s**2


def lost_upstream(context, go):
    x, s = context["x"], context["s"]
    return 1 / s - np.sum(x, axis=1, keepdims=True) / s**2 + 0 * x


def lost_everything(context, go):
    return np.ones_like(context["x"])


def transposed(context, go):
    w, x = context["w"], context["x"]
    return np.matmul(x.T, go), np.matmul(go, w)


def lost_broadcast(context, go):
    return go, go


def lost_gradient(context, go):
    return go, None


@pytest.mark.parametrize(
    ("op", "shapes", "text"),
    [
        (wrong(lost_sum), ((2, 3),), "gx[a,b] = go[a,b] / Σ_k x[a,k] − go[a,b] x[a,b] / (Σ_k x[a,k])²    not the same"),
        (wrong(lost_upstream), ((2, 3),), "not the same: at sample numbers gx[0,0] is "),
        (wrong(lost_everything), ((2, 3),), "gx[a,b] = 1    not the same"),
        (
            wrong(transposed, ops.BatchMM),
            ((3, 3), (3, 3)),
            "gw[a,b] = Σ_i go[i,b] x[i,a]    not the same: it is transp",
        ),
        (wrong(transposed, ops.BatchMM), ((4, 3), (2, 3)), "array of shape (M, N)    not the same: it is transposed"),
        (wrong(lost_broadcast, ops.Add), ((2, 3), (3,)), "gy[a] = an array of shape (N, M)    not the same"),
        (wrong(lost_gradient, ops.Add), ((2, 3), (3,)), "gy[a] = None    not the same"),
    ],
)
def test_a_wrong_backward_is_shown_beside_the_right_one(op, shapes, text):
    derivation = derive(op, shapes)
    assert not derivation.established
    assert text in str(derivation)


@pytest.mark.parametrize("op", [ops.Power, ops.Slice, ops.Scatter])
def test_every_derivation_can_be_printed(op):
    for row in ROWS:
        if row.op is op and has_elements(row):
            with contextlib.suppress(NoIndexForm):
                derivation = derive_row(row)
                assert str(derivation).count("\n") > 3
                assert r"\begin{align*}" in derivation.latex()


def test_the_lost_sum_stands_beside_the_derived_one():
    text = str(derive(wrong(lost_sum)))
    assert "gx[a,b] = go[a,b] / Σ_k x[a,k] − Σ_j go[a,j] x[a,j] / (Σ_k x[a,k])²\nThe code" in text
    assert "∎" not in text


def test_what_sample_numbers_do_not_tell_is_not_shown():
    def elsewhere(context, go):  # right for all sample numbers
        return go * (context["x"] > 0) * (np.exp(context["x"]) < 1000)

    derivation = derive(wrong(elsewhere, ops.ReLU), ((2, 3),))
    assert not derivation.established
    assert str(derivation).endswith("not shown to be the same")


def test_a_single_point_at_which_the_code_is_wrong():
    def not_at_seven(context, go):
        return go * (context["x"] > 0) * (context["x"] != 7)

    derivation = derive(wrong(not_at_seven, ops.ReLU), ((3,),))
    assert not derivation.established
    assert re.search(r"not the same at x = \[ ?7\. .*\]$", str(derivation))


def test_limits_are_said():
    assert str(derive(ops.ReLU)).endswith("the same ∎ (away from kinks)")
    assert "the same ∎ (where y[a,b] ≠ 0 and x[a,b] ≠ 0)" in str(derive(ops.Power))
    assert "σ(u) = 1 / (1 + exp(−u))" in str(derive(ops.Sigmoid))


def test_an_op_of_ones_own():
    class Cube(vg.Op):
        @staticmethod
        def forward(context, x, scale=0.5):
            context.update(x=x, scale=scale)
            return scale * x**3

        @staticmethod
        def backward(context, go):
            return 3 * context["scale"] * go * context["x"] ** 2

    assert "  gx[a,b] = 3 go[a,b] x[a,b]² / 2    the same ∎" in str(derive(Cube))
    assert "  gx[a] = 12 go[a] x[a]²    the same ∎" in str(derive(Cube, ((3,),), scale=4))


def test_who_has_no_index_form():
    class OneExtent(vg.Op):
        """Right for 36 columns and 52 alone: the number looks like an extent, and does not grow with it."""

        @staticmethod
        def forward(context, x):
            return 52 * x

        @staticmethod
        def backward(context, go):
            return 52 * go

    for op, text in [(ops.Pad, "pad"), (ops.Conv2d, "window"), (OneExtent, "depend on the shapes")]:
        with pytest.raises(NoIndexForm, match=text):
            derive(op)


def test_sums_collapse_and_fall_into_parts():
    i, j, k, n = sp.symbols("i j k n", integer=True)
    x, y, kn, jn = named("x", (k,)), named("y", (j,)), sp.Tuple(k, n), sp.Tuple(j, n)
    assert normal(SUM(DELTA(k, i) * x, kn)) == named("x", (i,))
    assert normal(SUM(sp.Integer(3), kn)) == 3 * n
    assert normal(SUM(x * y, kn, jn)) == normal(SUM(x, kn)) * normal(SUM(y, jn))
    assert normal(SUM(x, kn)) == normal(SUM(named("x", (j,)), jn))
    assert normal(SUM(x + i, kn)) == normal(SUM(x, kn)) + n * i
    inner = SUM(named("w", (j, k)) * x, kn)
    assert normal(SUM(y * inner, jn)) == normal(SUM(y * named("w", (j, k)) * x, jn, kn))
    assert normal(sp.log(SUM(sp.exp(x - TOP(y, jn)), kn)) + TOP(y, jn)) == normal(sp.log(SUM(sp.exp(x), kn)))
    # The inner sum's index is not the outer one's, though they have one name.
    twice = normal(SUM(named("w", (j, k)) * sp.exp(SUM(x, kn)), kn))
    assert twice == normal(SUM(named("w", (j, k)), kn)) * sp.exp(normal(SUM(x, kn)))


def test_same_is_said_of_equal_formulas_only():
    i = sp.Symbol("i", integer=True)
    x, y = named("x", (i,)), named("y", (i,))
    assert same(GT(x, y), 1 - GT(y, x))
    assert same(sp.Abs(x) * sp.sign(x), x)
    assert not same(sp.Abs(x), x)
    assert not same(GT(x, y), GT(y, x))
    assert tidy(normal((x + y) * (x - y))) in (x**2 - y**2, (x - y) * (x + y))
    assert derivative(x * y, named("x", (sp.Symbol("a", integer=True),))) == y * DELTA(i, sp.Symbol("a", integer=True))


def test_letters_of_extents_are_seen_in_numbers():
    n, m = sp.symbols("N M")
    extents = {53: n, 59: m}
    assert letters_in(53.0 * 59, extents) == n * m
    assert letters_in(1 / (53 * 59), extents) == 1 / (n * m)
    assert letters_in(-2 / 53, extents) == -2 / n
    assert letters_in(1 / 52, extents) == 1 / (n - 1)
    assert letters_in(0.53, extents) == sp.Rational(53, 100)
    assert letters_in(np.sqrt(0.5), extents) == sp.sqrt(2) / 2
    assert letters_in(0, extents) == 0


@pytest.mark.parametrize(
    "op", [ops.Normalize, ops.GELU, ops.Softmax, ops.ReLU, ops.ELU, ops.LayerNorm, ops.CrossEntropy]
)
def test_latex_can_be_set(op):
    mathtext = pytest.importorskip("matplotlib.mathtext").MathTextParser("path")
    derivation = derive(op)
    text = derivation.latex()
    assert text == derivation._repr_latex_()
    assert text.isascii()
    assert text.count(r"\begin{align*}") == text.count(r"\end{align*}") == len(derivation.steps)
    for line in text.splitlines():
        if "&=" in line:
            equation = line.split(" &&")[0].removesuffix(r"\\").replace("&", "")
            mathtext.parse(f"${equation}$")


def test_names():
    assert name_of(named("x", (sp.Symbol("i"),))) == name_of(named("x", ())) == "x"
