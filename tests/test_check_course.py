"""The course's ops as a student writes them: each has its mark, and no mutant of one has; judged as submissions are."""

import re

import numpy as np
import pytest

import vugrad as vg
from vugrad.check.submission import judge

#: The whole course, in its style: forwards that assert equal shapes, constants by keyword, a context of arrays.
COURSE = """
class Add(Op):
    @staticmethod
    def forward(context, a, b):
        assert a.shape == b.shape, f"the sizes differ: {a.shape} and {b.shape}"
        return a + b
    @staticmethod
    def backward(context, go):
        return go, go

class Sub(Op):
    @staticmethod
    def forward(context, a, b):
        assert a.shape == b.shape
        return a - b
    @staticmethod
    def backward(context, go):
        return go, -go

class Multiply(Op):
    @staticmethod
    def forward(context, a, b):
        assert a.shape == b.shape, f"the sizes differ: {a.shape} and {b.shape}"
        context["a"], context["b"] = a, b
        return a * b
    @staticmethod
    def backward(context, go):
        return go * context["b"], go * context["a"]

class MatrixMultiply(Op):
    @staticmethod
    def forward(context, a, b):
        context["a"], context["b"] = a, b
        return np.matmul(a, b)
    @staticmethod
    def backward(context, go):
        a, b = context["a"], context["b"]
        return np.matmul(go, b.T), np.matmul(a.T, go)

class Log(Op):
    @staticmethod
    def forward(context, x):
        context["x"] = x
        return np.log(x)
    @staticmethod
    def backward(context, goutput):
        return goutput / context["x"]

class Id(Op):
    @staticmethod
    def forward(context, x):
        return x
    @staticmethod
    def backward(context, goutput):
        return goutput

class Exp(Op):
    @staticmethod
    def forward(context, x):
        context["expd"] = np.exp(x)
        return context["expd"]
    @staticmethod
    def backward(context, go):
        return go * context["expd"]

class Sum(Op):
    @staticmethod
    def forward(context, x):
        context["xsize"] = x.shape
        return np.asarray(x.sum())
    @staticmethod
    def backward(context, go):
        assert go.shape == ()
        return np.full(shape=context["xsize"], fill_value=go)

class RowMax(Op):
    @staticmethod
    def forward(context, x):
        context["xshape"], context["idx"] = x.shape, np.argmax(x, axis=1)
        return np.amax(x, axis=1)
    @staticmethod
    def backward(context, go):
        gx = np.zeros(shape=context["xshape"])
        gx[np.arange(context["xshape"][0]), context["idx"]] = go
        return gx

class RowSum(Op):
    @staticmethod
    def forward(context, x):
        context["xshape"] = x.shape
        return x.sum(axis=1)
    @staticmethod
    def backward(context, go):
        n, m = context["xshape"]
        return np.repeat(go[:, None], m, axis=1)

class Normalize(Op):
    @staticmethod
    def forward(context, x):
        sumd = x.sum(axis=1, keepdims=True)
        context["x"], context["sumd"] = x, sumd
        return x / sumd
    @staticmethod
    def backward(context, go):
        x, sumd = context["x"], context["sumd"]
        return go / sumd - (go * x / (sumd * sumd)).sum(axis=1, keepdims=True)

class BatchMM(Op):
    def __init__(self):
        super().__init__()
    @staticmethod
    def forward(context, matrix, vectors):
        assert len(matrix.shape) == 2 and len(vectors.shape) == 2
        context["matrix"], context["vectors"] = matrix, vectors
        return np.matmul(vectors, matrix.T)
    @staticmethod
    def backward(context, go):
        matrix, vectors = context["matrix"], context["vectors"]
        return np.matmul(go.T, vectors), np.matmul(go, matrix)

class Sigmoid(Op):
    @staticmethod
    def forward(context, input):
        sigx = 1 / (1 + np.exp(-input))
        context["sigx"] = sigx
        return sigx
    @staticmethod
    def backward(context, goutput):
        sigx = context["sigx"]
        return goutput * sigx * (1 - sigx)

class ReLU(Op):
    @staticmethod
    def forward(context, input):
        relx = np.maximum(0, input)
        context["relx"] = relx
        return relx
    @staticmethod
    def backward(context, goutput):
        return goutput * (context["relx"] > 0)

class Expand(Op):
    @staticmethod
    def forward(context, input, *, dim, repeats):
        context["dim"] = dim
        assert input.shape[dim] == 1, "only an axis of one is expanded"
        return np.repeat(input, repeats, axis=dim)
    @staticmethod
    def backward(context, goutput):
        return goutput.sum(axis=context["dim"], keepdims=True)

class Select(Op):
    @staticmethod
    def forward(context, input, *, indices):
        assert len(input.shape) == 2
        assert len(indices.shape) == 1
        assert indices.shape[0] == input.shape[0]
        context["size"], context["indices"] = input.shape, indices[:, None]
        return np.take_along_axis(input, indices=indices[:, None], axis=1).squeeze()
    @staticmethod
    def backward(context, goutput):
        gx = np.zeros(context["size"])
        np.put_along_axis(gx, indices=context["indices"], values=goutput[:, None], axis=1)
        return gx

class Squeeze(Op):
    @staticmethod
    def forward(context, input, dim=0):
        context["dim"] = dim
        return input.squeeze(dim)
    @staticmethod
    def backward(context, goutput):
        return np.expand_dims(goutput, axis=context["dim"])

class Unsqueeze(Op):
    @staticmethod
    def forward(context, input, dim=0):
        context["dim"] = dim
        return np.expand_dims(input, axis=dim)
    @staticmethod
    def backward(context, goutput):
        return goutput.squeeze(context["dim"])
"""
SOURCES = {re.match(r"class (\w+)", part)[1]: part for part in COURSE.strip().split("\n\n")}

#: For each op what a student may get wrong: what is written in place of what.
MUTANTS = {
    "Add": [("return go, go", "return go, 0 * go"), ("return a + b", "return a + 2 * b")],
    "Sub": [("return go, -go", "return go, go"), ("return go, -go", "return -go, go")],
    "Multiply": [('go * context["b"], go * context["a"]', 'go * context["a"], go * context["b"]')],
    "MatrixMultiply": [("np.matmul(go, b.T)", "np.matmul(b, go.T)"), ("np.matmul(a.T, go)", "np.matmul(go.T, a)")],
    "Log": [('goutput / context["x"]', 'goutput / context["x"] ** 2'), ("return goutput /", "return -goutput /")],
    "Id": [("return goutput", "return goutput * 2"), ("return goutput", "pass")],
    "Exp": [('return go * context["expd"]', 'return context["expd"]'), ("np.exp(x)", "2**x")],
    "Sum": [("fill_value=go", "fill_value=1"), ("np.asarray(x.sum())", "np.asarray(x.mean())")],
    "RowMax": [('context["idx"]] = go', "0] = go"), ("np.argmax", "np.argmin")],
    "RowSum": [("return np.repeat(go[:, None], m, axis=1)", "return np.repeat(go[:, None], m, axis=1) / m")],
    "Normalize": [("(go * x / (sumd * sumd)).sum(axis=1, keepdims=True)", "go * x / (sumd * sumd)")],
    "BatchMM": [
        ("np.matmul(go.T, vectors)", "np.matmul(vectors.T, go)"),
        ("np.matmul(go, matrix)", "np.matmul(go, matrix) * 2"),
    ],
    "Sigmoid": [("(1 - sigx)", "(1 + sigx)"), ("goutput * sigx", "sigx")],
    "ReLU": [("> 0", "> 0.5"), ("goutput * ", "goutput + "), ("np.maximum(0, input)", "np.abs(input)")],
    "Expand": [(".sum(axis", ".mean(axis"), ("keepdims=True", "keepdims=False")],
    "Select": [("values=goutput[:, None]", "values=1.0"), ("np.zeros", "np.ones")],
    "Squeeze": [("np.expand_dims(goutput, axis=context", "2 * np.expand_dims(goutput, axis=context")],
    "Unsqueeze": [("return goutput.squeeze(context", "return -goutput.squeeze(context")],
}


def found_of(name, source):
    space = {"np": np, "Op": vg.Op}
    exec(source, space)
    return list(judge(name, space[name]))[-1]


@pytest.mark.parametrize("name", SOURCES)
def test_each_op_of_the_course_has_its_mark(name):
    found = found_of(name, SOURCES[name])
    assert (found.forward, found.mark) == ("right", 1), found


@pytest.mark.parametrize(("name", "old", "new"), [(name, *pair) for name, pairs in MUTANTS.items() for pair in pairs])
def test_no_mutant_has(name, old, new):
    assert old in SOURCES[name]
    found = found_of(name, SOURCES[name].replace(old, new))
    assert found.mark == 0, found


def test_every_op_of_the_course_has_mutants():
    assert MUTANTS.keys() == SOURCES.keys()
