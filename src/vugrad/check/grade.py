"""Grade the ops of submissions on all cores: a runner process for each op, and a judge process that questions it.

Neither this process nor a judge runs submitted code; a crash or an endless loop affects only the op that causes it.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from vugrad.check.judge import Job
from vugrad.check.process import Ended, Process
from vugrad.check.runner import files_of
from vugrad.check.submission import Verdict
from vugrad.compiler.machine.threads import allowed

#: The limits for one op: core-seconds, and bytes of memory.
SECONDS, MEMORY = 20.0, 4 * 2**30


@dataclasses.dataclass
class Marks:
    """The marks of one submission.

    Args:
        name: the name that is shown, in general without the suffix.
        file: the full name of the file or folder.
        verdicts: one for each op.
        left: the statements that were not loaded, in words.
    """

    name: str
    file: str
    verdicts: list[Verdict]
    left: list[str] = dataclasses.field(default_factory=list)

    @property
    def passed(self) -> int:
        """How many ops have a mark of 1."""
        return sum(verdict.passed for verdict in self.verdicts)

    @property
    def open(self) -> int:
        """How many ops have no mark."""
        return sum(verdict.mark is None for verdict in self.verdicts)

    @property
    def summary(self) -> str:
        """The number of passed ops and of all ops, in words."""
        more = f", and {self.open} without a mark" if self.open else ""
        return f"{self.passed} of {len(self.verdicts)}{more}"


class Judges:
    """A pool of ``count`` judge processes; each is started at its first job, and restarted after it has ended."""

    def __init__(self, count: int) -> None:
        self.threads = ThreadPoolExecutor(count)
        self.idle: queue.SimpleQueue[Process | None] = queue.SimpleQueue()
        for _ in range(count):
            self.idle.put(None)
        self.lock, self.all = threading.Lock(), set[Process]()
        self.closed = False

    def __enter__(self) -> Judges:
        return self

    def __exit__(self, *error: object) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)
        with self.lock:
            self.closed = True
            for process in self.all:
                process.kill()
        self.threads.shutdown(wait=True)
        for process in self.all:
            process.end()

    def submit(self, job: Job) -> Future[dict[str, Any]]:
        """The future answer of a judge."""
        return self.threads.submit(self._ask, job)

    def _ask(self, job: Job) -> dict[str, Any]:
        process = self.idle.get()
        try:
            if process is None:
                process = self._started()
            with process.within(job.patience + 10):
                return dict(process.ask(dataclasses.asdict(job)))
        except Ended as end:
            if process is not None:
                with self.lock:
                    self.all.discard(process)
                process.end()
            process = None
            lost = Verdict(job.op, "unknown", "not established", f"the judge did not finish: {end}")
            return {"verdict": dataclasses.asdict(lost), "names": [], "left": [], "error": lost.text}
        finally:
            self.idle.put(process)

    def _started(self) -> Process:
        with self.lock:
            if self.closed:
                raise Ended("it was interrupted")
            process = Process("vugrad.check.judge")
            self.all.add(process)
            return process


def grade(
    path: Path, names: Sequence[str] | None = None, seconds: float = SECONDS, memory: int = MEMORY, own: bool = False
) -> Marks:
    """A verdict for each op of a file or folder, or for each op in ``names``; a name without an op is "missing".

    Each op runs in a process of its own, with limits on memory and core-seconds, and with a wall-clock limit of three
    times these seconds: an endless loop or a crash fails only that op. This is no protection against malice: the file
    runs with the rights of the person who grades it. With ``own``, forward and backward must be functions of the
    submission, and must not call ops of vugrad or functions that compute gradients.

    Raises ``ValueError`` for a path that does not exist and, without ``names``, for a file without ops.
    """
    _check(path, names)
    with Judges(allowed()) as judges:
        left: list[str] = []
        if names is None:
            found = judges.submit(Job(str(path.absolute()), "", own, True, seconds, memory)).result()
            names, left = found["names"], found.get("left", [])
            if not names:
                failed = found.get("error") or next((f"not loaded: {each}" for each in left), "")
                why = failed and f"; {failed}"
                raise ValueError(f"{path} defines no Op: write class Name(vg.Op), with forward and backward{why}")
        jobs = [Job(str(path.absolute()), name, own, True, seconds, memory) for name in dict.fromkeys(names)]
        answers = [future.result() for future in [judges.submit(job) for job in jobs]]
    left = _left(answers) or left
    return Marks(path.stem, path.name, [Verdict(**answer["verdict"]) for answer in answers], left)


def grade_class(
    folder: Path, names: Sequence[str], seconds: float = SECONDS, memory: int = MEMORY, own: bool = True
) -> Iterator[Marks]:
    """Yield the marks of each submission in a folder as soon as they are done; a submission is a file or a subfolder.

    A file cannot import the files beside it: they are other submissions.
    """
    _check(folder, names)
    paths = submissions(folder)
    if not paths:
        raise ValueError(f"{folder} has no submissions: a .py or .ipynb file, or a folder, for each student")
    wanted, called = list(dict.fromkeys(names)), dict(zip(paths, names_of(paths), strict=True))
    with Judges(allowed()) as judges:
        pending: dict[Future[dict[str, Any]], Path] = {}
        answers: dict[Path, dict[str, dict[str, Any]]] = {path: {} for path in paths}
        for path in paths:
            for name in wanted:
                job = Job(str(path.absolute()), name, own, path.is_dir(), seconds, memory)
                pending[judges.submit(job)] = path
        while pending:
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                path, answer = pending.pop(future), future.result()
                found = answers[path]
                found[answer["verdict"]["op"]] = answer
                if len(found) == len(wanted):
                    verdicts = [Verdict(**found[name]["verdict"]) for name in wanted]
                    yield Marks(called[path], path.name, verdicts, _left(found[name] for name in wanted))


def _left(answers: Iterable[dict[str, Any]]) -> list[str]:
    """What was not loaded or not judged, each once."""
    return list(dict.fromkeys(each for answer in answers for each in answer["left"]))


def submissions(folder: Path) -> list[Path]:
    """The submissions in a folder, by name: Python files, notebooks, and folders that contain such files."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.name[0] not in "._"
        and ((path.is_file() and path.suffix in (".py", ".ipynb")) or (path.is_dir() and files_of(path)))
    )


def names_of(paths: Sequence[Path]) -> list[str]:
    """The names that are shown: without the suffix, unless two submissions would have the same name."""
    names = [path.stem if path.is_file() else path.name for path in paths]
    return [path.name if names.count(name) > 1 else name for path, name in zip(paths, names, strict=True)]


def _check(path: Path, names: Sequence[str] | None) -> None:
    if not path.exists():
        raise ValueError(f"{path} is not there: give the file with the ops, or the folder with the submissions")
    if names is not None and not names:
        raise ValueError("no op is named: write --ops Normalize,ReLU, or omit --ops for all ops")
