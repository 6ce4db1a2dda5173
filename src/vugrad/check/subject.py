"""What is checked: anything that has a forward and a backward, seen as two functions of plain arrays."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vugrad.check.elsewhere import Elsewhere
from vugrad.graph import Op, TensorNode, as_array
from vugrad.graph.backward import Gradients, walk
from vugrad.nn import Module
from vugrad.ops.table import Domain

Array = Any
Arrays = list[Array]
#: From arrays to the nodes of the inputs, and to those of the outputs.
Build = Callable[[Arrays], tuple[list[TensorNode], list[TensorNode]]]

#: Where else an op is looked at, if its forward is finite there.
PLACES = (Domain(-2, 2), Domain(0.1, 3), Domain(-3, -0.1))


class Fault(Exception):  # noqa: N818 (it is what is wrong with an op, and is caught)
    """What a forward or a backward does that none may do, whatever its numbers are."""


@dataclass(frozen=True)
class Subject:
    """A forward and a backward.

    Args:
        name: for messages.
        labels: how each input is called.
        inputs: where it is looked at: float64, or whole numbers, which are not differentiated.
        forward: from inputs to all outputs.
        gradients: from inputs and upstream gradients to each input's gradient, ``None`` for whole numbers.
        build: how its graph is made.
        op: if it is one, with its constants.
    """

    name: str
    labels: list[str]
    inputs: Arrays
    forward: Callable[[Arrays], Arrays]
    gradients: Callable[[Arrays, Arrays], Arrays]
    build: Build
    op: type[Op] | None = None
    constants: Mapping[str, Any] = field(default_factory=dict)

    @property
    def real(self) -> list[int]:
        """The positions of the inputs that have gradients."""
        return [i for i, x in enumerate(self.inputs) if x.dtype.kind == "f"]

    def many(self, all_xs: Sequence[Arrays]) -> list[Arrays]:
        """The outputs at several inputs; an op of another process gets one request for all of them."""
        if self.op is not None and issubclass(self.op, Elsewhere):
            return self.op.forwards(all_xs, self.constants)
        return [self.forward(xs) for xs in all_xs]

    @property
    def shapes(self) -> str:
        """The inputs with their shapes, as a person writes them."""
        return ", ".join(f"{name} {x.shape}" for name, x in zip(self.labels, self.inputs, strict=True))


def subject(f: Any, inputs: Sequence[Any], constants: Mapping[str, Any]) -> Subject:
    """What ``f`` is at these inputs: an Op, a Module (whose parameters are inputs too), or a function of nodes.

    Raises ``TypeError`` for what is none of them, and what the forward raises for inputs that it does not take.
    """
    xs = [as_input("gradcheck", x) for x in inputs]
    if isinstance(f, type) and issubclass(f, Op):
        return of_op(f, xs, constants)
    if isinstance(f, type) or not callable(f):
        kind = f"the class {f.__name__}" if isinstance(f, type) else f"{type(f).__name__} {f!r}"
        raise TypeError(f"gradcheck takes an Op, a Module or a function of nodes, and not {kind}")
    if isinstance(f, Module):
        return _of_module(f, xs, constants)

    name = getattr(f, "__name__", "f").replace("<lambda>", "f")
    return of_graph(name, names(f, len(xs)), xs, _graph_of(f, constants))


def _graph_of(f: Callable[..., Any], constants: Mapping[str, Any]) -> Build:
    """How the graph of a function of nodes is made."""

    def build(xs: Arrays) -> tuple[list[TensorNode], list[TensorNode]]:
        nodes = [TensorNode(x) for x in xs]
        return nodes, _outputs(f(*nodes, **constants))

    return build


def of_op(op: type[Op], xs: Arrays, constants: Mapping[str, Any]) -> Subject:
    """An op, whose two directions are called by themselves."""
    labels = names(op.forward, len(xs), 1)

    def forward(xs: Arrays) -> Arrays:
        return run_forward(op, labels, {}, xs, constants)

    def gradients(xs: Arrays, gos: Arrays) -> Arrays:
        context: dict[str, Any] = {}
        ys = run_forward(op, labels, context, xs, constants)
        return run_backward(op, labels, context, xs, gos, ys)

    build = _graph_of(op.do_forward, constants)
    return Subject(op.__name__, labels, xs, forward, gradients, build, op, dict(constants))


def listed(result: Any) -> list[Any]:
    """What an op returns, which may be one array or several."""
    return list(result) if isinstance(result, tuple) else [result]


def run_forward(op: type[Op], labels: list[str], context: Any, xs: Arrays, constants: Mapping[str, Any]) -> Arrays:
    """An op's outputs; a :class:`Fault` if it returns nothing or writes into what it is given."""
    before = [x.tobytes() for x in xs]
    result = op.forward(context, *xs, **constants)
    _check_unchanged(f"{op.__name__}.forward", labels, xs, before)
    if result is None:
        raise Fault(f"{op.__name__}.forward returns None: is its return missing?")
    return [np.asarray(y) for y in listed(result)]


def run_backward(
    op: type[Op], labels: list[str], context: Any, xs: Arrays, gos: Arrays, ys: Sequence[Array] = ()
) -> Arrays:
    """An op's gradients; a :class:`Fault` for what is not one gradient of each input's shape."""
    called = f"{op.__name__}.backward"
    try:
        outputs = [f"output {k}" if len(ys) > 1 else "the output" for k in range(len(ys))]
        given = [*xs, *gos, *ys]
        before = [x.tobytes() for x in given]
        results = listed(op.backward(context, *gos))
        _check_unchanged(called, [*labels, *names(op.backward, len(gos), 1), *outputs], given, before)
    except Fault:
        raise
    except Exception as error:
        raise Fault(f"{called} raises {type(error).__name__}: {error}") from error
    if [type(g).__name__ for g in results] == ["list"]:  # of a submission's, only the name has come from its process
        raise Fault(f"{called} returns a list: return an array, or a tuple, as in return gx, gy")
    if len(results) != len(xs):
        raise Fault(
            f"{called} returns {len(results)} gradient(s) for {len(xs)} input(s): return a tuple with one for each "
            "array that forward takes, None for one of whole numbers"
        )
    for label, x, g in zip(labels, xs, results, strict=True):
        if x.dtype.kind in "fc" and g is None:
            raise Fault(f"{called} returns None where the gradient of {label} belongs: is its return missing?")
        if x.dtype.kind in "fc" and np.asarray(g).dtype.kind not in "fciub":
            raise Fault(f"{called} returns {type(g).__name__} for the gradient of {label}, and not an array of numbers")
    # Truth values, as of a comparison, are numbers too.
    return [None if x.dtype.kind not in "fc" else np.asarray(g) + 0.0 for x, g in zip(xs, results, strict=True)]


def of_graph(name: str, labels: list[str], xs: Arrays, build: Build) -> Subject:
    """What is made of nodes."""

    def forward(xs: Arrays) -> Arrays:
        return [y.value for y in build(xs)[1]]

    def gradients(xs: Arrays, gos: Arrays) -> Arrays:
        nodes, ys = build(xs)
        found = pulled_back(nodes, ys, gos)
        return [found.get(node, np.zeros_like(node.value)) if node.requires_grad else None for node in nodes]

    return Subject(name, labels, xs, forward, gradients, build)


def pulled_back(
    nodes: list[TensorNode], ys: list[TensorNode], gos: Sequence[Any], create_graph: bool = False
) -> Gradients:
    """The gradients of nodes under the outputs of their graph, given those of the outputs."""
    roots: Gradients = {}
    for y, go in zip(ys, gos, strict=True):
        if y.requires_grad:
            roots[y] = roots[y] + go if y in roots else go  # one node may be two outputs
    return walk(roots, wanted=[node for node in nodes if node.requires_grad], create_graph=create_graph)


def _of_module(module: Module, xs: Arrays, constants: Mapping[str, Any]) -> Subject:
    parameters = dict(module.named_parameters())
    count = len(xs)

    def build(xs: Arrays) -> tuple[list[TensorNode], list[TensorNode]]:
        own = copy.deepcopy(module)  # so that running averages and random keys are the same at each call
        weights = [node for _, node in own.named_parameters()]
        for node, value in zip(weights, xs[count:], strict=True):
            node.value = value
        nodes = [TensorNode(x) for x in xs[:count]]
        return [*nodes, *weights], _outputs(own(*nodes, **constants))

    labels = [*names(module.forward, count), *parameters]
    weights = [as_input("gradcheck", node) for node in parameters.values()]
    return of_graph(type(module).__name__, labels, [*xs, *weights], build)


def _outputs(result: Any) -> list[TensorNode]:
    ys = list(result) if isinstance(result, tuple | list) else [result]
    for y in ys:
        if not isinstance(y, TensorNode):
            raise TypeError(
                f"the function returns {type(y).__name__}, not a node: compute with operators, NumPy functions or vg's "
                "own on its arguments, without .value"
            )
    return ys


def as_input(caller: str, x: Any) -> Array:
    """An input as an array: real numbers in float64, whole numbers unchanged; ``TypeError`` for anything else."""
    try:
        array = x.value if isinstance(x, TensorNode) else np.asarray(as_array(x))
    except (TypeError, ValueError) as error:
        given = type(x).__name__
        raise TypeError(
            f"{caller} takes arrays of real or whole numbers, or shapes as (2, 3), and not of {given}: {error}"
        ) from None
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{caller} takes arrays of real or whole numbers, or shapes as (2, 3), and not of {array.dtype}"
        )
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def inputs_of(op: type[Op], constants: Iterable[str] = ()) -> list[str]:
    """The arrays that an op takes: what its forward has no default for, and two where it takes any number."""
    parameters = [p for p in list(inspect.signature(op.forward).parameters.values())[1:] if p.name not in constants]
    found = [p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    return found + [f"{p.name}[{i}]" for p in parameters if p.kind is p.VAR_POSITIONAL for i in range(2)]


def places(xs: Arrays) -> Iterator[Arrays]:
    """The inputs, and others of their shapes, of both signs and of one."""
    yield xs
    rng = np.random.default_rng(0)
    for domain in PLACES:
        yield [domain.at(rng.random(x.shape)) if x.dtype.kind == "f" else x for x in xs]


def names(function: Callable[..., Any], count: int, skipped: int = 0) -> list[str]:
    """What a function calls its first arguments; those that it takes by ``*xs`` are xs[0], xs[1] and so on."""
    found: list[str] = []
    with contextlib.suppress(TypeError, ValueError):  # one in C may have no signature
        for parameter in list(inspect.signature(function).parameters.values())[skipped:]:
            if parameter.kind is parameter.VAR_POSITIONAL:
                found += [f"{parameter.name}[{i}]" for i in range(count - len(found))]
            elif parameter.kind is not parameter.KEYWORD_ONLY and len(found) < count:
                found.append(parameter.name)
    return found[:count] + [f"input {i}" for i in range(len(found), count)]


def element(label: str, at: tuple[int, ...]) -> str:
    """An element of an array, as ``x[0, 2]``."""
    return f"{label}[{', '.join(map(str, at))}]" if at else label


def short(x: Any) -> str:
    """An array in a few words."""
    with np.printoptions(precision=4, threshold=6, edgeitems=2, suppress=True):
        return str(x).replace("\n", "")


def _check_unchanged(called: str, labels: list[str], arrays: Sequence[Array], before: list[bytes]) -> None:
    """Raise a :class:`Fault` if an array has other bytes than before, and put them back."""
    changed = [i for i, x in enumerate(arrays) if x.tobytes() != before[i]]
    for i in changed:
        arrays[i][...] = np.frombuffer(before[i], arrays[i].dtype).reshape(arrays[i].shape)
    if changed:
        label = labels[changed[0]]
        raise Fault(
            f"{called} writes into {label}, which others use as well: compute a new array ({label} = {label} + …), not "
            f"in place ({label} += …)"
        )
