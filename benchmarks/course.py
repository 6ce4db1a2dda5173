"""The course's library in miniature, after what the report says of it, to compare with.

Everything is float64. Every node, the input's too, gets a buffer of zeros for its gradient, and gradients are
added into the buffers. Shapes must be equal, so biases and row maxima are expanded. The softmax is made of small
ops and the loss is a sum. ``zero_grad`` visits the nodes below once for every path that leads to them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from perceptron import LR, Problem, Step

Array = Any
Backward = Callable[[Array], tuple[Array, ...]]


class Node:
    """A value, its gradient, and what it was computed from and how its gradient goes back there."""

    def __init__(self, value: Array, inputs: tuple[Node, ...] = (), backward: Backward | None = None) -> None:
        self.value = value
        self.grad = np.zeros(value.shape)
        self.inputs = inputs
        self.backward = backward

    def zero_grad(self) -> None:
        """Set all gradients below to zero."""
        self.grad.fill(0)
        for node in self.inputs:
            node.zero_grad()


def back_propagate(nodes: list[Node]) -> None:
    """Add gradients up, from the last of the nodes (in the order they were made) to the first."""
    nodes[-1].grad[...] = 1
    for node in reversed(nodes):
        if node.backward is not None:
            for source, gradient in zip(node.inputs, node.backward(node.grad), strict=True):
                source.grad += gradient


def linear(w: Node, x: Node) -> Node:
    """Rows of x times w transposed."""
    return Node(x.value @ w.value.T, (w, x), lambda go: (go.T @ x.value, go @ w.value))


def expand(x: Node, axis: int, repeats: int) -> Node:
    """The one slice along an axis, repeated."""
    return Node(np.repeat(x.value, repeats, axis=axis), (x,), lambda go: (go.sum(axis=axis, keepdims=True),))


def add(x: Node, y: Node) -> Node:
    """The sum of equal shapes."""
    return Node(x.value + y.value, (x, y), lambda go: (go, go))


def subtract(x: Node, y: Node) -> Node:
    """The difference of equal shapes."""
    return Node(x.value - y.value, (x, y), lambda go: (go, -go))


def sigmoid(x: Node) -> Node:
    """The logistic function."""
    y = 1 / (1 + np.exp(-x.value))
    return Node(y, (x,), lambda go: (go * y * (1 - y),))


def row_max(x: Node) -> Node:
    """The largest of each row."""
    y = x.value.max(axis=1, keepdims=True)
    return Node(y, (x,), lambda go: (go * (x.value == y),))


def exp(x: Node) -> Node:
    """The exponential."""
    y = np.exp(x.value)
    return Node(y, (x,), lambda go: (go * y,))


def log(x: Node) -> Node:
    """The logarithm."""
    return Node(np.log(x.value), (x,), lambda go: (go / x.value,))


def normalize(x: Node) -> Node:
    """Each row divided by its sum."""
    s = x.value.sum(axis=1, keepdims=True)
    return Node(x.value / s, (x,), lambda go: (go / s - (go * x.value).sum(axis=1, keepdims=True) / s**2,))


def select(x: Node, columns: Array) -> Node:
    """One element of each row."""
    rows = np.arange(len(columns))

    def backward(go: Array) -> tuple[Array]:
        gx = np.zeros(x.value.shape)
        gx[rows, columns] = go
        return (gx,)

    return Node(x.value[rows, columns], (x,), backward)


def minus_sum(x: Node) -> Node:
    """The sum of all elements with its sign changed, as an array of one."""
    return Node(-x.value.sum(keepdims=True), (x,), lambda go: (np.repeat(-go, len(x.value)),))


def course_step(p: Problem) -> Step:
    """The training step; the loss is a sum over the batch, so the learning rate is divided by its size."""
    w1, w2 = Node(p.w1.astype(np.float64)), Node(p.w2.astype(np.float64))
    b1, b2 = Node(np.zeros((1, len(p.w1)))), Node(np.zeros((1, len(p.w2))))
    x64 = p.x.astype(np.float64)
    n, classes = len(p.x), len(p.w2)

    def step() -> float:
        tape = [Node(x64)]

        def made(node: Node) -> Node:
            tape.append(node)
            return node

        h = made(linear(w1, tape[0]))
        h = made(sigmoid(made(add(h, made(expand(b1, 0, n))))))
        z = made(linear(w2, h))
        z = made(add(z, made(expand(b2, 0, n))))
        largest = made(expand(made(row_max(z)), 1, classes))
        y = made(normalize(made(exp(made(subtract(z, largest))))))
        loss = made(minus_sum(made(select(made(log(y)), p.labels))))

        back_propagate(tape)
        for parameter in (w1, b1, w2, b2):
            parameter.value -= LR / n * parameter.grad
        loss.zero_grad()
        return float(loss.value[0]) / n

    return step
