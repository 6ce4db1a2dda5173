"""Optimizers, learning-rate schedules and gradient clipping, by PyTorch's names and update rules."""

from vugrad.optim.base import Optimizer
from vugrad.optim.clip import clip_grad_norm_
from vugrad.optim.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop
from vugrad.optim.schedules import CosineAnnealingLR, LinearLR, LRScheduler, OneCycleLR, SequentialLR, StepLR

RMSProp = RMSprop  # the spelling of the paper, and of the report

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "CosineAnnealingLR",
    "LRScheduler",
    "LinearLR",
    "OneCycleLR",
    "Optimizer",
    "RMSProp",
    "RMSprop",
    "SequentialLR",
    "StepLR",
    "clip_grad_norm_",
]


def __dir__() -> list[str]:
    return __all__
