"""One training step of an MLP, three ways: vugrad's, NumPy's by hand, and the course library's manner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import vugrad as vg

Array = Any
Step = Callable[[], float]
LR = 0.01


class Problem(NamedTuple):
    """A batch, and the weights that every contestant starts from."""

    x: Array
    labels: Array
    w1: Array
    w2: Array


def problem(sizes: tuple[int, int, int], batch: int) -> Problem:
    """Pixels in [0, 1], random labels, Glorot's weights; the biases start at zero."""
    rng = np.random.default_rng(0)
    inputs, hidden, classes = sizes
    return Problem(
        rng.random((batch, inputs), np.float32),
        rng.integers(0, classes, batch),
        vg.initializers.glorot_normal((hidden, inputs), rng),
        vg.initializers.glorot_normal((classes, hidden), rng),
    )


def vugrad_step(p: Problem) -> Step:
    """The step as a user of vugrad writes it."""
    model = vg.nn.MLP([p.w1.shape[1], p.w1.shape[0], p.w2.shape[0]], vg.nn.Sigmoid)
    model.load_state_dict({**model.state_dict(), "0.weight": p.w1, "2.weight": p.w2})
    optimizer = vg.optim.SGD(model.parameters(), lr=LR)

    def step() -> float:
        optimizer.zero_grad()
        loss = vg.losses.cross_entropy(model(p.x), p.labels)
        loss.backward()
        optimizer.step()
        return float(loss)

    return step


def numpy_step(p: Problem) -> Step:
    """The same maths by hand, in place wherever an array is not needed again: the best that plain NumPy does."""
    w1, w2 = p.w1.copy(), p.w2.copy()
    b1, b2 = np.zeros(len(w1), np.float32), np.zeros(len(w2), np.float32)
    rows = np.arange(len(p.x))

    def step() -> float:
        h = p.x @ w1.T
        h += b1
        np.negative(h, out=h)
        np.exp(h, out=h)
        h += 1
        np.reciprocal(h, out=h)
        z = h @ w2.T
        z += b2
        z -= z.max(axis=1, keepdims=True)
        picked = z[rows, p.labels]
        np.exp(z, out=z)
        total = z.sum(axis=1, keepdims=True)
        loss = np.log(total).mean() - picked.mean()

        z /= total
        z[rows, p.labels] -= 1
        z /= len(z)
        gw2, gb2 = z.T @ h, z.sum(axis=0)
        gh = z @ w2
        gh *= h
        np.subtract(1, h, out=h)
        gh *= h
        gw1, gb1 = gh.T @ p.x, gh.sum(axis=0)
        for parameter, gradient in ((w1, gw1), (b1, gb1), (w2, gw2), (b2, gb2)):
            gradient *= LR
            parameter -= gradient
        return float(loss)

    return step


class Node(NamedTuple):
    """A value and its gradient buffer, filled with zeros when the node is made."""

    value: Array
    grad: Array


def node(value: Array) -> Node:
    """A node as the course's library makes them."""
    return Node(value, np.zeros(value.shape))


def course_step(p: Problem) -> Step:
    """The manner of the course's library, as the report describes it.

    Everything is float64. Every node has a buffer of zeros, into which its gradient is added. The input has
    a gradient too. Shapes must be equal, so that biases and row maxima are expanded; the softmax is made of small
    ops; the loss is a sum, so that here the learning rate is divided by the batch.
    """
    x64 = p.x.astype(np.float64)
    w1, w2 = node(p.w1.astype(np.float64)), node(p.w2.astype(np.float64))
    b1, b2 = node(np.zeros((1, len(p.w1)))), node(np.zeros((1, len(p.w2))))
    parameters = (w1, b1, w2, b2)
    n, classes = len(p.x), len(p.w2)
    rows = np.arange(n)

    def step() -> float:
        x = node(x64)
        product1 = node(x.value @ w1.value.T)
        rows1 = node(np.repeat(b1.value, n, axis=0))
        sum1 = node(product1.value + rows1.value)
        h = node(1 / (1 + np.exp(-sum1.value)))
        product2 = node(h.value @ w2.value.T)
        rows2 = node(np.repeat(b2.value, n, axis=0))
        z = node(product2.value + rows2.value)
        largest = node(z.value.max(axis=1, keepdims=True))
        expanded = node(np.repeat(largest.value, classes, axis=1))
        shifted = node(z.value - expanded.value)
        e = node(np.exp(shifted.value))
        s = e.value.sum(axis=1, keepdims=True)
        softmax = node(e.value / s)
        logs = node(np.log(softmax.value))
        picked = node(logs.value[rows, p.labels][:, None])
        negative = node(-picked.value)
        loss = node(negative.value.sum())

        loss.grad[...] = 1
        np.add(negative.grad, loss.grad, out=negative.grad)
        np.add(picked.grad, -negative.grad, out=picked.grad)
        selected = np.zeros(logs.value.shape)
        selected[rows, p.labels] = picked.grad[:, 0]
        np.add(logs.grad, selected, out=logs.grad)
        np.add(softmax.grad, logs.grad / softmax.value, out=softmax.grad)
        g = softmax.grad / s - (softmax.grad * e.value).sum(axis=1, keepdims=True) / s**2
        np.add(e.grad, g, out=e.grad)
        np.add(shifted.grad, e.grad * e.value, out=shifted.grad)
        np.add(z.grad, shifted.grad, out=z.grad)
        np.add(expanded.grad, -shifted.grad, out=expanded.grad)
        np.add(largest.grad, expanded.grad.sum(axis=1, keepdims=True), out=largest.grad)
        np.add(z.grad, largest.grad * (z.value == largest.value), out=z.grad)
        np.add(product2.grad, z.grad, out=product2.grad)
        np.add(rows2.grad, z.grad, out=rows2.grad)
        np.add(b2.grad, rows2.grad.sum(axis=0, keepdims=True), out=b2.grad)
        np.add(w2.grad, product2.grad.T @ h.value, out=w2.grad)
        np.add(h.grad, product2.grad @ w2.value, out=h.grad)
        np.add(sum1.grad, h.grad * h.value * (1 - h.value), out=sum1.grad)
        np.add(product1.grad, sum1.grad, out=product1.grad)
        np.add(rows1.grad, sum1.grad, out=rows1.grad)
        np.add(b1.grad, rows1.grad.sum(axis=0, keepdims=True), out=b1.grad)
        np.add(w1.grad, product1.grad.T @ x.value, out=w1.grad)
        np.add(x.grad, product1.grad @ w1.value, out=x.grad)

        for parameter in parameters:
            np.subtract(parameter.value, LR / n * parameter.grad, out=parameter.value)
            parameter.grad.fill(0)
        return float(loss.value) / n

    return step
