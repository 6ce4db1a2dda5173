"""Pictures of graphs: in a notebook, in a browser, as files; and ``vg.debug``."""

from vugrad.viewer.views import View as View, view as view
from vugrad.viewer.watched import (
    NotFiniteError as NotFiniteError,
    OverwrittenError as OverwrittenError,
    debug as debug,
)
