"""``vg.prove`` and ``vg.gradcheck`` take the same inputs, in the same form: arrays, or shapes."""

import re

import numpy as np
import pytest
from given import given, keeping

import vugrad as vg
from vugrad import ops

X = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
BOTH = {"prove": "proven", "gradcheck": "checked"}

#: An op with inputs and constants, and how many elements have gradients.
TAKEN = [
    (vg.Add, ((2, 3), (3,)), {}, 9),
    (vg.Add, ([(2, 3), (3,)],), {}, 9),
    (vg.Add, (((2, 3), (3,)),), {}, 9),
    (vg.Add, (X, X[0]), {}, 9),
    (vg.Add, (vg.TensorNode(X), [1.0, 2.0, 3.0]), {}, 9),
    (vg.Divide, (), {"shapes": [[2, 3], [3]]}, 9),
    (vg.Exp, ((),), {}, 1),
    (vg.Exp, ([()],), {}, 1),
    (vg.Exp, (2.0,), {}, 1),
    (vg.Exp, ([1.0, 2.0],), {}, 2),
    (vg.Exp, (), {}, 6),
    (vg.Sum, (X,), {"axis": -1, "keepdims": True}, 6),
    (vg.Sum, ((2, 3),), {"axis": 0}, 6),
    (vg.Sum, (), {"axis": 0}, 24),
    (vg.Squeeze, (), {"dim": 1}, 3),
    (vg.Expand, (), {"repeats": 4}, 3),
    (vg.Select, ((3, 5),), {"indices": [1, 2, 0]}, 15),
    (vg.Log, ((4,),), {}, 4),
    (ops.Where, (np.array([True, False, True]), (2, 3), (3,)), {}, 9),
    (ops.Take, ((3, 2), np.array([0, 2])), {}, 6),
    (ops.Take, ((3, 2), [0, 2]), {}, 6),
    (ops.Take, (X, (0, 1)), {}, 6),  # beside an array a tuple is one
    (ops.Take, ((5, 2), (4,)), {"axis": -1}, 10),
    (ops.TakeAlongAxis, ([(3, 2, 1), (5, 2, 1)],), {"axis": 0}, 6),
    (ops.CrossEntropy, ((5, 2), (5,)), {}, 10),
    (ops.Power, (X, np.array([-1, 2, 0])), {}, 6),
    (ops.Concatenate, ((2, 3), (1, 3), (4, 3)), {}, 21),
    (ops.BatchMM, ((0, 3), (2, 3)), {}, 6),
]


@pytest.mark.parametrize("caller", BOTH)
@pytest.mark.parametrize(("op", "inputs", "constants", "elements"), TAKEN, ids=lambda value: str(value)[:40])
def test_what_is_taken(caller, op, inputs, constants, elements):
    found = getattr(vg, caller)(op, *inputs, **constants)
    assert found.status == BOTH[caller], found
    assert found.elements == elements
    assert str(found)


#: What is refused, and the error.
REFUSED = [
    (vg.Exp, (2,), {}, TypeError, "{}: all inputs are whole numbers, which have no derivative: write 3.0"),
    (vg.Exp, ([[1, 2]],), {}, TypeError, "a tuple for a shape, as (2, 3)"),
    (vg.Add, ([(2, 3)], [(3,)]), {}, TypeError, "{}: all inputs are whole numbers"),
    (vg.Exp, ("ab",), {}, TypeError, "{} takes arrays of real or whole numbers, or shapes as (2, 3), and not of str"),
    (vg.Exp, (None,), {}, TypeError, "and not of NoneType"),
    (vg.Exp, ([[1.0], [1.0, 2.0]],), {}, TypeError, "and not of list"),
    (vg.Exp, ((2, -3),), {}, ValueError, "{}: (2, -3) is no shape: extents are 0 or more"),
    (vg.Exp, ((2, 3),), {"shapes": [(2, 3)]}, TypeError, "{} takes inputs, or shapes=[...], and not both"),
    (vg.Exp, ((2, 3), (2, 3)), {}, TypeError, "Exp takes x, and is given 2 inputs and no constants: too many"),
    (vg.Add, ((2, 3),), {}, TypeError, "Add takes x, y, and is given 1 input and no constants: missing"),
    (vg.Select, (X,), {}, TypeError, "Select takes x, indices, and is given 1 input and no constants: missing"),
    (vg.Exp, (X,), {"axis": 1}, TypeError, "Exp takes x, and is given 1 input and axis: got an unexpected"),
    (vg.Add, ((2, 3), (2,)), {}, ValueError, "Add of x (2, 3), y (2,): operands could not be broadcast together"),
    (vg.Max, ((2, 3),), {"axis": 5}, IndexError, "Max of x (2, 3): axis 5 is out of bounds"),
    (ops.Take, (X, [7]), {}, IndexError, "Take of x (2, 3), indices (1,): index 7 is out of bounds"),
    (vg.TensorNode, ((2, 3),), {}, TypeError, "{} takes an Op"),
    (3, ((2, 3),), {}, TypeError, "{} takes an Op"),
]


@pytest.mark.parametrize("caller", BOTH)
@pytest.mark.parametrize(("op", "inputs", "constants", "error", "text"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_is_refused(caller, op, inputs, constants, error, text):
    with pytest.raises(error, match=re.escape(text.format(caller))):
        getattr(vg, caller)(op, *inputs, **constants)


@pytest.mark.parametrize(
    ("f", "inputs", "elements"),
    [
        (lambda x, y: np.exp(x) @ y, ((2, 3), (3,)), 9),
        (lambda x: np.log(x), ([(2, 3)],), 6),  # at numbers where it is finite
        (lambda x, t: vg.losses.cross_entropy(x, t), ((2, 3), np.array([0, 2])), 6),
        (vg.nn.Linear(3, 2), ((4, 3),), 20),
        (vg.nn.Embedding(5, 2), ([1, 2],), 10),
    ],
    ids=["function", "log", "labels", "module", "whole numbers for a module"],
)
def test_functions_and_modules_by_shapes(f, inputs, elements):
    report = vg.gradcheck(f, *inputs)
    assert report, report
    assert report.elements == elements


def test_the_whole_numbers_that_are_given_are_those_that_are_proven():
    picked = given(lambda context, x, t: x[t], lambda context, go: (ops.primitives.scatter(go, ([0, 2],), (3,)), None))
    assert vg.prove(picked, (3,), np.array([0, 2])).status == "proven"
    assert vg.prove(picked, (3,), np.array([0, 1])).status == "refuted"


def test_an_array_of_positive_numbers_proves_nothing_for_them_alone():
    square = given(keeping(np.square), lambda c, go: 2 * go * np.abs(c["x"]))
    assert vg.prove(square, np.ones(2)).status == "refuted"
    assert vg.prove(square, (2,)).status == "refuted"
