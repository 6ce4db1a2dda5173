"""The course library's module path for its functions: ``from vugrad.functions import celoss``.

It also has the ops that the course's module imports, and NumPy as ``np``: copies of that module rely on them.
"""

import numpy as np

from vugrad.core import TensorNode
from vugrad.course import celoss, load_mnist, load_synth, logceloss, logsoftmax, sigmoid, softmax
from vugrad.mnist import init, load
from vugrad.ops import Exp, Expand, Id, Log, Normalize, RowMax, RowSum, Select, Sigmoid, Sum, Unsqueeze

__all__ = [
    "Exp",
    "Expand",
    "Id",
    "Log",
    "Normalize",
    "RowMax",
    "RowSum",
    "Select",
    "Sigmoid",
    "Sum",
    "TensorNode",
    "Unsqueeze",
    "celoss",
    "init",
    "load",
    "load_mnist",
    "load_synth",
    "logceloss",
    "logsoftmax",
    "np",
    "sigmoid",
    "softmax",
]
