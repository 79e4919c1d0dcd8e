"""How do plots come back without a notebook? A matplotlib backend that is this interpreter's own.

`MPLBACKEND` names a module that the finder of `notebook.py` makes when matplotlib asks for it: a canvas (Agg) and
`show()`. Figures are sent and closed on `show()` and at the end of each cell.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from types import ModuleType

BACKEND_MODULE = "leasebox_inline"
_BACKEND = f"module://{BACKEND_MODULE}"


def choose_backend() -> None:
    """Make matplotlib use it, however it is or was imported; its caches stay out of the workspace."""
    os.environ.setdefault("MPLBACKEND", _BACKEND)
    os.environ.setdefault("MPLCONFIGDIR", "/tmp/.matplotlib")
    if loaded := sys.modules.get("matplotlib"):  # before this interpreter was forked
        loaded.use(os.environ["MPLBACKEND"])


def fill_backend(module: ModuleType, display: Callable[[object], None]) -> None:
    """What matplotlib copies out of a backend's module: its canvas and its `show`."""
    canvas = importlib.import_module("matplotlib.backends.backend_agg").FigureCanvasAgg
    vars(module).update(FigureCanvas=canvas, show=lambda *_args, **_options: show_all(display))


def show_all(display: Callable[[object], None]) -> None:
    """Show and close every open figure."""
    helpers = sys.modules.get("matplotlib._pylab_helpers")
    if helpers is None:
        return
    for manager in list(helpers.Gcf.get_all_fig_managers()):
        figure = manager.canvas.figure
        helpers.Gcf.destroy(manager)
        if figure.axes or figure.lines or figure.patches or figure.texts or figure.images:
            display(figure)


def picture_of(value: object) -> dict[str, object] | None:
    """The bundle of a figure, which is closed by this; None for anything else.

    A figure draws itself only in a notebook, where IPython has taught it to.
    """
    figures = sys.modules.get("matplotlib.figure")
    if figures is None or not isinstance(value, figures.Figure):
        return None
    import base64
    import io

    held = io.BytesIO()
    value.savefig(held, format="png", bbox_inches="tight")
    if helpers := sys.modules.get("matplotlib._pylab_helpers"):
        helpers.Gcf.destroy_fig(value)
    return {"image/png": base64.b64encode(held.getvalue()).decode(), "text/plain": repr(value)}
