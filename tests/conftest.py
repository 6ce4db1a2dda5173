"""Settings of every test."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import tempfile

import browser
import pytest
from hypothesis import settings

import vugrad as vg

# The same examples on every run, and no clock: a test fails because of the code or not at all.
settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")

# Scripts to be run, not modules to be imported and searched for examples.
collect_ignore = ["course", "reference"]


def pytest_configure(config):
    """Give all processes of a run one folder of compiled code, which is empty at first and gone at the end."""
    if not hasattr(config, "workerinput"):
        folder = tempfile.TemporaryDirectory(prefix="vugrad-tests-")
        config.add_cleanup(folder.cleanup)
        os.environ["VUGRAD_CACHE"] = folder.name
        # In workers and in what tests start: a second thread of OpenBLAS makes importing NumPy cost 0.2 core-seconds,
        # in place of 0.1.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        # If they wrote no bytecode, each would compile the sources of vugrad again, which takes 0.2 core-seconds.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # What a shell starts in the background ignores SIGINT, and so do its children; tests send it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish():
    """Freeze the collected tests, so that ``gc.collect`` and ``gc.get_referrers`` do not search them."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup():
    """Draw the same weights in a test whichever tests ran before it."""
    vg.seed(0)
    # Hypothesis measures garbage collection in a callback, and Python drops a KeyboardInterrupt that is raised in one.
    gc.callbacks.clear()


def pytest_runtest_teardown(item, nextitem):
    """End the browser after the last test of a module."""
    if getattr(nextitem, "module", None) is not getattr(item, "module", None):
        browser.stop()


@pytest.fixture(scope="session")
def judges():
    """Two judge processes, each of which is started at its first job."""
    from vugrad.check.grade import Judges

    with Judges(2) as shared:
        yield shared


@pytest.fixture
def shared_judges(judges, monkeypatch):
    """Grade with judges that other tests have used: each costs 0.7 core-seconds to start."""
    monkeypatch.setattr("vugrad.check.grade.Judges", lambda count: contextlib.nullcontext(judges))


@pytest.fixture
def command(monkeypatch, capsys):
    """The command ``vugrad``, in this process, which has imported it already: its status, and what it has written."""
    from vugrad.cli import main

    monkeypatch.setattr("vugrad.compiler.machine.threads._count", None)  # which a command may set

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vugrad", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        return subprocess.CompletedProcess(arguments, status, *capsys.readouterr())

    return run
