"""What runs will take, from the multiplications of their networks and the speed of this machine."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from vugrad import random as randomness
from vugrad.compiler.machine.threads import allowed
from vugrad.compiler.profile import products
from vugrad.lab.record import Run
from vugrad.lab.runner import dataset
from vugrad.nn.summary import multiplications
from vugrad.train.recipe import Recipe

#: Of the speed of a large matrix product on one core, the share that training reaches in the mean; and the seconds that
#: a run takes besides: making the network, compiling, testing.
SHARE, BESIDES = 0.85, 0.4
#: Of the matrices by which the speed is measured.
EDGE = 768


def seconds(runs: Iterable[Run], workers: int) -> float:
    """About how long runs take on so many workers with a core each."""
    return sum(BESIDES + 2 * _multiplications(run.recipe) / (SHARE * speed()) for run in runs) / workers


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


@functools.cache
def speed() -> float:
    """Floating-point operations a second in a float32 product of matrices, on all cores, divided by their number."""
    return products(np.float32, EDGE) / allowed()
