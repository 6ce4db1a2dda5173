"""The report's sixteen claims, each as effects that one seed can have."""

from __future__ import annotations

from collections.abc import Callable

from vugrad.lab.record import Record
from vugrad.lab.studies import STUDIES
from vugrad.lab.verdicts import Claim, Effect, Seed, accuracy, best, final_accuracy, loss, more, seconds, speed, trend

MOMENTA = list(STUDIES["F5"].configurations())
RATES = {m: [f"lr {lr}, momentum {m}" for lr in ("0.1", "0.01", "0.001", "0.0001", "1e-05")] for m in ("0", "0.9")}
LOG = "log loss"
POINTS = "percentage points"
#: What chance is right in, and half of all.
CHANCE, HALF = 10, 50
#: Claims about the final loss or accuracy, which a few epochs on few images do not show.
LATE = ("C2", "C4", "C7", "C12", "C14", "C16")
#: The accuracy in percent that the report's final model reached on the test images.
REACHED = 99.12

#: The configurations of the study of conventions, by what varies.
OTHER_WIDTHS, OTHER_BATCHES = [f"{w} × 784" for w in (1, 4, 16)], [f"batch {n}" for n in (16, 64, 256)]


def _narrowest(seed: Seed) -> Record:
    return next(iter(seed.values()))


def _widest(seed: Seed) -> Record:
    return list(seed.values())[-1]


def _below(measure: Callable[[Record], float], limit: float, label: str) -> Effect:
    return lambda seed: limit - measure(seed[label])


def _late(seed: Seed) -> float:
    """The gain of validation accuracy from 5 % to 30 % of the epochs, less that from 50 % to all of them."""
    record = seed["T1"]
    first, early, half, last = (
        accuracy(record, max(1, round(share * record.run.recipe.epochs))) for share in (0.05, 0.3, 0.5, 1)
    )
    return (early - first) - (last - half)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "C1",
        "ReLU converges faster than sigmoid.",
        "F1",
        {"ReLU over sigmoid": more(speed, "activation relu", "activation sigmoid")},
        LOG,
    ),
    Claim(
        "C2",
        "ReLU ends at a higher validation accuracy at this budget.",
        "F1",
        {"ReLU over sigmoid": more(accuracy, "activation relu", "activation sigmoid")},
        POINTS,
    ),
    Claim(
        "C3",
        "A wider hidden layer lowers the training loss.",
        "F3",
        {"fall with each doubling": trend(loss, sign=-1)},
        "loss",
    ),
    Claim(
        "C4",
        "A wider hidden layer raises validation accuracy.",
        "F3",
        {"rise with each doubling": trend(accuracy)},
        POINTS,
    ),
    Claim(
        "C5",
        "A wider hidden layer costs much more time for a slight gain.",
        "F3",
        {
            "the widest takes over 4 times as long as the narrowest": lambda seed: (
                seconds(_widest(seed)) / seconds(_narrowest(seed)) - 4
            ),
            "and gains less than 1 point": lambda seed: 1 - (accuracy(_widest(seed)) - accuracy(_narrowest(seed))),
        },
        "times",
        {"and gains less than 1 point": POINTS},
    ),
    Claim(
        "C6",
        "Momentum below 0.5 raises the training loss; above 0.9 raises it too.",
        "F5",
        {
            "0.25 over 0": more(loss, "momentum 0.25", "momentum 0"),
            "0.99 over 0.9": more(loss, "momentum 0.99", "momentum 0.9"),
        },
        "loss",
    ),
    Claim(
        "C7",
        "Validation accuracy falls for momentum above 0.9, and improves otherwise.",
        "F5",
        {
            "0.9 over 0.99": more(accuracy, "momentum 0.9", "momentum 0.99"),
            "rise from 0 to 0.9": trend(accuracy, MOMENTA[:5]),
        },
        POINTS,
    ),
    Claim(
        "C8",
        "Glorot converges fastest.",
        "F7",
        {"Glorot over the best other": best(speed, "init glorot_normal", ["init zeros", "init normal"])},
        LOG,
    ),
    Claim(
        "C9",
        "Normal converges more slowly.",
        "F7",
        {"Glorot over normal": more(speed, "init glorot_normal", "init normal")},
        LOG,
    ),
    Claim(
        "C10",
        "All-zero weights do not train at all.",
        "F7",
        {"accuracy below 1.5 times chance": _below(accuracy, 1.5 * CHANCE, "init zeros")},
        POINTS,
    ),
    Claim(
        "C11",
        "The smaller the learning rate, the slower the CNN converges.",
        "F9",
        {f"slower with each tenth, momentum {m}": trend(speed, labels, -1) for m, labels in RATES.items()},
        LOG,
    ),
    Claim(
        "C12",
        "A learning rate of 0.01 gives the best validation accuracy.",
        "F9",
        {
            f"0.01 over the best other, momentum {m}": best(accuracy, labels[1], [labels[0], *labels[2:]])
            for m, labels in RATES.items()
        },
        POINTS,
    ),
    Claim(
        "C13",
        "The larger the batch, the faster (per epoch) the CNN converges.",
        "F11",
        {"faster with each doubling": trend(speed)},
        LOG,
    ),
    Claim(
        "C14",
        "Going from 5 to 30 epochs gains more than going from 50 to 100.",
        "T1",
        {"one gain over the other": _late},
        POINTS,
    ),
    Claim(
        "C15",
        "Adam is fastest, then SGD; RMSProp gets stuck early.",
        "F13",
        {
            "Adam over SGD": more(speed, "Adam", "SGD"),
            "SGD over RMSProp": more(speed, "SGD", "RMSProp"),
            "RMSProp is right in less than half": _below(accuracy, HALF, "RMSProp"),
        },
        LOG,
        {"RMSProp is right in less than half": POINTS},
    ),
    Claim(
        "C16",
        "The final model reaches test accuracy 0.9912.",
        "F15",
        {"test accuracy over 0.9912": lambda seed: final_accuracy(seed["F15"]) - REACHED},
        POINTS,
    ),
)

#: The same claims where the conventions are others than in the report.
OTHERWISE: tuple[Claim, ...] = (
    Claim(
        "C3",
        "A wider hidden layer lowers the training loss.",
        "conventions",
        {"mean loss, scaled pixels, new order: fall with each step": trend(loss, OTHER_WIDTHS, -1)},
        "loss",
    ),
    Claim(
        "C4",
        "A wider hidden layer raises validation accuracy.",
        "conventions",
        {"mean loss, scaled pixels, new order: rise with each step": trend(accuracy, OTHER_WIDTHS)},
        POINTS,
    ),
    Claim(
        "C13",
        "The larger the batch, the faster (per epoch) the network converges.",
        "conventions",
        {"perceptron, mean loss: faster with each step": trend(speed, OTHER_BATCHES)},
        LOG,
    ),
    Claim(
        "C13",
        "The larger the batch, the faster (per epoch) the CNN converges.",
        "summed",
        {"CNN, summed loss: faster with each doubling": trend(speed)},
        LOG,
    ),
)
