"""Runs that differ in their seeds alone share what was recorded, and nothing else."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest

import vugrad as vg
from vugrad.compiler import alike as sharing
from vugrad.compiler.alike import alike, recorded
from vugrad.compiler.plan import Recent
from vugrad.lab import Records, Run, execute
from vugrad.train.recipe import Recipe

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


@pytest.fixture(autouse=True)
def nothing_recorded(monkeypatch):
    monkeypatch.setattr(sharing, "_traces", Recent(4))
    yield
    vg.set_threads(None)  # a run has set them


def calls(function, *blocks):
    """How often each block, a model and what it is alike, lets the function be run: twice where it is recorded."""
    counts = []
    for model, what in blocks:
        times = 0

        def step(x, model=model):
            nonlocal times
            times += 1
            return function(model, x)

        step.__qualname__ = "step"
        with alike(what):
            counts.append((vg.compile(step, state=[model])(X).value, times))
    return [value for value, _ in counts], [times for _, times in counts]


def test_equal_steps_are_recorded_once_and_use_their_own_arrays():
    models = [vg.nn.Linear(3, 2) for _ in range(3)]
    values, times = calls(lambda model, x: model(x), *((model, "linear") for model in models))
    assert times == [2, 0, 0]
    for model, value in zip(models, values, strict=True):
        np.testing.assert_allclose(value, model(X).value, rtol=1e-6)
    assert not np.allclose(values[0], values[1])


@pytest.mark.parametrize(
    "other",
    [
        (vg.nn.Linear(3, 2), "another"),
        (vg.nn.Linear(3, 5), "linear"),
        (vg.nn.Linear(3, 2, bias=False), "linear"),
        (vg.nn.Linear(3, 2, dtype=np.float64), "linear"),
        (vg.nn.Linear(3, 2).eval(), "linear"),
        (vg.nn.Linear(3, 2), None),
    ],
    ids=["key", "shape", "parts", "dtype", "mode", "no block"],
)
def test_what_differs_is_recorded_anew(other):
    _, times = calls(lambda model, x: model(x), (vg.nn.Linear(3, 2), "linear"), other)
    assert times == [2, 2]


def test_no_block_outlives_an_error():
    with pytest.raises(ZeroDivisionError), alike("linear"):
        1 / 0  # noqa: B018
    _, times = calls(lambda model, x: model(x), *[(vg.nn.Linear(3, 2), None)] * 2)
    assert times == [2, 2]


def test_what_is_kept_holds_on_to_no_model():
    model = vg.nn.Linear(3, 2)
    there = weakref.ref(model)
    with alike("linear"):
        recorded(model, (X,), (model,), "signature")
    del model
    gc.collect()
    assert there() is None


@pytest.mark.parametrize(
    "change", [{}, {"batch_norm": True}, {"shift": 1}, {"loss": "mse", "schedule": "onecycle", "clip_norm": 1.0}]
)
def test_runs_after_another_have_the_bits_of_those_alone(tmp_path, monkeypatch, change):
    recipe = replace(Recipe(data="digits", model="mlp", hidden=(12,), epochs=2, dropout=0.2), **change)
    execute(Run(recipe, 0), Records(tmp_path / "together"))
    after = execute(Run(recipe, 1), Records(tmp_path / "together"))
    monkeypatch.setattr(sharing, "_traces", Recent(4))
    alone = execute(Run(recipe, 1), Records(tmp_path / "alone"))
    assert (after.weights, after.test_loss, after.history["loss"]) == (
        alone.weights,
        alone.test_loss,
        alone.history["loss"],
    )
