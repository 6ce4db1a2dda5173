"""What a picture shows of a graph: its nodes, what leads to what, and the modules that they lie in."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from vugrad.graph import OpNode, TensorNode
from vugrad.graph.backward import below
from vugrad.viewer.watched import Call, Watched

Node = TensorNode | OpNode
#: From part to part of a group, by their places in it; from outside, or to it, where one is ``None``.
Edge = tuple[int | None, int | None]
#: A group of more is parted into such of consecutive parts, so that all that is open at a time can be seen.
CROWD = 60


@dataclass(eq=False)
class Group:
    """A call of a module, or consecutive parts of a crowd.

    Args:
        label: the module's path, or how many parts.
        kind: the module's class; empty for a crowd.
        parent: the group that it lies in; ``None`` for the whole.
        parts: the nodes and groups in it; none leads to one before it.
    """

    label: str
    kind: str = ""
    parent: Group | None = None
    parts: list[Node | Group] = field(default_factory=list)

    @property
    def above(self) -> list[Group]:
        """The groups around it, the whole first, and itself."""
        return [*(self.parent.above if self.parent is not None else []), self]

    @property
    def within(self) -> list[Group]:
        """Itself and all groups in it, those around others first."""
        found = [self]
        for group in found:
            found += [part for part in group.parts if isinstance(part, Group)]
        return found


@dataclass(eq=False)
class Scene:
    """A graph as it is drawn.

    Args:
        whole: the group of all.
        ops: the oldest first.
        home: the group that each node lies directly in.
        results: the nodes whose graph it is.
        wrong: the op that an error is about.
    """

    whole: Group
    ops: list[OpNode]
    home: dict[Node, Group]
    results: tuple[TensorNode, ...]
    wrong: OpNode | None = None

    @property
    def tensors(self) -> list[TensorNode]:
        """All that are drawn."""
        return [node for node in self.home if isinstance(node, TensorNode)]

    @property
    def edges(self) -> list[tuple[Node, Node]]:
        """From inputs to ops, and from ops to outputs; what is given to an op twice leads to it once."""
        found: list[tuple[Node, Node]] = []
        for op in self.ops:
            found += [(node, op) for node in dict.fromkeys(op.inputs)]
            found += [(op, node) for node in op.outputs if node in self.home]
        return found

    def ways(self) -> Iterator[tuple[Group, list[Node | Group], list[Node | Group]]]:
        """For each edge the innermost group around it, and on both sides what lies in that, down to the node."""
        for ends in self.edges:
            left, right = ([*self.home[node].above, node] for node in ends)
            depth = next(i for i, (x, y) in enumerate(zip(left, right, strict=False)) if x is not y)
            around = left[depth - 1]
            assert isinstance(around, Group)
            yield around, left[depth:], right[depth:]

    def routes(self) -> Iterator[tuple[list[tuple[Group, Edge]], list[Node | Group], list[Node | Group]]]:
        """For each edge the groups that it passes, and from which of their parts to which; and its two ways down."""
        for around, left, right in self.ways():
            out = [(group, (self.place[id(part)], None)) for group, part in itertools.pairwise(left)]
            into = [(group, (None, self.place[id(part)])) for group, part in itertools.pairwise(right)]
            across = (around, (self.place[id(left[0])], self.place[id(right[0])]))
            yield [*reversed(out), across, *into], left, right  # type: ignore[list-item]

    def between(self) -> dict[Group, list[Edge]]:
        """For each group what leads from one part to another, in from outside, and out."""
        found: dict[Group, dict[Edge, None]] = {group: {} for group in self.whole.within}
        for passed, _, _ in self.routes():
            for group, edge in passed:
                found[group][edge] = None
        return {group: list(edges) for group, edges in found.items()}

    @functools.cached_property
    def place(self) -> dict[int, int]:
        """Of each part in its group, by its id."""
        return {id(part): i for group in self.whole.within for i, part in enumerate(group.parts)}


def scene(results: Sequence[TensorNode], wrong: OpNode | None = None, ops: Sequence[OpNode] | None = None) -> Scene:
    """The graph under some nodes; of some ``ops`` alone, the oldest first, if they are given.

    Raises ``RuntimeError`` for a graph that was cleared.
    """
    ops = below(results)[::-1] if ops is None else list(ops)
    for op in ops:
        if op.cleared:
            raise RuntimeError(
                f"the graph below this node was cleared: {op.op.__name__} no longer has its inputs. Look at it before "
                "clear(), or run the forward again"
            )
    whole = Group("")
    home = _by_calls(ops, whole)
    users: dict[TensorNode, list[OpNode]] = {}
    for op in ops:
        for node in op.inputs:
            users.setdefault(node, []).append(op)
    given = {
        group: set(call.arguments)
        for op in ops
        if isinstance(op, Watched)
        for call, group in zip(op.calls, home[op].above[1:], strict=True)
    }
    # What an op has produced is a part of the picture if it is used, or asked for.
    for node in dict.fromkeys([*users, *results]):
        made_in = home.get(node.source) if node.source is not None else None
        made_in = made_in or _around(node, users.get(node, []), home, given)
        home[node] = made_in or whole
    _fill(whole, ops, home, users)
    return Scene(whole, ops, home, tuple(results), wrong)


def _by_calls(ops: Sequence[OpNode], whole: Group) -> dict[Node, Group]:
    """The group of each op: the call of a module in which it was applied."""
    home: dict[Node, Group] = {}
    running: list[tuple[Call, Group]] = []
    for op in ops:
        calls = op.calls if isinstance(op, Watched) else ()
        same = 0
        while same < min(len(calls), len(running)) and calls[same] == running[same][0]:
            same += 1
        del running[same:]
        for call in calls[same:]:
            parent = running[-1][1] if running else whole
            running.append((call, Group(call.path, call.kind, parent)))
        home[op] = running[-1][1] if running else whole
    return home


def _around(
    leaf: TensorNode, users: Sequence[OpNode], home: Mapping[Node, Group], given: Mapping[Group, set[int]]
) -> Group | None:
    """The innermost group around all uses of what no op has produced, outside of the modules that it was given to."""
    ways = [
        list(itertools.takewhile(lambda g: not {id(leaf), id(leaf.value)} & given.get(g, set()), home[op].above))
        for op in users
    ]
    shared = [groups[0] for groups in zip(*ways, strict=False) if all(group is groups[0] for group in groups)]
    return shared[-1] if shared else None


def _fill(
    whole: Group, ops: Sequence[OpNode], home: dict[Node, Group], users: Mapping[TensorNode, list[OpNode]]
) -> None:
    """Put everything into its group, in an order in which nothing leads back, and part what is a crowd."""
    began: dict[Group, float] = {}
    for op in ops:
        for group in home[op].above:
            began.setdefault(group, op.age)

    def age(node: Node) -> float:
        if isinstance(node, OpNode):
            return node.age
        if node.source is not None and node.source in home:
            return node.source.age + 0.5
        if node not in users:
            return 0.0
        user = users[node][0]  # or the group that it is in
        way = [*home[user].above, user]
        part = way[way.index(home[node]) + 1]
        return (began[part] if isinstance(part, Group) else user.age) - 0.5

    parts: dict[Group, list[tuple[float, Node | Group]]] = {group: [] for group in [whole, *began]}
    for group, first in began.items():
        if group.parent is not None:
            parts[group.parent].append((first, group))
    for node, group in home.items():
        parts[group].append((age(node), node))
    for group, found in parts.items():
        group.parts = [part for _, part in sorted(found, key=operator.itemgetter(0))]
    for group in parts:
        _part(group, home)


def _part(group: Group, home: dict[Node, Group]) -> None:
    """Part a crowd into groups of consecutive parts, which are parted again if they are crowds themselves."""
    count = len(group.parts)
    if count <= CROWD:
        return
    size = max(CROWD // 2, math.ceil(count / (CROWD // 2)))
    whole, group.parts = group.parts, []
    for i in range(0, count, size):
        some = whole[i : i + size]
        inner = Group(f"{i + 1}–{i + len(some)} of {count}", parent=group, parts=some)
        group.parts.append(inner)
        for part in some:
            if isinstance(part, Group):
                part.parent = inner
            else:
                home[part] = inner
        _part(inner, home)
