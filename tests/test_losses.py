"""Losses against PyTorch's, their gradients against finite differences, and every input that does not fit."""

import re

import numpy as np
import pytest
from gradients import jacobian
from reference.make_losses import ARCHIVE, LOSSES, REDUCTIONS, upstream

import vugrad as vg
from vugrad import losses

with np.load(ARCHIVE, allow_pickle=False) as archive:
    REFERENCE = dict(archive)

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
CLASSES = ["cross_entropy", "nll_loss", "hinge_loss"]
NUMBERS = ["mse_loss", "l1_loss", "huber_loss", "binary_cross_entropy_with_logits"]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", LOSSES)
def test_losses_and_gradients_are_pytorchs(case, dtype, reduction):
    kind, loss = LOSSES[case]
    outputs, targets = REFERENCE[f"{kind}/outputs"].astype(dtype), REFERENCE[f"{kind}/targets"]
    targets = targets if targets.dtype.kind == "i" else targets.astype(dtype)
    x = vg.TensorNode(outputs)
    y = loss(losses, x, targets, reduction=reduction)
    expected, gx = REFERENCE[f"{case}/{dtype}/{reduction}"], REFERENCE[f"{case}/{dtype}/{reduction}/gx"]
    assert (y.shape, y.dtype) == (expected.shape, np.dtype(dtype))
    np.testing.assert_allclose(y.value, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    (y * upstream(y.shape).astype(dtype)).sum().backward()
    assert x.grad.dtype == dtype
    np.testing.assert_allclose(x.grad, gx, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def arguments(name):
    """Outputs and targets on which the loss has no kink."""
    rng = np.random.default_rng(1)
    if name in CLASSES:
        return rng.standard_normal((4, 3)), np.array([2, 0, 1, 1])
    return rng.standard_normal((4, 3)), rng.uniform(0.1, 0.9, (4, 3))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", CLASSES + NUMBERS)
def test_gradients_agree_with_finite_differences(name, reduction):
    loss = getattr(losses, name)
    outputs, targets = arguments(name)
    weights = upstream(loss(outputs, targets, reduction=reduction).shape)
    x = vg.TensorNode(outputs)
    (loss(x, targets, reduction=reduction) * weights).sum().backward()
    expected = jacobian(lambda v: (loss(v, targets, reduction=reduction).value * weights).sum(), outputs)
    np.testing.assert_allclose(x.grad, expected, atol=1e-7)


@pytest.mark.parametrize("name", NUMBERS)
def test_targets_that_are_nodes_have_gradients(name):
    outputs, targets = arguments(name)
    t = vg.TensorNode(targets)
    loss = getattr(losses, name)
    loss(outputs, t).backward()
    np.testing.assert_allclose(t.grad, jacobian(lambda v: loss(outputs, v).value, targets), atol=1e-7)


@pytest.mark.parametrize("name", CLASSES + NUMBERS)
def test_the_default_is_the_mean(name):
    loss = getattr(losses, name)
    outputs, targets = arguments(name)
    each = loss(outputs, targets, reduction="none").value
    np.testing.assert_allclose(loss(outputs, targets).value, each.mean())
    np.testing.assert_allclose(loss(outputs, targets, reduction="sum").value, each.sum())


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint64])
def test_classes_of_every_whole_dtype(name, dtype):
    loss = getattr(losses, name)
    outputs, targets = arguments(name)
    expected = loss(outputs, targets).value
    for given in (targets.astype(dtype), vg.TensorNode(targets.astype(dtype)), targets.tolist()):
        assert loss(outputs, given).value == expected


@pytest.mark.parametrize("name", CLASSES + NUMBERS)
def test_a_batch_of_one(name):
    loss = getattr(losses, name)
    outputs, targets = arguments(name)
    assert loss(outputs[:1], targets[:1]).shape == ()
    assert loss(outputs[:1], targets[:1], reduction="none").shape[0] == 1


@pytest.mark.parametrize("name", NUMBERS)
def test_targets_in_a_list(name):
    loss = getattr(losses, name)
    outputs, targets = arguments(name)
    assert loss(outputs, targets.tolist()).value == loss(outputs, targets).value


def test_labels_become_rows():
    rows = losses.one_hot([1, 0, 2], 3)
    assert rows.dtype == np.float32
    assert rows.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert losses.mse_loss(rows, losses.one_hot([1, 0, 2], 3, dtype=np.float64)).item() == 0


def test_the_names_of_flags_and_studies():
    assert set(losses.LOSSES) == {"cross_entropy", "nll", "mse", "l1", "huber", "hinge", "bce"}
    assert {loss.__name__ for loss in losses.LOSSES.values()} == {*CLASSES, *NUMBERS}


# --- what does not fit

CLASS_ERRORS = {
    "a column": (
        np.zeros((4, 3)),
        np.zeros((4, 1), int),
        "need targets of shape (4,), got (4, 1): write targets.ravel",
    ),
    "one-hot rows": (
        np.zeros((4, 3)),
        np.zeros((4, 3), int),
        "got (4, 3): one-hot rows become classes by targets.argmax(axis=1)",
    ),
    "too few": (np.zeros((4, 3)), np.zeros(3, int), "4 rows of outputs need targets of shape (4,), got (3,)"),
    "one number": (np.zeros((4, 3)), 1, "got ()"),
    "real numbers": (
        np.zeros((4, 3)),
        np.zeros(4),
        "targets are classes, whole numbers, got float64: write targets.astype(int)",
    ),
    "NaN": (np.zeros((4, 3)), np.full(4, np.nan), "targets are classes, whole numbers, got float64"),
    "booleans": (np.zeros((4, 3)), np.zeros(4, bool), "got bool"),
    "too large": (np.zeros((4, 3)), np.array([0, 2, 3, 7]), "target 3 at 2 is not one of the classes 0 to 2"),
    "negative": (np.zeros((4, 3)), np.array([0, -1, 1, 1]), "target -1 at 1 is not one of the classes 0 to 2"),
    "an empty batch": (np.zeros((0, 3)), np.zeros(0), "the batch is empty, and a mean over nothing is not a number"),
    "a vector of outputs": (np.zeros(3), np.zeros(3, int), "outputs must be (batch, classes), got shape (3,)"),
    "images": (np.zeros((4, 3, 2, 2)), np.zeros(4, int), "outputs must be (batch, classes), got shape (4, 3, 2, 2)"),
}
NUMBER_ERRORS = {
    "a vector for a column": (
        np.zeros((4, 1)),
        np.zeros(4),
        "outputs have shape (4, 1), targets (4,) (as they are they would broadcast to a table of all pairs): write "
        "targets.reshape(4, 1)",
    ),
    "a column for a vector": (np.zeros(4), np.zeros((4, 1)), "write targets.reshape(4,)"),
    "labels for rows": (
        np.zeros((4, 3)),
        np.zeros(4),
        "outputs have shape (4, 3), targets (4,): class labels become rows by vg.losses.one_hot(targets, 3)",
    ),
    "one number": (np.zeros((4, 3)), 0.5, "outputs have shape (4, 3), targets ()"),
    "one row": (np.zeros((4, 3)), np.zeros((1, 3)), "outputs have shape (4, 3), targets (1, 3)"),
    "an empty batch": (np.zeros((0, 3)), np.zeros((0, 3)), "the batch is empty, and a mean over nothing is not a numb"),
}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("fault", CLASS_ERRORS)
@pytest.mark.parametrize("name", CLASSES)
def test_classes_that_do_not_fit(name, fault, reduction):
    outputs, targets, words = CLASS_ERRORS[fault]
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        getattr(losses, name)(vg.TensorNode(outputs), targets, reduction=reduction)
    assert str(caught.value).startswith(f"{name}: ")


@pytest.mark.parametrize("fault", NUMBER_ERRORS)
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_that_do_not_fit(name, fault):
    outputs, targets, words = NUMBER_ERRORS[fault]
    if name == "binary_cross_entropy_with_logits" and outputs.size == np.size(targets):
        return  # labels are in one axis, logits in a column, and mean the same
    for given in (targets, vg.TensorNode(targets)):
        with pytest.raises(ValueError, match=re.escape(words)) as caught:
            getattr(losses, name)(vg.TensorNode(outputs), given)
        assert str(caught.value).startswith(f"{name}: ")


@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.nan])
def test_probabilities_out_of_range(wrong):
    targets = np.array([0.5, wrong])
    for given in (targets, targets.tolist(), vg.TensorNode(targets)):
        with pytest.raises(ValueError, match="binary_cross_entropy_with_logits: targets must be from 0 to 1, got"):
            losses.binary_cross_entropy_with_logits(vg.TensorNode(np.zeros(2)), given)


@pytest.mark.parametrize("name", CLASSES + NUMBERS)
def test_an_unknown_reduction(name):
    outputs, targets = arguments(name)
    with pytest.raises(ValueError, match=r"no reduction 'maen'; did you mean 'mean'\? There are: mean, sum, none"):
        getattr(losses, name)(outputs, targets, reduction="maen")
