"""Floor 2: parameters and composition. No derivative is written here."""

from vugrad.nn.activations import (
    ACTIVATIONS,
    ELU,
    GELU,
    Identity,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from vugrad.nn.compose import Flatten, Residual, Sequential
from vugrad.nn.conv import AvgPool2d, Conv2d, MaxPool2d
from vugrad.nn.linear import Embedding, Linear
from vugrad.nn.module import Module, parameter
from vugrad.nn.networks import MLP, LeNet, StridedCNN
from vugrad.nn.norm import BatchNorm1d, BatchNorm2d, Dropout, LayerNorm, RandomShift

__all__ = [
    "ACTIVATIONS",
    "ELU",
    "GELU",
    "MLP",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "Dropout",
    "Embedding",
    "Flatten",
    "Identity",
    "LayerNorm",
    "LeNet",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MaxPool2d",
    "Module",
    "RandomShift",
    "ReLU",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "StridedCNN",
    "Tanh",
    "parameter",
]


def __dir__() -> list[str]:
    return __all__
