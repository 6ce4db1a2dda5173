"""Where the files of an archive are looked for, and how what is found there is checked."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from vugrad.data import idx
from vugrad.data.archives import Archive, IdxFile
from vugrad.data.dataset import Split
from vugrad.data.download import download, keep

Source = tuple[str, Callable[[], bytes]]  # what an error message calls it, and what returns its content


def fetch(archive: Archive) -> tuple[Split, Split]:
    """The training and the test set, uint8 and read-only, each file from the first source that has it right.

    The sources, in order: ``$VUGRAD_DATA/<name>`` and ``$VUGRAD_DATA`` itself, the user's cache, the folders
    of torchvision and of Keras, the archive's hosts. A file that is absent, broken or another one (whatever the
    source, the SHA-256 of its unzipped content is compared) is passed over. What is downloaded is kept,
    unzipped, in the user's cache.

    Raises a ``FileNotFoundError`` where no source has a file right, which says why, source by source, and what to
    put where; an ``ImportError`` where a file must be downloaded and the packages that do it are missing.
    """
    train_x, train_y, test_x, test_y = (_read(file, archive) for file in archive.files)
    return Split(train_x, train_y), Split(test_x, test_y)


def cache_folder(archive: Archive) -> Path:
    """The folder in which the downloaded files of ``archive`` are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vugrad" / archive.name


def location(archive: Archive) -> str | None:
    """Where on this machine the archive was found, whole and right; ``None`` if it has to be downloaded."""
    places = [_first_right(_on_disk(file, archive), file, []) for file in archive.files]
    return None if None in places else str(Path(places[0][0]).parent)  # type: ignore[index]


def _read(file: IdxFile, archive: Archive) -> NDArray[np.uint8]:
    passed_over: list[str] = []
    found = _first_right(_on_disk(file, archive), file, passed_over)
    if found is None:
        found = _first_right(_online(file, archive), file, passed_over)
        if found is None:
            raise FileNotFoundError(_what_to_do(file, archive, passed_over))
        keep(found[1], cache_folder(archive) / file.name)
    return idx.parse(found[1])


def _first_right(sources: Iterator[Source], file: IdxFile, passed_over: list[str]) -> tuple[str, bytes] | None:
    """The first source that has the file right, and its content; why others have not goes to ``passed_over``."""
    for place, get in sources:
        try:
            content = get()
            _check(content, file)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            passed_over.append(f"{place}: {error}")
        else:
            return place, content
    return None


def _check(content: bytes, file: IdxFile) -> None:
    """ValueError unless the unzipped ``content`` is exactly that of ``file``."""
    shape = idx.parse(content).shape
    if shape != file.shape:
        raise ValueError(f"it holds an array of shape {shape}, not {file.shape}")
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise ValueError(f"damaged, or of another dataset: its SHA-256 is {found}, not {file.sha256}")


def _on_disk(file: IdxFile, archive: Archive) -> Iterator[Source]:
    for folder in _folders(archive):
        # os.path.exists is False, where Path.exists raises, in a folder that may not be read.
        paths = [path for path in (folder / file.name, folder / f"{file.name}.gz") if os.path.exists(path)]
        for path in paths:
            yield str(path), partial(_from_file, path, file)
        if not paths:
            yield str(folder), _absent
    npz = _keras(archive)
    if npz.suffix == ".npz":
        yield str(npz), partial(_from_npz, npz, file) if os.path.exists(npz) else _absent


def _folders(archive: Archive) -> Iterator[Path]:
    if named := os.environ.get("VUGRAD_DATA"):
        yield Path(named) / archive.name
        yield Path(named)
    yield cache_folder(archive)
    for root in (Path("data"), Path(), Path.home() / "data", Path.home() / ".cache" / "torch"):
        yield root / archive.torchvision / "raw"
    if _keras(archive).suffix != ".npz":
        yield _keras(archive)


def _keras(archive: Archive) -> Path:
    return Path.home() / ".keras" / "datasets" / archive.keras


def _absent() -> bytes:
    raise FileNotFoundError("not there")


def _from_file(path: Path, file: IdxFile) -> bytes:
    with open(path, "rb") as stream:
        return _unzip(stream, file)


def _from_npz(path: Path, file: IdxFile) -> bytes:
    """The idx file made again from Keras's array, so that the same SHA-256 tells whether it is right."""
    length = math.prod(file.shape)
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{file.keras}.npy") as member:
            # An .npy file is a header, then the array. Its header is not needed, nor anything that obeys it.
            npy = member.read(length + 4096)
    except Exception as error:  # a damaged zip file makes zipfile raise almost anything
        raise ValueError(f"not a whole .npz file: {error!r}") from error
    return idx.header(file.shape) + npy[-length:]


def _online(file: IdxFile, archive: Archive) -> Iterator[Source]:
    for host in archive.hosts:
        url = f"{host}{file.name}.gz"
        yield url, partial(_from_web, url, file)


def _from_web(url: str, file: IdxFile) -> bytes:
    # Zipped, a file that cannot be compressed is a little longer than it was.
    return _unzip(download(url, file.size + file.size // 100 + 4096), file)


def _unzip(stream: BinaryIO, file: IdxFile) -> bytes:
    """What ``stream`` holds, unzipped if it is zipped: never more than one byte more than it should be."""
    is_gzip = stream.read(2) == b"\x1f\x8b"  # a name tells less: servers and browsers unzip a .gz at will
    stream.seek(0)
    return (gzip.GzipFile(fileobj=stream) if is_gzip else stream).read(file.size + 1)


def _what_to_do(file: IdxFile, archive: Archive, passed_over: list[str]) -> str:
    return "\n".join(
        [
            f"{archive.name}: there is no good copy of {file.name}. Tried, zipped or not:",
            *(f"  {reason}" for reason in passed_over),
            f"Put these files, zipped (.gz) or not, into {cache_folder(archive)}, or into any folder and set",
            "$VUGRAD_DATA to that folder:",
            *(f"  {file.name}" for file in archive.files),
            f"They are published at {' and '.join(archive.hosts)}",
        ]
    )
