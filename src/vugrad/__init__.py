"""vugrad: a small deep-learning library you can read. Every op once, in plain NumPy.

>>> import numpy as np, vugrad as vg
>>> x = vg.TensorNode(np.array([1.0, 2.0]))
>>> y = (np.exp(x) * x).sum()
>>> y.backward()
>>> x.grad
array([ 5.43656366, 22.1671683 ])

The floors, from below: ``vg.graph`` (nodes and the walk), ``vg.ops`` (every derivative), ``vg.nn``,
``vg.losses``, ``vg.optim``, ``vg.initializers`` and ``vg.data``, ``vg.check`` and ``vg.compiler``, and ``vg.train``.
``vg.load_state`` and ``vg.save_state`` read and write weights in PyTorch's files.
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
    from vugrad.interchange.onnx import export_onnx as export_onnx
    from vugrad.interchange.native import export_native as export_native
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


def __getattr__(name: str) -> Any:
    """Load the folders that bring more of the standard library with them when they are first asked for."""
    if name in ("check", "compiler", "data", "sklearn", "train"):
        return importlib.import_module(f"vugrad.{name}")
    if name in ("compile", "get_threads", "set_threads"):
        return getattr(importlib.import_module("vugrad.compiler"), name)
    if name in ("doctor", "gradcheck", "prove"):
        return getattr(importlib.import_module("vugrad.check"), name)
    if name == "export_onnx":
        return importlib.import_module("vugrad.interchange.onnx").export_onnx
    if name == "export_native":
        return importlib.import_module("vugrad.interchange.native").export_native
    if name in ("load_state", "save_state"):
        return getattr(importlib.import_module("vugrad.interchange.weights"), name)
    if name in ("debug", "view"):
        return getattr(importlib.import_module("vugrad.viewer"), name)
    raise AttributeError(f"module 'vugrad' has no attribute {name!r}")
