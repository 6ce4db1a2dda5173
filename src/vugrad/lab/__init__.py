"""The lab: studies of training, run over several seeds, kept as records, and judged (extra ``lab``).

A :class:`Study` says what varies and what does not. It becomes :class:`Run` s, a recipe and a seed each; a run becomes
a :class:`Record`, which is never made twice.
"""

from vugrad.lab.record import Record as Record, Records as Records, Run as Run
from vugrad.lab.runner import execute as execute
from vugrad.lab.study import Study as Study

__all__ = ["Record", "Records", "Run", "Study", "execute"]


def __dir__() -> list[str]:
    return __all__
