"""Floor 4: the loop that trains, what can be added to it, and what it leaves behind."""

from vugrad.train.callbacks import Callback, EarlyStopping, Run
from vugrad.train.checkpoint import load_checkpoint, save_checkpoint
from vugrad.train.evaluate import confusion_matrix, evaluate, predict
from vugrad.train.fit import fit
from vugrad.train.history import Epoch, History
from vugrad.train.step import EagerWarning

__all__ = [
    "Callback",
    "EagerWarning",
    "EarlyStopping",
    "Epoch",
    "History",
    "Run",
    "confusion_matrix",
    "evaluate",
    "fit",
    "load_checkpoint",
    "predict",
    "save_checkpoint",
]


def __dir__() -> list[str]:
    return __all__
