"""The test of the checker: backwards that are wrong are found to be, and told why."""

import dataclasses

import numpy as np
import pytest
from mutants import mutants, with_backward

from vugrad import ops
from vugrad.check.gradcheck import check
from vugrad.check.shrink import diagnose
from vugrad.check.subject import Fault, of_op
from vugrad.ops.table import ROWS

OPS = list(dict.fromkeys(row.op for row in ROWS))


def subjects(op, backward_of=None):
    """The op, or another in its place, at the rows that have elements."""
    rows = [row for row in ROWS if row.op is op and all(0 not in shape for shape in row.shapes)]
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


def differs(op, mutant):
    """Whether a mutant computes something else anywhere; one that does not is no mutant."""
    for right, wrong in zip(subjects(op), subjects(op, mutant), strict=True):
        a, b = answers(right), answers(wrong)
        if b is None or any(x.shape != y.shape or not np.allclose(x, y, 1e-9, 1e-12) for x, y in zip(a, b, strict=True)):
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
    assert sum(sum(differs(op, mutant) for _, mutant in mutants(op)) for op in (ops.Divide, ops.Softmax, ops.Conv2d)) > 25
