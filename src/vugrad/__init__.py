"""vugrad: a small deep-learning library you can read. Every op once, in plain NumPy.

>>> import numpy as np, vugrad as vg
>>> x = vg.TensorNode(np.array([1.0, 2.0]))
>>> y = (np.exp(x) * x).sum()
>>> y.backward()
>>> x.grad
array([ 5.43656366, 22.1671683 ])

Build and train (modules; TAB after the dot lists what each has)
    nn            layers, Module, MLP, LeNet          losses        cross_entropy, mse_loss, …
    optim         SGD, Adam, schedules, clipping      initializers  glorot_normal, he_normal, …
    data          load, Dataset, batches              train         fit, evaluate, predict, callbacks
    ops           every op and its derivative         random        the generator that vg.seed sets
    graph         nodes and the backward pass         sklearn       Classifier, for scikit-learn
    seed          make random numbers repeatable

Differentiate
    TensorNode, OpNode, Op, Module                    the graph, an op or a layer of your own
    grad, value_and_grad, jacobian, hessian, jvp      functions to functions
    no_grad                                           compute without a graph
    elementwise                                       an op from a function and its derivative

Look and check
    view          a picture of a graph                debug         stop at the first NaN
    gradcheck     a derivative, in numbers            prove         a derivative, on symbols
    doctor        the faults of a training step       check         the package of these three

Compile and hand on
    compile       a function or a training step       compiler      the package of compile
                  as native code
    set_threads, get_threads                          how many threads native code has
    save_state, load_state                            weights, in files that PyTorch reads
    export_onnx, export_native                        a whole network, as ONNX or as C

On nodes and arrays, beside NumPy's own functions
    relu, leaky_relu, elu, gelu, silu, softplus, sigmoid, erf
    softmax, logsoftmax, log_softmax, logsumexp

The course library's ops, layer, losses and data
    Add, BatchMM, Exp, Expand, Id, Log, MatrixMultiply, Multiply, Normalize, RowMax, RowSum, Select, Sigmoid,
    Squeeze, Sub, Sum, Unsqueeze, Linear, celoss, logceloss, load_mnist, load_synth
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from vugrad import (
    graph as graph,
    initializers as initializers,
    losses as losses,
    nn as nn,
    ops as ops,
    optim as optim,
    random as random,
)
from vugrad.course import Linear, celoss, load_mnist, load_synth, logceloss, logsoftmax, sigmoid, softmax
from vugrad.graph import Op, OpNode, TensorNode, grad, hessian, jacobian, jvp, no_grad, value_and_grad
from vugrad.nn import Module
from vugrad.ops import *
from vugrad.random import seed
from vugrad.suggest import no_attribute

if TYPE_CHECKING:
    from vugrad import check as check, compiler as compiler, data as data, sklearn as sklearn, train as train
    from vugrad.check import doctor, gradcheck, prove as prove
    from vugrad.compiler import compile as compile, get_threads, set_threads
    from vugrad.interchange.native import export_native
    from vugrad.interchange.onnx import export_onnx
    from vugrad.interchange.weights import load_state, save_state
    from vugrad.viewer import debug, view

__version__ = "0.2.0"

#: The names of ``from vugrad import *``: no modules, no name that hides a builtin, none that needs an extra.
__all__ = [
    "Add",
    "BatchMM",
    "Exp",
    "Expand",
    "Id",
    "Linear",
    "Log",
    "MatrixMultiply",
    "Module",
    "Multiply",
    "Normalize",
    "Op",
    "OpNode",
    "RowMax",
    "RowSum",
    "Select",
    "Sigmoid",
    "Squeeze",
    "Sub",
    "Sum",
    "TensorNode",
    "Unsqueeze",
    "celoss",
    "debug",
    "doctor",
    "elementwise",
    "elu",
    "erf",
    "export_native",
    "export_onnx",
    "gelu",
    "get_threads",
    "grad",
    "gradcheck",
    "hessian",
    "jacobian",
    "jvp",
    "leaky_relu",
    "load_mnist",
    "load_state",
    "load_synth",
    "log_softmax",
    "logceloss",
    "logsoftmax",
    "logsumexp",
    "no_grad",
    "relu",
    "save_state",
    "seed",
    "set_threads",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "value_and_grad",
    "view",
]


def _in_notebooks(kind: type[TensorNode] | type[OpNode] | type[Module], name: str) -> None:
    """Let notebooks show the viewer's picture of a kind of object; the viewer is imported at the first use."""

    def html(shown: Any) -> Any:
        return getattr(importlib.import_module("vugrad.viewer.notebook"), name)(shown)

    kind._repr_html_ = html


_in_notebooks(TensorNode, "of_node")
_in_notebooks(OpNode, "of_op")
_in_notebooks(Module, "of_module")


#: What brings more of the standard library with it, and where it is: loaded when it is first asked for.
_LATER = {
    **dict.fromkeys(("compile", "get_threads", "set_threads"), "compiler"),
    **dict.fromkeys(("doctor", "gradcheck", "prove"), "check"),
    **dict.fromkeys(("load_state", "save_state"), "interchange.weights"),
    "export_native": "interchange.native",
    "export_onnx": "interchange.onnx",
    **dict.fromkeys(("debug", "view"), "viewer"),
}
#: Modules that are imported with vugrad, and modules that are imported at the first use.
_MODULES = ("graph", "initializers", "losses", "nn", "ops", "optim", "random")
_MODULES_LATER = ("check", "compiler", "data", "sklearn", "train")
#: The course library's module paths.
_COURSE = ("core", "functions", "mnist", "modules")
#: Names that need an extra, and the package whose presence shows that the extra is installed.
_EXTRAS = {"prove": "sympy", "sklearn": "sklearn"}


def __dir__() -> list[str]:
    names = {*__all__, *_LATER, *_MODULES, *_MODULES_LATER, "__version__"}
    return sorted(name for name in names if name not in _EXTRAS or importlib.util.find_spec(_EXTRAS[name]))


def __getattr__(name: str) -> Any:
    """Import the names in ``_LATER`` and the lazy modules; an error with close matches for any other name."""
    if name in _LATER:
        return getattr(importlib.import_module(f"vugrad.{_LATER[name]}"), name)
    if name in (*_MODULES_LATER, *_COURSE):
        return importlib.import_module(f"vugrad.{name}")
    places: dict[str, str] = {}
    if not name.startswith("_"):
        for module in ("data", "initializers", "train", "losses", "optim", "nn"):  # the last of equal names counts
            places |= {key: f"vg.{module}.{key}" for key in dir(importlib.import_module(f"vugrad.{module}"))}
        places |= {key: f"vg.{key}" for key in __dir__()}
    raise no_attribute("module 'vugrad'", name, places)
