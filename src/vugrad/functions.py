"""The course library's module path for its functions: ``from vugrad.functions import celoss``."""

from vugrad.course import celoss, load_mnist, load_synth, logceloss, logsoftmax, sigmoid, softmax

__all__ = ["celoss", "load_mnist", "load_synth", "logceloss", "logsoftmax", "sigmoid", "softmax"]
