"""What MNIST and Fashion-MNIST consist of: the files, their content, and who has them."""

from __future__ import annotations

import math
from typing import NamedTuple

from vugrad.data import idx


class IdxFile(NamedTuple):
    """A file as it must be: its name and, of the unzipped content, the array's shape and the SHA-256 of all.

    ``keras`` is the name of the same array in the .npz file that Keras makes of the archive.
    """

    name: str
    keras: str
    shape: tuple[int, ...]
    sha256: str

    @property
    def size(self) -> int:
        """The number of bytes of the unzipped file."""
        return len(idx.header(self.shape)) + math.prod(self.shape)


class Archive(NamedTuple):
    """The four files of a dataset, and the names under which others keep them.

    ``torchvision`` is the folder in a torchvision root, ``keras`` the .npz file or the folder in Keras's cache;
    to an address in ``hosts`` the name of a file and ``.gz`` are appended.
    """

    name: str
    files: tuple[IdxFile, ...]  # training images and labels, test images and labels
    torchvision: str
    keras: str
    hosts: tuple[str, ...]


def _files(*sha256: str) -> tuple[IdxFile, ...]:
    names = (
        ("train-images-idx3-ubyte", "x_train", (60_000, 28, 28)),
        ("train-labels-idx1-ubyte", "y_train", (60_000,)),
        ("t10k-images-idx3-ubyte", "x_test", (10_000, 28, 28)),
        ("t10k-labels-idx1-ubyte", "y_test", (10_000,)),
    )
    return tuple(IdxFile(*name, digest) for name, digest in zip(names, sha256, strict=True))


MNIST = Archive(
    name="mnist",
    files=_files(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    torchvision="MNIST",
    keras="mnist.npz",
    hosts=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
)

FASHION = Archive(
    name="fashion",
    # Its authors publish the MD5 of the zipped files only. These are from several unrelated public projects
    # that unzip those files and pin the content; all of them name the same four.
    files=_files(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    torchvision="FashionMNIST",
    keras="fashion-mnist",
    hosts=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
)
