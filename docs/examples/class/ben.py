"""Two ops as a student hands them in: one is right, and one is not yet."""

import numpy as np

from vugrad import Op


class ReLU(Op):
    """y = max(0, x)."""

    @staticmethod
    def forward(context, input):
        relx = np.maximum(0, input)
        context["relx"] = relx
        return relx

    @staticmethod
    def backward(context, goutput):
        return goutput * (context["relx"] > 0)


class Normalize(Op):
    """Each row of a matrix divided by its sum."""

    @staticmethod
    def forward(context, x):
        s = x.sum(axis=1, keepdims=True)
        context["x"], context["s"] = x, s
        return x / s

    @staticmethod
    def backward(context, go):
        x, s = context["x"], context["s"]
        return go / s - go * x / s**2
