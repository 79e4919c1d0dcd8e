"""What makes a fork of PID 1 the same as a fresh `python3 main.py`?

Each line undoes one thing that the agent's presence would show; GUEST.md section 2 has the measurements.
"""

from __future__ import annotations

import _frozen_importlib
import _frozen_importlib_external
import _io
import atexit
import gc
import os
import site
import sys
from types import CodeType, ModuleType

from leasebox_guest import posix
from leasebox_guest.spec import Spec

_CLEARED_AT_EXIT = frozenset(("__main__", "builtins", "sys"))
"""Here a program may have put what has a finalizer; the interpreter's end looks for them by name."""

_bare: frozenset[str] = frozenset()
_loaded: dict[str, tuple[ModuleType, int]] = {}
"""The modules that PID 1 has loaded, and how many names each has."""
_agents_own: list[str] = []
_kept: list[object] = []
_image_sitecustomize: _frozen_importlib.ModuleSpec | None = None
_image_code: CodeType | None = None
_main = sys.modules["__main__"]


def remember_start(bare: frozenset[str]) -> None:
    """Note what a bare interpreter has loaded. Before any preload, so that its exit function runs last of all."""
    global _bare
    _bare = bare
    posix.keep_for_ever(_kept)
    atexit.register(_keep_loaded)
    _find_image_sitecustomize([path for path in sys.path if path != os.environ.get("PYTHONPATH")])


def _find_image_sitecustomize(path: list[str]) -> None:
    """The image's own sitecustomize, if it has one (Debian's does), is hidden by the agent's: jobs run it."""
    global _image_sitecustomize, _image_code
    finder = _frozen_importlib_external.PathFinder
    finder.find_spec("leasebox_no_such_module", path)  # fills the finders' caches, for every job to come
    _image_sitecustomize = finder.find_spec("sitecustomize", path)
    if _image_sitecustomize and isinstance(_image_sitecustomize.loader, _frozen_importlib_external.SourceFileLoader):
        _image_code = _image_sitecustomize.loader.get_code("sitecustomize")


def remember_loaded() -> None:
    """Note what is loaded now; jobs end without taking it apart (decision 8).

    To do so would copy page after page. Files alone are left to their end, which writes what they still hold.
    """
    global _loaded, _agents_own
    _loaded = {
        name: (module, len(vars(module))) for name, module in sys.modules.items() if name not in _CLEARED_AT_EXIT
    }
    _agents_own = [name for name in sys.modules if name.partition(".")[0] == "leasebox_guest"]
    _kept.extend(thing for thing in gc.get_objects() if not isinstance(thing, _io._IOBase))


def shadowed() -> bool:
    """Whether a module beside main.py has the name of one that is loaded already but would not be in a bare start."""
    stems = {name.partition(".")[0] for name in os.listdir()}  # noqa: PTH208
    return any(stem in sys.modules and stem not in _bare for stem in stems)


def as_fresh_python(spec: Spec, start_env: dict[str, str]) -> None:
    """Look like an interpreter that was just started for this job; the caller then returns into it."""
    gc.enable()
    _renew_main()
    _forget_agent(start_env["PYTHONPATH"])
    sys.argv[1:] = spec.argv[1:]
    sys.orig_argv[2:] = spec.argv[1:]
    if random := sys.modules.get("numpy.random"):
        random.seed()  # the one generator that a fork does not seed anew
    if spec.env.get("HOME") != start_env.get("HOME"):
        _add_user_site()
    _run_image_sitecustomize()
    if spec.line_buffered:
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def _renew_main() -> None:
    """A new `__main__`: the old one's dict is in the frozen generation, whose cycles are never collected."""
    global _main
    _main = new = type(sys)("__main__")
    new.__dict__.update(sys.modules["__main__"].__dict__)
    vars(new)["__annotations__"] = {}
    sys.modules["__main__"] = new


def _forget_agent(agent_dir: str) -> None:
    sys.path[:] = [path for path in sys.path if path != agent_dir]
    sys.path_importer_cache.pop(agent_dir, None)
    for name in _agents_own:
        _kept.append(sys.modules.pop(name))


def _add_user_site() -> None:
    """HOME is the job's now: its user site stands before the site folders, where site.main() would have put it."""
    site.USER_BASE = site.USER_SITE = None
    site.ENABLE_USER_SITE = site.check_enableusersite()
    folders = set(site.getsitepackages())
    first = next((at for at, path in enumerate(sys.path) if path in folders), len(sys.path))
    behind = sys.path[first:]
    del sys.path[first:]
    site.addusersitepackages(None)  # type: ignore[arg-type]
    sys.path.extend(behind)


def _run_image_sitecustomize() -> None:
    """What site.execsitecustomize would have done. In the job, never in PID 1."""
    if _image_sitecustomize is None or _image_code is None:
        return
    module = _frozen_importlib.module_from_spec(_image_sitecustomize)
    sys.modules["sitecustomize"] = module
    try:
        exec(_image_code, module.__dict__)  # noqa: S102 (with the rights of the job)
    except ImportError as exc:
        if exc.name != "sitecustomize":
            _complain(exc)
    except Exception as exc:  # noqa: BLE001 (as site.execsitecustomize)
        _complain(exc)


def _complain(exc: Exception) -> None:
    sys.stderr.write(f"Error in sitecustomize; set PYTHONVERBOSE for traceback:\n{type(exc).__name__}: {exc}\n")


def _keep_loaded() -> None:
    """The last exit function: the end of a job need not take apart what PID 1 had loaded and the job left as it was."""
    if _has_come_back() and _has_flushed():
        vars(sys)["leasebox_end"] = _End()
    for name, (module, size) in _loaded.items():
        if sys.modules.get(name) is module and len(vars(module)) == size:
            _kept.append(sys.modules.pop(name))


def _has_come_back() -> bool:
    """Whether main.py has run to its end, so that the exit status is 0.

    The interpreter then takes `__file__` and `__cached__` out of its namespace, which SystemExit leaves there; of
    another exception `sys` has the last one.
    """
    names = vars(_main).keys()
    is_taken_out = "__file__" not in names and "__cached__" not in names and {"__name__", "__builtins__"} <= names
    return is_taken_out and not hasattr(sys, "last_type")


def _has_flushed() -> bool:
    """Whether what is left in standard output and error could be written; else the exit status is 120."""
    for stream in (sys.stdout, sys.stderr):
        if type(stream) is not _io.TextIOWrapper or type(stream.buffer) is not _io.BufferedWriter:
            return False  # of the program's own making: only the interpreter flushes that
        try:
            stream.flush()
        except (OSError, ValueError):
            return False  # the interpreter will try again, and tell
    return True


class _End:
    """The last thing in `sys`, whose names go last of all: the process ends here, with status 0.

    What would follow runs no code of the program, but writes to every page that has a built-in type or code (decision
    8).
    """

    def __del__(self) -> None:
        gc.collect()  # as the interpreter would once more: files in cycles write what they hold
        posix.leave(0)
