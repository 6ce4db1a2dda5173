"""A scene as shapes: what is written on each node, how large it is, which groups are open, and where all of it lies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vugrad.graph import OpNode, TensorNode
from vugrad.viewer.layout import TITLE, Layers, layers, place
from vugrad.viewer.scene import Group, Node, Scene

#: Of so many nodes and groups at most a picture begins with; groups that would make it more are closed.
OPEN = 60
#: Pixels of a letter, a line and the space around them.
LETTER, LINE, PAD = 7.0, 15.0, 9.0


@dataclass(frozen=True)
class Shape:
    """Something that is drawn: its lines of text, its place from the corner of the picture, and its size.

    ``kind`` is "op", "value", "parameter", "input", "constant", "result" or "group".
    """

    kind: str
    text: tuple[str, ...]
    x: float
    y: float
    width: float
    height: float


def kind_of(node: Node, scene: Scene) -> str:
    """How a node is drawn."""
    if isinstance(node, OpNode):
        return "op"
    if any(node is result for result in scene.results):
        return "result"
    if node.source is not None:
        return "value"
    inside = any(group.kind for group in scene.home[node].above)
    return "input" if not inside else "parameter" if node.requires_grad else "constant"


def written(part: Node | Group) -> tuple[str, ...]:
    """What stands on a part."""
    if isinstance(part, Group):
        return (f"{part.label} {part.kind}" if part.kind != part.label else part.label,)
    if isinstance(part, OpNode):
        return (part.op.__name__,)
    number = not part.shape and part.value.dtype.kind in "fiub"
    shape = f"{part.value.item():.4g}" if number else str(part.shape)
    return (part.name, shape) if part.name else (shape,)


def called(node: Node, scene: Scene) -> str:
    """A node's name in a sentence: its name or the op that made it, its shape, its module."""
    group = scene.home[node]
    if isinstance(node, OpNode):
        return node.op.__name__ + (f" in {written(group)[0]}" if group.kind else "")
    if node.name:
        what = node.name
    elif node.source is not None:
        outputs = [id(y) for y in node.source.outputs]
        which = f"output {outputs.index(id(node)) + 1}" if len(outputs) > 1 else "the output"
        what = f"{which} of {node.source.op.__name__}"
    elif not node.shape:
        return f"the number {written(node)[0]}"
    else:
        what = f"the {kind_of(node, scene)}"
    shape = f" {node.shape}" if node.shape else ", a scalar"
    return what + shape + (f" in {written(group)[0]}" if group.kind else "")


def size(part: Node | Group) -> tuple[float, float]:
    """The width and height of a node or of a closed group."""
    lines = written(part)
    width = LETTER * max(map(len, lines)) + 2 * PAD + (LETTER * 3 if isinstance(part, Group) else 0)
    return max(width, 2 * LINE), LINE * len(lines) + PAD + (PAD if isinstance(part, Group) else 0)


def opened(scene: Scene) -> set[Group]:
    """The groups that a picture begins with open, the outer ones first, until it is full."""
    found, shown = {scene.whole}, len(scene.whole.parts)
    for group in scene.whole.within[1:]:
        if group.kind and group.parent in found and shown + len(group.parts) <= OPEN:
            found.add(group)
            shown += len(group.parts)
    return found


def all_layers(scene: Scene) -> dict[Group, Layers]:
    """The layers of every group."""
    found = {}
    for group, edges in scene.between().items():
        tensors = ((i, p) for i, p in enumerate(group.parts) if isinstance(p, TensorNode))
        leaves = frozenset(i for i, p in tensors if p.source not in scene.home)
        found[group] = layers(len(group.parts), edges, leaves)
    return found


@dataclass(frozen=True)
class Picture:
    """A scene in shapes.

    Args:
        shapes: of every node and group that can be seen; those of open groups come first.
        edges: the points that each passes, from shape to shape.
        width: in pixels.
        height: in pixels.
    """

    shapes: dict[Node | Group, Shape]
    edges: dict[tuple[Node | Group, Node | Group], list[tuple[float, float]]]
    width: float
    height: float


def picture(scene: Scene, open_groups: Iterable[Group], down: bool = False) -> Picture:
    """Draw what can be seen with some groups open; ``page.js`` does the same."""
    seen = set(open_groups) | {scene.whole}
    found = all_layers(scene)
    spots: dict[Group, dict[int, tuple[float, float]]] = {}

    def measure(group: Group) -> tuple[float, float]:
        sizes = {i: measure(p) if p in seen else size(p) for i, p in enumerate(group.parts)}  # type: ignore[arg-type]
        placed = place(found[group], sizes, TITLE if group.parent is not None else 0.0, down)
        spots[group] = placed.spots
        extents[group] = (placed.width, placed.height)
        return placed.width, placed.height

    extents: dict[Group, tuple[float, float]] = {}
    width, height = measure(scene.whole)
    shapes: dict[Node | Group, Shape] = {}
    corners = {scene.whole: (0.0, 0.0)}

    def draw(group: Group) -> None:
        x0, y0 = corners[group]
        for i, part in enumerate(group.parts):
            x, y = spots[group][i]
            w, h = extents[part] if isinstance(part, Group) and part in seen else size(part)
            kind = "group" if isinstance(part, Group) else kind_of(part, scene)
            shapes[part] = Shape(kind, written(part), x0 + x - w / 2, y0 + y - h / 2, w, h)
            if isinstance(part, Group) and part in seen:
                corners[part] = (x0 + x - w / 2, y0 + y - h / 2)
                draw(part)

    draw(scene.whole)
    return Picture(shapes, _edges(scene, seen, found, spots, corners, shapes, down), width, height)


def _edges(
    scene: Scene,
    seen: set[Group],
    found: Mapping[Group, Layers],
    spots: Mapping[Group, Mapping[int, tuple[float, float]]],
    corners: Mapping[Group, tuple[float, float]],
    shapes: Mapping[Node | Group, Shape],
    down: bool,
) -> dict[tuple[Node | Group, Node | Group], list[tuple[float, float]]]:
    edges: dict[tuple[Node | Group, Node | Group], list[tuple[float, float]]] = {}
    for passed, left, right in scene.routes():
        around = next(group for group, edge in passed if None not in edge)
        if not seen.issuperset(around.above):
            continue
        start, end = (next(part for part in way if part not in seen) for way in (left, right))
        bends = [
            (corners[group][0] + spots[group][i][0], corners[group][1] + spots[group][i][1])
            for group, edge in passed
            if group in spots
            for i in found[group].bends[edge]
        ]
        s, e = shapes[start], shapes[end]
        if down:
            points = [(s.x + s.width / 2, s.y + s.height), *bends, (e.x + e.width / 2, e.y)]
        else:
            points = [(s.x + s.width, s.y + s.height / 2), *bends, (e.x, e.y + e.height / 2)]
        edges.setdefault((start, end), points)
    return edges
