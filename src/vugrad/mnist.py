"""The course library's module path for MNIST: ``from vugrad.mnist import init, load``."""

from vugrad.course import init_mnist as init, mnist_arrays as load

__all__ = ["init", "load"]
