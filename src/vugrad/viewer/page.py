"""A scene as a page of its own: one file without network, server or other program, or a part of a notebook."""

from __future__ import annotations

import contextlib
import functools
import html
import inspect
import itertools
import json
import re
import textwrap
import time
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from vugrad.graph import Op, OpNode, TensorNode
from vugrad.viewer import layout, picture
from vugrad.viewer.drawings import colours, told
from vugrad.viewer.figures import figures
from vugrad.viewer.picture import all_layers, called, kind_of, opened, size, written
from vugrad.viewer.scene import Group, Node, Scene
from vugrad.viewer.steps import as_json, backward_steps
from vugrad.viewer.watched import Watched

#: Seconds that all derivations of a page may take.
PATIENCE = 4.0
#: Of so many nodes at most the numbers are shown, and of so many ops the steps.
NODES, STEPS = 5_000, 1_000

#: The page's script, in this order.
SCRIPTS = ("page.js", "place.js", "window.js", "drawing.js", "panel.js", "steps.js", "acts.js")

_ids = itertools.count()


def page(scene: Scene, note: str = "", down: bool | None = None) -> str:
    """A whole HTML file; names of nodes are escaped, so that only the page's own script runs."""
    return _filled("page.html", {"title": html.escape(told(scene)), "style": _style(), "body": body(scene, note, down)})


def inline(scene: Scene, note: str = "", down: bool | None = None, height: int = 560) -> str:
    """The page in a frame, for a notebook."""
    return (
        f'<iframe title="{html.escape(told(scene))}" style="width:100%;height:{height}px;border:1px solid #8886" '
        f'sandbox="allow-scripts" allow="fullscreen" srcdoc="{html.escape(page(scene, note, down))}"></iframe>'
    )


def body(scene: Scene, note: str, down: bool | None) -> str:
    """The content of the page's body."""
    data = json.dumps(document(scene, note) | {"down": down}, ensure_ascii=False, separators=(",", ":"))
    return _filled(
        "body.html",
        {
            "id": f"vugrad-{next(_ids)}",
            "title": html.escape(told(scene)),
            # So that no name ends the element that it stands in.
            "data": data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"),
            "script": "\n".join(map(_read, SCRIPTS)),
        },
    )


def _filled(name: str, parts: Mapping[str, str]) -> str:
    """A template with its marks replaced in one go: what is put in is not looked through again."""
    return re.sub(r"<!--(\w+)-->|/\*(\w+)\*/", lambda mark: parts[mark[1] or mark[2]], _read(name))


@functools.cache
def _read(name: str) -> str:
    return files("vugrad.viewer").joinpath(name).read_text(encoding="utf-8")


def _style() -> str:
    return _read("page.css") + colours(".vugrad ")


def document(scene: Scene, note: str = "") -> dict[str, Any]:
    """All that a page shows, as JSON takes it."""
    groups = scene.whole.within
    number = {group: i for i, group in enumerate(groups)}
    nodes: dict[Node, int] = {node: i for i, node in enumerate(scene.home)}
    users: dict[TensorNode, list[int]] = {}
    for op in scene.ops:
        for node in dict.fromkeys(op.inputs):
            users.setdefault(node, []).append(nodes[op])
    codes: dict[str, dict[str, Any]] = {}
    deadline = time.perf_counter() + PATIENCE
    found = all_layers(scene)
    shown = opened(scene)
    counts = _counts(scene)

    def common(part: Node | Group, home: Group | None) -> dict[str, Any]:
        w, h = size(part)
        return {
            "text": written(part),
            "w": w,
            "h": h,
            "home": None if home is None else number[home],
            "place": None if home is None else scene.place[id(part)],
        }

    def of_op(op: OpNode) -> dict[str, Any]:
        key = f"{op.op.__module__}.{op.op.__qualname__}"
        if key not in codes:
            codes[key] = {"says": inspect.cleandoc(op.op.__doc__ or ""), "source": source_of(op.op)}
            codes[key]["derivation"] = derivation(op) if time.perf_counter() < deadline else None
        inside = list(op.calls) if isinstance(op, Watched) else []
        return {
            "kind": "op",
            "name": called(op, scene),
            "code": key,
            "inputs": [nodes[node] for node in op.inputs],
            "outputs": [nodes[node] for node in op.outputs if node in nodes],
            "constants": ", ".join(f"{k}={v!r}" for k, v in op.constants.items()),
            "line": op.line if isinstance(op, Watched) else "",
            "path": " in ".join(f"{call.path} ({call.kind})" for call in reversed(inside)),
            "wrong": note if op is scene.wrong else "",
        }

    def of_tensor(node: TensorNode) -> dict[str, Any]:
        few = len(nodes) <= NODES
        held = node._grad if node._grad is not None and node._grad.shape == node.value.shape else None
        bare = {"shape": list(node.shape), "dtype": node.dtype.name, "size": int(node.value.size)}
        return {
            "kind": kind_of(node, scene),
            "name": called(node, scene),
            "value": figures(node.value) if few else bare,
            "gradient": figures(getattr(held, "value", held)) if held is not None and few else None,
            "differentiated": node.requires_grad,
            "made": None if node.source is None else nodes[node.source],
            "used": users.get(node, []),
        }

    steps = backward_steps(scene) if len(scene.ops) <= STEPS and scene.wrong is None else []
    return {
        "nodes": [
            common(node, scene.home[node]) | (of_op(node) if isinstance(node, OpNode) else of_tensor(node))
            for node in nodes
        ],
        "groups": [
            common(group, group.parent)
            | {
                "kind": "group",
                "kind2": group.kind,
                "count": counts[group],
                "open": group in shown,
                "parts": [f"g{number[p]}" if isinstance(p, Group) else f"n{nodes[p]}" for p in group.parts],
                "rows": found[group].rows,
                "bends": [{"a": a, "b": b, "through": bends} for (a, b), bends in found[group].bends.items()],
                "leaves": sorted(found[group].leaves),
            }
            for group in groups
        ],
        "edges": [[nodes[a], nodes[b]] for a, b in scene.edges],
        "codes": codes,
        "forward": [nodes[op] for op in scene.ops],
        "steps": as_json(steps, nodes),
        "results": [nodes[node] for node in scene.results],
        "wrong": None if scene.wrong is None else nodes[scene.wrong],
        "note": note,
        "alarm": scene.wrong is not None,
        "sizes": {
            "across": layout.ACROSS,
            "along": layout.ALONG,
            "margin": layout.MARGIN,
            "title": layout.TITLE,
            "settling": layout.SETTLING,
            "line": picture.LINE,
            "pad": picture.PAD,
        },
    }


def _counts(scene: Scene) -> dict[Group, int]:
    """How many nodes are in each group, however deep."""
    found: dict[Group, int] = {}
    for group in reversed(scene.whole.within):
        found[group] = sum(found[part] if isinstance(part, Group) else 1 for part in group.parts)
    return found


def source_of(op: type[Op]) -> str:
    """The code of both directions, where Python knows it."""
    with contextlib.suppress(OSError, TypeError):
        return "\n".join(textwrap.dedent(inspect.getsource(d)).rstrip() for d in (op.forward, op.backward))
    return "Its source is not at hand."


@functools.lru_cache(256)
def _derived(op: type[Op], axes: tuple[int, ...], constants: tuple[tuple[str, Any], ...]) -> str | None:
    from vugrad.check.derive import derive  # SymPy takes long to load, and is not in every install

    shapes = tuple(tuple(range(2, 2 + n)) for n in axes)
    for given in (None, shapes):  # the op table's own shapes, else such as these
        with contextlib.suppress(Exception):  # not all ops have a derivation by index
            found = derive(op, given, **dict(constants))
            return str(found) if found.established else None
    return None


def derivation(op: OpNode) -> str | None:
    """An op's derivation on a board, if it is shown to be what its code computes."""
    try:
        kind: Any = op.op
        return _derived(kind, tuple(len(node.shape) for node in op.inputs), tuple(op.constants.items()))
    except (ImportError, TypeError):  # no SymPy; constants that cannot be remembered
        return None
