"""Estimates of the time of runs, to share them among workers and to tell the time left."""

from __future__ import annotations

import functools
from dataclasses import replace

from vugrad import random as randomness
from vugrad.lab.record import Run
from vugrad.lab.runner import dataset
from vugrad.nn.summary import multiplications
from vugrad.train.recipe import Recipe

#: Measured on a core with AVX2 at 4.7 GHz: floating-point operations per second in training; seconds for each epoch, in
#: validation and checkpoint; seconds for each run, in compilation and test.
RATE, EPOCH, RUN = 1e11, 0.01, 0.3


def cost(run: Run) -> float:
    """The estimated seconds of a run on one core of that machine; on other machines only the proportions hold."""
    return RUN + EPOCH * run.recipe.epochs + 2 * _multiplications(run.recipe) / RATE


def _multiplications(recipe: Recipe) -> int:
    """Those of a whole run: the backward pass has twice those of the forward."""
    images = len(dataset(recipe.data, recipe.pixels, recipe.final).train.x)
    return 3 * images * recipe.epochs * _of_one(_network(recipe))


def _network(recipe: Recipe) -> Recipe:
    """A recipe with all that does not change the network at its default."""
    names = ("data", "pixels", "final", "model", "hidden", "batch_norm", "residual")
    return replace(Recipe(), **{name: getattr(recipe, name) for name in names})


@functools.cache
def _of_one(recipe: Recipe) -> int:
    """Those of one image on its way forward."""
    data = dataset(recipe.data, recipe.pixels, recipe.final)
    before = randomness.generator().bit_generator.state
    try:
        return multiplications(replace(recipe, init="zeros").build_model(data), data.train.x[:1])
    finally:
        randomness.generator().bit_generator.state = before
