"""Where runs are made: processes on this machine, or the workers of a Dask cluster."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from vugrad.compiler.machine import threads
from vugrad.data.named import DATASETS, Stored

#: How long, in seconds, a scheduler may take to answer.
PATIENCE = 10


@dataclass(frozen=True)
class Workers:
    """How many there are, the threads of each, and what opens an executor on them.

    An executor is opened anew when it broke because a worker died.
    """

    count: int
    threads: int
    open: Callable[[], AbstractContextManager[Executor]]


def local(count: int | None = None) -> Workers:
    """Processes on this machine, by default one for each core; the cores are divided among them."""
    cores = threads.allowed()
    count = cores if count is None else count
    if count < 1:
        raise ValueError(f"--workers {count}: there must be at least 1")
    return Workers(count, max(1, cores // count), lambda: _processes(count))


@contextlib.contextmanager
def _processes(count: int) -> Iterator[Executor]:
    context = multiprocessing.get_context("spawn")
    end, ours = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(count, context, _end_with, (end,))
    try:
        yield executor
    finally:  # what waits is not begun, and what runs has its checkpoint
        ours.close()
        executor.shutdown(cancel_futures=True)
        end.close()


def _end_with(pipe: Connection) -> None:
    """Let this worker end as soon as the other end of a pipe is closed: by who opened it, or because that one died."""

    def wait() -> None:
        with contextlib.suppress(EOFError, OSError):
            pipe.recv()
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who opened it
    threading.Thread(target=wait, daemon=True).start()


def dask(address: str, datasets: tuple[str, ...]) -> Workers:
    """The workers of a Dask cluster (extra ``dask``), each with one thread.

    Args:
        address: of its scheduler, as "tcp://host:8786".
        datasets: names of those that runs will ask for; a worker is sent their arrays once.

    Raises ``ImportError`` without the package, ``ValueError`` where no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError("--dask needs the package distributed: pip install 'vugrad[dask]'") from error

    def connected() -> Any:
        try:
            return Client(address, timeout=PATIENCE)
        except (OSError, TimeoutError, ValueError) as error:
            raise ValueError(
                f"no Dask scheduler answers at {address} ({error}): start one with `dask scheduler`, and workers with "
                "`dask worker ADDRESS`"
            ) from error

    @contextlib.contextmanager
    def open() -> Iterator[Executor]:
        with connected() as client:
            client.register_plugin(_lending({name: DATASETS[name]() for name in datasets}), name="vugrad-data")
            yield client.get_executor()

    with connected() as client:
        count = sum(client.nthreads().values())
    if not count:
        raise ValueError(f"the Dask scheduler at {address} has no workers: start some with `dask worker {address}`")
    return Workers(count, 1, open)


def _lending(stored: dict[str, Stored]) -> Any:
    from distributed import WorkerPlugin

    class Lending(WorkerPlugin):  # type: ignore[misc]  # it is Any where the package has no types
        """Datasets that a worker has from whoever sent it, and need not find on its machine."""

        def setup(self, worker: Any) -> None:
            from vugrad.data import named

            for name, held in stored.items():
                named.DATASETS[name] = functools.partial(lambda x: x, held)

    return Lending()
