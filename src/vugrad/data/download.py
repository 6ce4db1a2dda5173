"""Getting a file from the web, and keeping it."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

from vugrad.files import write_whole

TIMEOUT = (5, 20)  # seconds to connect, and between two pieces of the answer


class _Bounded(io.BytesIO):
    """Memory for at most ``limit`` bytes, however much a server sends."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def write(self, piece: bytes) -> int:  # type: ignore[override]  # only ever called with bytes
        if self.tell() + len(piece) > self.limit:
            raise ValueError(f"it sends more than {self.limit:,} bytes, so it is not the file")
        return super().write(piece)


def download(url: str, limit: int) -> io.BytesIO:
    """What ``url`` answers, at most ``limit`` bytes, with a progress bar on a terminal.

    Raises an ``OSError`` where there is no connection, no answer in time, an error for an answer or half of one;
    a ``ValueError`` where it is longer than ``limit``; an ``ImportError`` where pooch or tqdm is missing.
    """
    try:
        from pooch import HTTPDownloader
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError(
            f"downloading {url} takes the package {error.name}: pip install 'vugrad[lab]', "
            "or put the file into the folder that $VUGRAD_DATA names"
        ) from error
    answer = _Bounded(limit)
    # pooch corrects the total, but asks the bar for its truth value first, which is an error without one.
    # disable=None shows the bar on a terminal only; pooch ends with a speed of its own making, so it does not stay.
    name = url.rpartition("/")[2]
    with tqdm(desc=name, total=limit, unit="B", unit_scale=True, disable=None, leave=False) as bar:
        HTTPDownloader(progressbar=bar, chunk_size=1 << 16, timeout=TIMEOUT)(url, answer, None)
    answer.seek(0)
    return answer


def keep(content: bytes, path: Path) -> None:
    """Write ``content`` to ``path``, all of it or nothing; where that cannot be done, warn."""
    try:
        write_whole(path, content)
    except OSError as error:
        warnings.warn(
            f"{path.name} was downloaded, but not kept, and will be downloaded again: {error}. "
            "Set $XDG_CACHE_HOME to a folder that can be written",
            stacklevel=2,
        )
