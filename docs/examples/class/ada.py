"""Two ops as a student hands them in; ``vugrad check docs/examples/class --grade`` marks the folder."""

import numpy as np

from vugrad import Op


class ReLU(Op):
    """y = max(0, x)."""

    @staticmethod
    def forward(context, x):
        context["x"] = x
        return np.where(x > 0, x, 0)

    @staticmethod
    def backward(context, go):
        return np.where(context["x"] > 0, go, 0)


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
        return go / s - (go * x).sum(axis=1, keepdims=True) / s**2
