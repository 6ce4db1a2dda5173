"""Contractions: everything from a dot product to an einsum."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from vugrad.graph import Op
from vugrad.graph.backward import Array
from vugrad.graph.op import Context, needs_input_grad
from vugrad.ops.shape import sum_to

__all__ = [
    "BatchMM",
    "Einsum",
    "MatrixMultiply",
]


class MatrixMultiply(Op):
    """z = x y, as ``np.matmul``: matrices, stacks of them, vectors;  gx = go yᵀ,  gy = xᵀ go."""

    hint = "The last extent of x must equal the last but one of y: try x @ y.T"

    @staticmethod
    def forward(context: Context, x: Array, y: Array) -> Array:
        context.update(x=x, y=y)
        return np.matmul(x, y)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        x, y = context["x"], context["y"]
        # A vector takes part as a matrix with one row (x) or one column (y).
        rows = x if x.ndim > 1 else x[None, :]
        columns = y if y.ndim > 1 else y[:, None]
        go = go if x.ndim > 1 else np.expand_dims(go, -1 if y.ndim == 1 else -2)
        go = go if y.ndim > 1 else np.expand_dims(go, -1)
        gx = gy = None
        if needs_input_grad(context, 0):
            gx = np.reshape(sum_to(np.matmul(go, np.swapaxes(columns, -1, -2)), rows.shape), x.shape)
        if needs_input_grad(context, 1):
            gy = np.reshape(sum_to(np.matmul(np.swapaxes(rows, -1, -2), go), columns.shape), y.shape)
        return gx, gy


class BatchMM(Op):
    """z = x wᵀ, the linear layer: vectors in the rows of x (n×f), weights w (m×f);  gw = goᵀ x,  gx = go w."""

    hint = "The last extent of x must equal the last of w: the layer's number of input features"

    @staticmethod
    def forward(context: Context, w: Array, x: Array) -> Array:
        if w.ndim != 2 or x.ndim == 0:
            raise ValueError("weights have two axes, (outputs, features), and x has the features on its last axis")
        context.update(w=w, x=x)
        return np.matmul(x, w.T)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        w, x = context["w"], context["x"]
        gw = gx = None
        if needs_input_grad(context, 0):
            rows = math.prod(x.shape[:-1])  # reshape(-1) fails for empty arrays
            gw = np.matmul(np.reshape(go, (rows, w.shape[0])).T, np.reshape(x, (rows, w.shape[1])))
        if needs_input_grad(context, 1):
            gx = np.matmul(go, w)
        return gw, gx


class Einsum(Op):
    """y = Σ Π xₖ over the indices that the output lacks;  each gx = the einsum of go with the other operands."""

    hint = "One group of letters for each array, one letter for each axis, as in np.einsum('ij,jk->ik', x, y)"

    @staticmethod
    def forward(context: Context, *xs: Array, subscripts: str) -> Array:
        terms, output = explicit(subscripts, [x.ndim for x in xs])
        context.update(xs=xs, terms=terms, output=output)
        return np.einsum(",".join(terms) + "->" + output, *xs, optimize=True)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        xs, terms, output = context["xs"], context["terms"], context["output"]
        sizes: dict[str, int] = {}
        for x, term in zip(xs, terms, strict=True):
            for letter, n in zip(term, x.shape, strict=True):
                if n != 1 or letter not in sizes:
                    sizes[letter] = n
        gradients: list[Array] = []
        for i, (x, term) in enumerate(zip(xs, terms, strict=True)):
            if not needs_input_grad(context, i):
                gradients.append(None)
                continue
            others = [j for j in range(len(xs)) if j != i]
            operands, labels = [go, *(xs[j] for j in others)], [output, *(terms[j] for j in others)]
            # A letter twice in one term is a diagonal: the second gets a letter of its own, tied by an identity.
            # A letter nowhere else was summed alone: the gradient is repeated along it.
            target, free = "", iter(letter for letter in LETTERS if letter not in "".join(terms) + output)
            for letter in term:
                fresh = next(free) if letter in target else letter
                if fresh != letter:
                    operands.append(np.eye(sizes[letter], dtype=go.dtype))
                    labels.append(letter + fresh)
                elif letter not in "".join(labels):
                    operands.append(np.ones(sizes[letter], dtype=go.dtype))
                    labels.append(letter)
                target += fresh
            gx = np.einsum(",".join(labels) + "->" + target, *operands, optimize=True)
            # An extent of 1 that stood for a longer one is repeated, then summed.
            gx = np.broadcast_to(gx, tuple(sizes[letter] for letter in term))
            gradients.append(sum_to(gx, x.shape))
        return tuple(gradients)


LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def explicit(subscripts: str, ndims: list[int]) -> tuple[list[str], str]:
    """An einsum's operand terms and output with every axis spelled out: no ``...``, no implied output.

    >>> explicit("...ij,jk", [3, 2])
    (['aij', 'jk'], 'aik')
    """
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if len(terms) != len(ndims):
        raise ValueError(f"einsum {subscripts!r} names {len(terms)} operand(s), but there are {len(ndims)}")
    free = [letter for letter in LETTERS if letter not in subscripts]
    widths = [n - len(term.replace("...", "")) for term, n in zip(terms, ndims, strict=True)]
    for term, n, width in zip(terms, ndims, widths, strict=True):
        if width < 0 or (width > 0 and "..." not in term):
            raise ValueError(f"einsum {subscripts!r}: {term!r} does not name the {n} axes of its operand")
    dots = "".join(free[: max([w for term, w in zip(terms, widths, strict=True) if "..." in term], default=0)])
    terms = [term.replace("...", dots[len(dots) - w :] if w else "") for term, w in zip(terms, widths, strict=True)]
    if arrow:
        return terms, output.replace("...", dots)
    counts: Counter[Any] = Counter("".join(terms))
    once = sorted(letter for letter, n in counts.items() if n == 1 and letter not in dots)
    return terms, dots + "".join(once)
