"""Settings of every test."""

import gc
import os
import tempfile

from hypothesis import settings

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


def pytest_collection_finish():
    """Let nobody who looks for garbage, or for who refers to what, look at the thousands of tests too."""
    gc.collect()
    gc.freeze()
