"""``vg.view``: a graph as a picture, in a notebook, a browser or a file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vugrad.files import check_writable, write_whole
from vugrad.graph import OpNode, TensorNode
from vugrad.nn import Module
from vugrad.nn.calls import kept
from vugrad.suggest import choose
from vugrad.viewer import drawings
from vugrad.viewer.page import inline, page
from vugrad.viewer.scene import Scene, scene
from vugrad.viewer.watched import NotFiniteError, OverwrittenError, recorded


class View:
    """A picture of a graph: a notebook shows it, ``save`` writes it."""

    def __init__(self, scene: Scene, down: bool | None, note: str) -> None:
        self.scene, self.down, self.note = scene, down, note

    def save(self, path: str | Path) -> Path:
        """Write it as ``.html`` (a page of its own), ``.svg``, ``.dot`` (for Graphviz) or ``.mermaid``.

        Raises ``ValueError`` for another ending, ``OSError`` for a place that cannot be written to.
        """
        path = Path(path)
        kind = choose("kind of picture", path.suffix.removeprefix("."), KINDS)
        check_writable(path.absolute())
        write_whole(path, kind(self).encode())
        return path

    def _repr_html_(self) -> str:
        return inline(self.scene, self.note, self.down)

    def _repr_svg_(self) -> str:
        return drawings.svg(self.scene, self.down)

    def __repr__(self) -> str:
        return f"<View: {drawings.told(self.scene)}; .save('graph.html') writes a page, .save('graph.svg') a picture>"


def _node(x: Any) -> Any:
    """An array of real numbers as a node; what else a function takes as it is."""
    return TensorNode(x) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x


def _recorded(f: Callable[..., Any], inputs: Sequence[Any]) -> Any:
    """What a function gives, and the buffers of a module as they were: a look does not change it."""
    with kept(f) if isinstance(f, Module) else contextlib.nullcontext():
        return recorded(getattr(f, "function", f), *inputs)  # of a compiled one the function itself


#: What a file's name ends in, and what is written into it.
KINDS: dict[str, Callable[[View], str]] = {
    "html": lambda view: page(view.scene, view.note, view.down),
    "svg": lambda view: drawings.svg(view.scene, view.down),
    "dot": lambda view: drawings.dot(view.scene, view.down),
    "mermaid": lambda view: drawings.mermaid(view.scene, view.down),
}


def view(what: Any, *inputs: Any, down: bool | None = None) -> View:
    """A picture of a graph: in a notebook at once, and by ``save`` as a page, SVG, or for Graphviz and Mermaid.

    Args:
        what: a node, several, or an op in a graph, with all that is below; a module or function, which is run on the
            ``inputs``; or the error that :class:`vugrad.debug` has raised, whose op is marked.
        inputs: arrays or nodes for the module or function.
        down: draw downwards (``True``) or to the right (``False``); by default as fits the space.

    On the page modules open and close, each node shows its numbers, its gradient, its op's code and derivation, and a
    slider plays forward and backward, one op at a time. Which modules and lines the ops belong to is known of what is
    run here, or was run in ``with vg.debug():``.

    Raises ``TypeError`` for what has no graph, ``RuntimeError`` for a graph that was cleared.

    >>> import numpy as np, vugrad as vg
    >>> vg.view(vg.nn.MLP([3, 4, 2]), np.ones((5, 3)))
    <View: The graph of a node of shape (5, 2): 5 ops, 10 tensors; ...>
    """
    note, wrong = "", None
    if isinstance(what, NotFiniteError | OverwrittenError):
        note, wrong = str(what), what.source
        results: Any = wrong.outputs or list(wrong.inputs)
    elif isinstance(what, OpNode):
        results = what.outputs
    else:
        # A function of arrays is one of nodes: what it does to them is what is drawn.
        given = [x if isinstance(what, Module) or isinstance(x, TensorNode) else _node(x) for x in inputs]
        results = _recorded(what, given) if callable(what) else what
    nodes = list(results.values()) if isinstance(results, dict) else results
    nodes = [nodes] if isinstance(nodes, TensorNode) else nodes
    if not isinstance(nodes, list | tuple) or not nodes or not all(isinstance(node, TensorNode) for node in nodes):
        said = f"what {type(what).__name__} gives is {type(results).__name__}" if callable(what) else "this is none"
        raise TypeError(
            f"view takes a node, as a loss is, or a module or function with its inputs, whose result is a node, or a "
            f"list of them, and {said}: write vg.view(loss), or vg.view(model, x)"
        )
    drawn = scene(nodes, wrong)
    if not drawn.ops and not note:
        note = "There is no graph below: no op has produced this, or it was made under vg.no_grad()."
    return View(drawn, down, note)
