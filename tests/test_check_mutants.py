"""The test of the checker: backwards that are wrong are found to be, and told why."""

import numpy as np
import pytest
from mutants import mutants
from rows import has_elements

from vugrad import ops
from vugrad.check.compare import check
from vugrad.check.subject import Fault, of_op
from vugrad.ops.table import ROWS

OPS = list(dict.fromkeys(row.op for row in ROWS))


def subjects(op, backward_of=None):
    """The op, or another in its place, at the rows that have elements."""
    rows = [row for row in ROWS if row.op is op and has_elements(row)]
    for row in rows:
        yield of_op(backward_of or op, row.inputs(np.random.default_rng(0)), row.constants)


def answers(subject):
    rng = np.random.default_rng(1)
    with np.errstate(all="ignore"):
        gos = [rng.normal(size=y.shape) for y in subject.forward(subject.inputs)]
        try:
            return [g for g in subject.gradients(subject.inputs, gos) if g is not None]
        except Fault:
            return None


def close(a, b):
    return a.shape == b.shape and np.allclose(a, b, 1e-9, 1e-12)


def differs(op, mutant):
    """Whether a mutant computes something else anywhere; one that does not is no mutant."""
    for right, wrong in zip(subjects(op), subjects(op, mutant), strict=True):
        expected, found = answers(right), answers(wrong)
        if found is None or not all(map(close, expected, found)):
            return True
    return False


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.__name__)
def test_no_mutant_survives(op):
    survivors = [
        words
        for words, mutant in mutants(op)
        if not any(check(subject).status == "wrong" for subject in subjects(op, mutant)) and differs(op, mutant)
    ]
    assert survivors == []


def test_there_are_mutants_enough():
    found = [differs(op, mutant) for op in (ops.Divide, ops.Softmax, ops.Conv2d) for _, mutant in mutants(op)]
    assert sum(found) > 25
