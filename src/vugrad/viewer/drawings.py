"""A picture as SVG, and a graph as the languages of two programs that draw: Graphviz's dot, and Mermaid."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape

from vugrad.graph import OpNode
from vugrad.viewer.picture import LINE, PAD, Shape, kind_of, opened, picture, written
from vugrad.viewer.scene import Group, Node, Scene

#: The widest picture in pixels that a notebook or README shows without shrinking its letters.
WIDE = 900
#: Fill, line and letters of each kind, on light and on dark paper.
COLOURS = {
    "op": (("#1d4ed8", "#1d4ed8", "#ffffff"), ("#93b4ff", "#93b4ff", "#10141c")),
    "value": (("#eef2f7", "#94a3b8", "#1e293b"), ("#273142", "#64748b", "#e2e8f0")),
    "result": (("#fef3c7", "#b45309", "#451a03"), ("#453412", "#fbbf24", "#fef3c7")),
    "parameter": (("#dcfce7", "#15803d", "#052e16"), ("#12351f", "#4ade80", "#dcfce7")),
    "input": (("#f3e8ff", "#7e22ce", "#3b0764"), ("#33204a", "#c084fc", "#f3e8ff")),
    "constant": (("#ffffff", "#94a3b8", "#334155"), ("#161b24", "#64748b", "#cbd5e1")),
    "group": (("#f8fafc", "#64748b", "#1e293b"), ("#1a2130", "#94a3b8", "#e2e8f0")),
}
WRONG = ("#b91c1c", "#f87171")
STYLE = """
.paper{fill:#ffffff}
.edge{fill:none;stroke:#64748b;stroke-width:1.4}
.tip{fill:#64748b}
text{font:12px system-ui,sans-serif;text-anchor:middle;dominant-baseline:central}
.op > text{font-weight:600}
.group > text{font-weight:600}
.open > text{text-anchor:start}
.title{text-anchor:start;font-weight:600;paint-order:stroke;stroke-width:6px;stroke-linejoin:round;pointer-events:none}
"""


def colours(within: str) -> str:
    """The style of every kind, for light and dark; of what is ``within`` an element."""

    def rules(dark: int) -> str:
        fill, _, letters = COLOURS["group"][dark]
        title = f"{within}.title{{fill:{letters};stroke:{fill}}}"
        wrong = f"{within}.wrong > rect{{stroke:{WRONG[dark]};stroke-width:4}}"
        kinds = (
            f"{within}.{kind} > rect{{fill:{fill};stroke:{line}}}{within}.{kind} > text{{fill:{letters}}}"
            for kind, (fill, line, letters) in ((kind, both[dark]) for kind, both in COLOURS.items())
        )
        return "".join([*kinds, title, wrong])

    plain = "".join(within + rule for rule in STYLE.strip().splitlines())
    dark = f"{within}.paper{{fill:#0f1420}}{within}.edge{{stroke:#94a3b8}}{within}.tip{{fill:#94a3b8}}"
    return f"{plain}{rules(0)}@media(prefers-color-scheme:dark){{{dark}{rules(1)}}}"


def svg(scene: Scene, down: bool | None = None, open_groups: Iterable[Group] | None = None) -> str:
    """The graph as one SVG file for light and dark pages; drawn downwards by default if it is wider than a page."""
    shown = opened(scene) if open_groups is None else list(open_groups)
    drawn = picture(scene, shown, down or False)
    if down is None and drawn.width > WIDE:
        return svg(scene, True, shown)
    width, height = f"{drawn.width:.0f}", f"{drawn.height:.0f}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="vugrad-graph" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="{escape(told(scene))}">',
        f"<title>{escape(told(scene))}</title><style>{colours('.vugrad-graph ')}</style>",
        '<defs><marker id="vugrad-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>',
        f'<rect class="paper" width="{width}" height="{height}"/>',
    ]
    groups = [part for part in drawn.shapes if isinstance(part, Group)]
    nodes = [part for part in drawn.shapes if not isinstance(part, Group)]
    open_ones = dict.fromkeys(group for group in groups if any(part in drawn.shapes for part in group.parts))
    lines += [_box(drawn.shapes[group], True) for group in open_ones]
    lines += [
        f'<path class="edge" marker-end="url(#vugrad-tip)" d="{curve(points, down or False)}"/>'
        for points in drawn.edges.values()
    ]
    lines += [
        _box(drawn.shapes[part], False, part is scene.wrong) for part in [*groups, *nodes] if part not in open_ones
    ]
    # Titles, above the incoming edges.
    lines += [_texts(drawn.shapes[group], True, ' class="title"') for group in open_ones]
    return "\n".join([*lines, "</svg>"])


def told(scene: Scene) -> str:
    """A graph in a sentence."""
    result = scene.results[0] if scene.results else None
    of = "" if result is None else f" of {result.name or 'a node'} of shape {result.shape}".replace(" of shape ()", "")
    ops, tensors = len(scene.ops), len(scene.tensors)
    return f"The graph{of}: {ops} op{'s' * (ops != 1)}, {tensors} tensor{'s' * (tensors != 1)}"


def curve(points: Sequence[tuple[float, float]], down: bool) -> str:
    """A smooth path through points, level at each."""
    (x, y), *rest = points
    parts = [f"M{x:.1f} {y:.1f}"]
    for to_x, to_y in rest:
        if down:
            middle = (y + to_y) / 2
            parts.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
        else:
            middle = (x + to_x) / 2
            parts.append(f"C{middle:.1f} {y:.1f} {middle:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
    return "".join(parts)


def _box(shape: Shape, is_open: bool, is_wrong: bool = False) -> str:
    radius = shape.height / 2 if shape.kind not in ("op", "group") else 5
    return (
        f'<g class="{shape.kind}{" wrong" * is_wrong}{" open" * is_open}">'
        f"<title>{escape(' '.join(shape.text))}</title><rect "
        f'x="{shape.x:.1f}" y="{shape.y:.1f}" width="{shape.width:.1f}" height="{shape.height:.1f}" rx="{radius:.1f}"/>'
        f"{'' if is_open else _texts(shape, False)}</g>"
    )


def _texts(shape: Shape, is_open: bool, attributes: str = "") -> str:
    x, middle = (shape.x + PAD, shape.y + LINE) if is_open else (shape.x + shape.width / 2, shape.y + shape.height / 2)
    first = middle - LINE * (len(shape.text) - 1) / 2
    return "".join(
        f'<text{attributes} x="{x:.1f}" y="{first + LINE * i:.1f}">{escape(line)}</text>'
        for i, line in enumerate(shape.text)
    )


def dot(scene: Scene, down: bool | None = None) -> str:
    """The graph in Graphviz's language, modules as clusters."""

    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'

    def node(name: str, part: Node) -> str:
        label = "\\n".join(quoted(line)[1:-1] for line in written(part))
        shape = "box" if isinstance(part, OpNode) else "ellipse"
        return f'{name} [label="{label}" shape={shape} class={kind_of(part, scene)}]'

    begin = ["digraph {", f"rankdir={'TB' if down else 'LR'}"]
    lines = _written(scene, lambda n, text: f"subgraph cluster_{n} {{ label={quoted(text)}", "}", node, "->")
    return "\n".join([*begin, *lines, "}"])


def mermaid(scene: Scene, down: bool | None = None) -> str:
    """The graph in Mermaid's language, which Markdown pages draw."""

    def quoted(text: str) -> str:
        return '"' + escape(text).replace("&", "#").replace("#amp;", "#38;").replace("\n", " ") + '"'

    def node(name: str, part: Node) -> str:
        text = quoted("\n".join(written(part)))
        return f"{name}[{text}]" if isinstance(part, OpNode) else f"{name}([{text}])"

    lines = _written(scene, lambda n, text: f"subgraph g{n}[{quoted(text)}]", "end", node, "-->")
    return "\n".join([f"flowchart {'TD' if down else 'LR'}", *lines])


def _written(
    scene: Scene, begin: Callable[[int, str], str], end: str, node: Callable[[str, Node], str], arrow: str
) -> list[str]:
    """Groups around nodes, and then the edges, each in the words of a language."""
    names = {node: f"n{i}" for i, node in enumerate(scene.home)}
    numbers = itertools.count(1)

    def inside(group: Group) -> Iterator[str]:
        for part in group.parts:
            if isinstance(part, Group):
                yield begin(next(numbers), written(part)[0])
                yield from inside(part)
                yield end
            else:
                yield node(names[part], part)

    return [*inside(scene.whole), *(f"{names[a]} {arrow} {names[b]}" for a, b in scene.edges)]
