"""Pictures of graphs: in a notebook, in a browser, as files; and ``vg.debug``."""

from vugrad.viewer.views import View, view
from vugrad.viewer.watched import NotFiniteError, OverwrittenError, debug

__all__ = ["NotFiniteError", "OverwrittenError", "View", "debug", "view"]


def __dir__() -> list[str]:
    return __all__
