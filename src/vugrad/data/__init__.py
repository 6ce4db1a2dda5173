"""Arrays in, batches out: datasets by name, from their files, or from a user's own arrays.

``load`` finds a dataset by its name, ``Dataset`` holds one (and checks it), ``batches`` cuts it up. This
floor knows nothing of the graph: everything here is a NumPy array.
"""

from vugrad.data.dataset import Dataset as Dataset, Split as Split
from vugrad.data.minibatches import batches as batches
from vugrad.data.named import load as load
from vugrad.data.synthetic import synth as synth

__all__ = ["Dataset", "Split", "batches", "load", "synth"]


def __dir__() -> list[str]:
    return __all__
