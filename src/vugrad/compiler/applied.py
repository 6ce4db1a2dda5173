"""A compiled function as an op of an eager graph, so that gradients flow through it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vugrad.compiler.trace import Trace
from vugrad.graph import Op, OpNode, TensorNode
from vugrad.graph.backward import thread, walk
from vugrad.graph.nodes import KeptGradient

Array = Any


@dataclass
class Applied:
    """One call of a compiled function, with everything that is needed to run it again op by op."""

    function: Any
    arguments: tuple[Any, ...]
    trace: Trace
    outputs: dict[str, Array]
    unchanged: Callable[[], bool]  # whether what the function reads is as it was at the call

    @property
    def name(self) -> str:
        """The function's name."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def nodes(self) -> list[TensorNode]:
        """The nodes that gradients may flow to: arguments, then the state."""
        given = [x for x in self.arguments if isinstance(x, TensorNode) and x.requires_grad]
        return given + self.trace.nodes

    def result(self) -> Any:
        """The function's result; its differentiable outputs come from one op whose inputs are :meth:`nodes`."""
        names = self.trace.differentiable
        if not names or thread.kind is None or not (nodes := self.nodes()):
            return self.trace.rebuild(self.outputs)
        made = CompiledFunction.do_forward(*nodes, call=self)
        if self.trace.changes_state():  # its backward pass, if it has one, is over
            for node in made:
                node._grad = KeptGradient(self.no_gradient())
        return self.trace.rebuild(self.outputs | dict(zip(names, made, strict=True)))

    def no_gradient(self) -> str:
        """Why a function that changes its state has no gradient outside."""
        return (
            f"the compiled function {self.name!r} changes its state when it runs, so it cannot be differentiated "
            "from outside: compile the whole step, with loss.backward() and optimizer.step() in it, as one "
            "function; or, for a model, call model.eval() first, so that dropout and batch norm change nothing"
        )


def _sample(x: Array) -> list[Any]:
    """Three elements, ``None`` for NaN: an update of all parameters changes some. To compare all takes too long."""
    return [None if y != y else y for y in (x.item(0), x.item(x.size // 2), x.item(x.size - 1))] if x.size else []


class CompiledFunction(Op):
    """y = f(x), computed by native code;  gx = the gradient of f, for which f runs again op by op."""

    @staticmethod
    def forward(context: dict[str, Any], *inputs: Array, call: Applied) -> tuple[Array, ...]:
        """The differentiable outputs, which native code has computed before."""
        context.update(inputs=inputs, call=call, samples=[_sample(node.value) for node in call.nodes()])
        return tuple(call.outputs[name] for name in call.trace.differentiable)

    @staticmethod
    def backward(context: dict[str, Any], *go: Array) -> tuple[Array | None, ...]:
        """The gradients of the arguments and of the state."""
        call: Applied = context["call"]
        if call.trace.changes_state():
            raise RuntimeError(call.no_gradient())
        for node, value, sample in zip(call.nodes(), context["inputs"], context["samples"], strict=True):
            if getattr(value, "value", value) is not node.value or _sample(node.value) != sample:
                raise RuntimeError(
                    f"{node.name or 'a parameter'} has changed since the compiled function {call.name!r} was called, "
                    "which runs again for its gradient: run backward() before the parameters are updated"
                )
        if not call.unchanged():
            raise RuntimeError(
                f"a variable, an attribute or a mode that the compiled function {call.name!r} reads has changed since "
                "it was called: run backward() first, or pass what changes as an argument"
            )
        inputs = iter(context["inputs"])
        wanted, arguments = [], []
        for x in call.arguments:
            if isinstance(x, TensorNode) and x.requires_grad:
                given = next(inputs)
                x = given if isinstance(given, TensorNode) else TensorNode(given)
                wanted.append(x)
            arguments.append(x)
        wanted += call.nodes()[len(wanted) :]
        kind = thread.kind
        try:
            thread.kind = OpNode
            found = call.trace.picked(call.function(*arguments))
            roots: dict[TensorNode, Array] = {}
            for node, gradient in zip(found, go, strict=True):
                roots[node] = roots[node] + gradient if node in roots else gradient
            gradients = walk(roots, wanted, create_graph=any(isinstance(g, TensorNode) for g in go))
        finally:
            thread.kind = kind
        return tuple(gradients.pop(node, None) for node in wanted)  # once for a node that is there twice
