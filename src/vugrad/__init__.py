"""vugrad: a small deep-learning library you can read. Every op once, in plain NumPy.

>>> import numpy as np, vugrad as vg
>>> x = vg.TensorNode(np.array([1.0, 2.0]))
>>> y = (np.exp(x) * x).sum()
>>> y.backward()
>>> x.grad
array([ 5.43656366, 22.1671683 ])

The floors, from below: ``vg.graph`` (nodes and the walk), ``vg.ops`` (every derivative), ``vg.nn``,
``vg.losses``, ``vg.optim``, ``vg.initializers`` and ``vg.data``, ``vg.check`` and ``vg.compiler``, and ``vg.train``.
Weights come and go by ``vg.load_state`` and ``vg.save_state``, whole networks go by ``vg.export_onnx`` and
``vg.export_native``; ``vg.sklearn`` has an estimator.
"""

import importlib
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
from vugrad.course import (
    Linear as Linear,
    celoss as celoss,
    load_mnist as load_mnist,
    load_synth as load_synth,
    logceloss as logceloss,
    logsoftmax as logsoftmax,
    sigmoid as sigmoid,
    softmax as softmax,
)
from vugrad.graph import (
    Op as Op,
    OpNode as OpNode,
    TensorNode as TensorNode,
    grad as grad,
    hessian as hessian,
    jacobian as jacobian,
    jvp as jvp,
    no_grad as no_grad,
    value_and_grad as value_and_grad,
)
from vugrad.nn import (
    Module as Module,
)
from vugrad.ops import *
from vugrad.random import (
    seed as seed,
)

if TYPE_CHECKING:
    from vugrad import check as check, compiler as compiler, data as data, sklearn as sklearn, train as train
    from vugrad.check import doctor as doctor, gradcheck as gradcheck, prove as prove
    from vugrad.compiler import compile as compile, get_threads as get_threads, set_threads as set_threads
    from vugrad.interchange.native import export_native as export_native
    from vugrad.interchange.onnx import export_onnx as export_onnx
    from vugrad.interchange.weights import load_state as load_state, save_state as save_state
    from vugrad.viewer import debug as debug, view as view

__version__ = "0.1.0"


def _in_notebooks(kind: type[TensorNode] | type[OpNode] | type[Module], name: str) -> None:
    """Let notebooks show what the viewer makes of a kind of object; it is loaded when that is first asked for."""

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


def __getattr__(name: str) -> Any:
    """Load what is in ``_LATER``, and whole folders."""
    if name in _LATER:
        return getattr(importlib.import_module(f"vugrad.{_LATER[name]}"), name)
    if name in ("check", "compiler", "data", "sklearn", "train", "core", "functions", "mnist", "modules"):
        return importlib.import_module(f"vugrad.{name}")
    raise AttributeError(f"module 'vugrad' has no attribute {name!r}")
