"""Settings of every test."""

from hypothesis import settings

# The same examples on every run, and no clock: a test fails because of the code or not at all.
settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")

# Scripts to be run, not modules to be imported and searched for examples.
collect_ignore = ["course", "reference"]
