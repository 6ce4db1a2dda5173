"""The estimator: what scikit-learn demands of one, its searches and pipelines, and what it learns."""

import copy
import functools
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

import vugrad as vg
from vugrad.sklearn import Classifier


def net(n_features, n_classes, hidden=8):
    """A network of one's own."""
    return vg.nn.Sequential(
        vg.nn.Linear(n_features, hidden), vg.nn.Tanh(), vg.nn.Dropout(0.1), vg.nn.Linear(hidden, n_classes)
    )


ESTIMATORS = {
    "perceptron": Classifier(epochs=25),
    "own": Classifier(epochs=25, compile=False, module=net, lr=0.02, patience=25, validation_fraction=0.3),
}
#: scikit-learn's own checks; its names for them hold the address of ``net``, and would differ between processes.
CHECKS = [
    pytest.param(*pair, id=f"{name}-{getattr(pair[1], 'func', pair[1]).__name__}-{i}")
    for name, estimator in ESTIMATORS.items()
    for i, pair in enumerate(estimator_checks_generator(estimator))
]


@pytest.mark.parametrize(("estimator", "check"), CHECKS)
def test_what_scikit_learn_demands(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return train_test_split(x, y, test_size=0.3, stratify=y, random_state=0)


def quick(**settings):
    return Classifier(**{"hidden": (32,), "epochs": 12, "lr": 0.01, "random_state": 0, **settings})


def blobs(labels=("no", "yes", "perhaps"), n=90):
    rng = np.random.default_rng(0)
    which = np.arange(n) % len(labels)
    angle = 2 * np.pi * which / len(labels)
    x = 3 * np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.3 * rng.standard_normal((n, 2))
    return x, np.array(labels)[which]


# --- what it learns


@pytest.mark.parametrize("compile", [False, True])
def test_digits_are_learned_in_a_pipeline(digits, compile):
    x, x_test, y, y_test = digits
    model = make_pipeline(StandardScaler(), quick(compile=compile)).fit(x, y)
    assert model.score(x_test, y_test) > 0.93
    assert len(model[-1].history_) == 12
    probabilities = model.predict_proba(x_test)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    assert (probabilities >= 0).all()
    np.testing.assert_array_equal(model.predict(x_test), model.classes_[probabilities.argmax(axis=1)])


def test_eager_and_compiled_agree(digits):
    x, x_test, y, _ = digits
    eager, native = (
        quick(epochs=3, dropout=0.2, batch_norm=True, compile=compile).fit(x[:300], y[:300]).predict_proba(x_test)
        for compile in (False, True)
    )
    np.testing.assert_allclose(native, eager, atol=5e-3)


@pytest.mark.parametrize("labels", [("no", "yes", "perhaps"), (7, -2), (True, False), (0.0, 1.0), ("a", "b", "c", "d")])
def test_labels_are_of_any_kind(labels):
    x, y = blobs(labels)
    for targets in (y, y.tolist()):
        model = quick(compile=False).fit(x, targets)
        np.testing.assert_array_equal(model.classes_, np.unique(y))
        assert model.score(x, targets) > 0.95
        assert model.predict_proba(x).shape == (len(x), len(labels))


def test_a_seed_gives_the_same_network_and_leaves_other_randomness_alone():
    x, y = blobs()
    settings = {"dropout": 0.3, "epochs": 3, "patience": 2}

    def fitted(random_state, generator_seed):
        vg.seed(generator_seed)
        model = quick(random_state=random_state, **settings).fit(x, y)
        return model.predict_proba(x), vg.random.generator().random()

    (first, after), (second, _), (third, _) = fitted(0, 1), fitted(0, 2), fitted(1, 1)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, third)
    vg.seed(1)
    assert vg.random.generator().random() == after
    np.testing.assert_array_equal(fitted(np.random.RandomState(0), 1)[0], first)
    np.random.seed(0)  # noqa: NPY002 (what scikit-learn draws from where there is no seed)
    np.testing.assert_array_equal(fitted(None, 1)[0], first)


def test_fits_in_several_threads_do_not_share_their_randomness():
    x, y = blobs()

    def fitted(seed):
        return quick(random_state=seed, compile=False, dropout=0.3).fit(x, y).predict_proba(x)

    expected = [fitted(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for got, wanted in zip(pool.map(fitted, range(4)), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_it_stops_early_and_goes_back_to_the_best():
    x, y = blobs()
    model = quick(epochs=100, patience=3, compile=False).fit(x, y)
    accuracies = model.history_["validation_accuracy"]
    assert model.history_.stopped == f"no better validation_accuracy than in epoch {len(accuracies) - 3} for 3 epochs"
    assert max(accuracies) == accuracies[-4]
    without = quick(epochs=5, compile=False).fit(x, y)
    assert without.history_["validation_accuracy"] == [None] * 5


def test_fitting_again_begins_anew():
    x, y = blobs()
    model = quick(compile=False)
    first = model.fit(x, y).predict_proba(x)
    np.testing.assert_array_equal(model.fit(x, y).predict_proba(x), first)
    model.fit(x[:, :1], y)
    assert model.n_features_in_ == 1


# --- among scikit-learn's own


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_search_over_settings_and_networks(digits, n_jobs):
    x, x_test, y, y_test = digits
    networks = [net, functools.partial(net, hidden=32)]
    search = GridSearchCV(quick(hidden=(100,), module=net), {"module": networks}, cv=2, n_jobs=n_jobs)
    search.fit(x, y)
    assert search.best_params_ == {"module": networks[1]}
    assert search.best_score_ > 0.9
    assert search.score(x_test, y_test) > 0.93


def test_scores_are_the_same_however_many_work(digits):
    x, _, y, _ = digits
    model = make_pipeline(StandardScaler(), quick(epochs=4))
    scores = cross_val_score(model, x, y, cv=2, n_jobs=1)
    assert scores.mean() > 0.85
    np.testing.assert_allclose(cross_val_score(model, x, y, cv=2, n_jobs=2), scores, atol=0.01)


def test_copies_are_whole_and_apart():
    x, y = blobs()
    for model in (quick(), quick(module=net, hidden=(100,))):
        fitted = model.fit(x, y)
        expected = fitted.predict_proba(x)
        copied = copy.deepcopy(fitted)
        fitted.model_.parameters()[0].value += 1
        np.testing.assert_array_equal(copied.predict_proba(x), expected)
        again = clone(fitted)
        assert again.get_params() == fitted.get_params()
        assert not hasattr(again, "model_")


def test_settings_are_read_and_written():
    model = Classifier((5, 4), dropout=0.5)
    assert model.get_params()["hidden"] == (5, 4)
    assert model.set_params(lr=0.1, hidden=(7,)).lr == 0.1
    x, y = blobs()
    assert [p.shape for p in model.fit(x, y).model_.parameters()] == [(7, 2), (7,), (3, 7), (3,)]


def test_names_of_features_are_kept_and_compared():
    pandas = pytest.importorskip("pandas")
    x, y = blobs()
    frame = pandas.DataFrame(x, columns=["width", "height"])
    model = quick(compile=False).fit(frame, pandas.Series(y))
    assert model.feature_names_in_.tolist() == ["width", "height"]
    assert model.score(frame, y) > 0.95
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame.rename(columns={"width": "depth"}))


# --- what does not fit


def wide(n_features, n_classes):
    return vg.nn.Linear(n_features, n_classes + 1)


ERRORS = {
    "one class": (lambda x, y: quick().fit(x, ["yes"] * len(x)), ValueError, "y holds one class only, 'yes'"),
    "numbers": (lambda x, y: quick().fit(x, x[:, 0]), ValueError, "Unknown label type"),
    "no labels": (lambda x, y: quick().fit(x, None), ValueError, "requires y to be passed"),
    "weights": (lambda x, y: quick().fit(x, y, sample_weight=np.ones(len(x))), TypeError, "sample_weight"),
    "too soon": (lambda x, y: quick().predict(x), NotFittedError, "not fitted yet"),
    "features": (lambda x, y: quick(epochs=1).fit(x, y).predict(x[:, :1]), ValueError, "X has 1 features"),
    "hidden": (lambda x, y: quick(hidden=10).fit(x, y), TypeError, r"as in hidden=\(100,\), got 10"),
    "activation": (lambda x, y: quick(activation="rely").fit(x, y), ValueError, "did you mean 'relu'"),
    "optimizer": (lambda x, y: quick(optimizer="adm").fit(x, y), ValueError, "did you mean 'adam'"),
    "momentum": (lambda x, y: quick(momentum=0.9).fit(x, y), ValueError, "adam has no momentum to set"),
    "epochs": (lambda x, y: quick(epochs=0).fit(x, y), ValueError, "epochs must be at least 1"),
    "patience": (lambda x, y: quick(patience=0).fit(x, y), ValueError, "at least 1, got 0"),
    "dropout": (lambda x, y: quick(dropout=2).fit(x, y), ValueError, "Dropout"),
    "a rate too high": (
        lambda x, y: quick(optimizer="sgd", lr=1e30).fit(x, y),
        ValueError,
        r"the loss became (nan|inf) in epoch \d+.*smaller lr",
    ),
    "a network and its sizes": (
        lambda x, y: quick(module=net, dropout=0.5).fit(x, y),
        ValueError,
        "module makes the network, so hidden and dropout would change nothing",
    ),
    "a network made already": (
        lambda x, y: Classifier(module=net(2, 3)).fit(x, y),
        TypeError,
        "module is a function that makes a new network for every fit",
    ),
    "no network": (
        lambda x, y: Classifier(module=lambda n, c: n).fit(x, y),
        TypeError,
        r"module\(2, 3\) must return a",
    ),
    "other outputs": (
        lambda x, y: Classifier(module=wide).fit(x, y),
        ValueError,
        r"returns shape \(1, 4\) for one row",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_what_does_not_fit_is_said(case):
    attempt, kind, message = ERRORS[case]
    with pytest.raises(kind, match=message):
        attempt(*blobs())


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.delattr(vg, "sklearn")
    monkeypatch.delitem(sys.modules, "vugrad.sklearn")
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    with pytest.raises(ImportError, match=r"pip install 'vugrad\[lab\]'"):
        vg.sklearn.Classifier  # noqa: B018


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 2.5}, "epochs is of type int, which 2.5 is not"),
        ({"batch_size": "a"}, "batch_size is of type int"),
        ({"schedule": None}, "schedule is of type str, which None is not"),
        ({"hidden": (5.5,)}, "hidden is of type"),
        ({"hidden": (0,)}, "hidden holds the features of each hidden layer, at least 1"),
        ({"dropout": "a"}, "dropout is of type float"),
        ({"patience": "a"}, "patience is a number of epochs"),
        ({"patience": 1.5}, "patience is a number of epochs"),
        (
            {"patience": 2, "validation_fraction": 0.01},
            "with patience=2, validation_fraction=0.01 of the data is held out",
        ),
        ({"patience": 2, "validation_fraction": 0}, "with patience=2, validation_fraction=0 of the data is held out"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        quick(**settings).fit(*blobs())


def test_a_fit_that_fails_leaves_nothing_of_the_one_before():
    x, y = blobs()
    model = quick().fit(x, y)
    model.set_params(optimizer="sgd", lr=1e30)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="the loss became"):
        model.fit(x[:, :1], y)
    with pytest.raises(NotFittedError):
        model.predict(x)


def one_logit(n_features, n_classes):
    assert n_classes == 2
    return vg.nn.MLP([n_features, 8, 1])


def test_two_classes_may_have_one_logit():
    x = np.random.default_rng(0).normal(size=(120, 4))
    y = np.where(x.sum(axis=1) > 0, "yes", "no")
    model = Classifier(module=one_logit, epochs=40, lr=0.02, patience=40, random_state=0, compile=False).fit(x, y)
    assert model.score(x, y) > 0.95
    assert model.history_["validation_accuracy"][-1] > 0.8
    probabilities = model.predict_proba(x)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    logits = model.model_(x.astype(np.float32)).value[:, 0].astype(float)
    np.testing.assert_allclose(probabilities[:, 1], 1 / (1 + np.exp(-logits)), rtol=1e-5)
    with pytest.raises(ValueError, match=r"a logit for each of the 3 classes, shape \(1, 3\)"):
        Classifier(module=lambda n, classes: vg.nn.MLP([n, 1]), compile=False).fit(x, np.arange(120) % 3)
