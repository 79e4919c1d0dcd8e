"""What does `from IPython.display import ...` find in a cell? The real one with our `display`, or a small stand-in.

The same finder makes matplotlib's backend (figures.py), since both exist only once somebody asks for them.
`get_ipython` stays undefined as a builtin: libraries then choose their plain form.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from leasebox_guest import figures

_REAL = "IPython.core.display_functions"


class _Shown:
    """A text or bytes with a MIME type of its own."""

    mime = "text/plain"

    def __init__(self, data: object = None, *, filename: str | None = None, **_options: object) -> None:
        if filename is not None:
            with open(filename, "rb") as file:  # noqa: PTH123 (pathlib is not loaded yet)
                data = file.read()
        self.data = data

    def _repr_mimebundle_(self, *_args: object, **_options: object) -> dict[str, object]:
        return {self.mime: self.data, "text/plain": f"<{type(self).__name__}>"}


class HTML(_Shown):
    """HTML source."""

    mime = "text/html"


class Markdown(_Shown):
    """Markdown source."""

    mime = "text/markdown"


class Latex(_Shown):
    """LaTeX source."""

    mime = "text/latex"


class SVG(_Shown):
    """An SVG document."""

    mime = "image/svg+xml"


class JSON(_Shown):
    """Data that JSON can carry."""

    mime = "application/json"


class Image(_Shown):
    """The bytes of a PNG or JPEG picture."""

    def __init__(self, data: bytes | None = None, filename: str | None = None, **options: object) -> None:
        super().__init__(data, filename=filename, **options)
        is_jpeg = isinstance(self.data, bytes) and self.data.startswith(b"\xff\xd8")
        self.mime = "image/jpeg" if is_jpeg else "image/png"


def clear_output(*_args: object, **_options: object) -> None:
    """Nothing: what was shown stays shown."""


class Finder:
    """Finds a stand-in for IPython where none is installed, and gives the real one our `display` where it is."""

    def __init__(self, display: Callable[..., None]) -> None:
        self._display = display

    def find_spec(self, name: str, path: Sequence[str] | None = None, _target: object = None) -> ModuleSpec | None:
        """What the import system asks."""
        if name == figures.BACKEND_MODULE:
            return ModuleSpec(name, _StandIn(self._display))  # type: ignore[arg-type]
        if name not in ("IPython", "IPython.display", _REAL):
            return None
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(name, path)):
                if name == _REAL and spec.loader:
                    spec.loader = _Changed(spec.loader, self._display)  # type: ignore[assignment]
                return spec
        return ModuleSpec(name, _StandIn(self._display), is_package=name == "IPython")  # type: ignore[arg-type]


class _Changed:
    """Loads a module as its own loader does, then puts our `display` into it."""

    def __init__(self, loader: Any, display: Callable[..., None]) -> None:
        self._loader = loader
        self._display = display

    def create_module(self, spec: ModuleSpec) -> Any:
        """As the real loader."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """As the real loader, then with our `display`."""
        self._loader.exec_module(module)
        module.display = self._display  # type: ignore[attr-defined]


class _StandIn:
    def __init__(self, display: Callable[..., None]) -> None:
        self._display = display

    def create_module(self, _spec: ModuleSpec) -> None:
        """An ordinary module."""

    def exec_module(self, module: ModuleType) -> None:
        """Fill it with the few names that a notebook's code asks for."""
        if module.__name__ == figures.BACKEND_MODULE:
            figures.fill_backend(module, self._display)
        elif module.__name__ == "IPython":
            vars(module).update(get_ipython=lambda: None, version_info=(0, 0, 0), __version__="0")
        else:
            classes = (HTML, Markdown, Latex, SVG, JSON, Image)
            vars(module).update({kind.__name__: kind for kind in classes})
            vars(module).update(display=self._display, clear_output=clear_output)
