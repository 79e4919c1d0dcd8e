"""How does a cell's source become code that runs: the value of its last expression, and `await` at its top?"""

from __future__ import annotations
import __future__

import ast
import re
import sys
from types import CodeType
from typing import Any

from leasebox_guest.magics import rewritten

_LAST = "_leasebox_last"
_CO_COROUTINE = 0x80
_NEWLINE = re.compile(r"\r\n?|\n")
_FUTURES = 0
for _name in __future__.all_feature_names:
    _FUTURES |= getattr(__future__, _name).compiler_flag


class CellCode:
    """Compiles and runs cells in one namespace; `from __future__` in a cell holds for those after it.

    Attributes:
        namespace: Of `__main__`.
    """

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace
        self._flags = 0
        self._loop: Any = None

    def compile(self, source: str, name: str) -> CodeType:
        """Compile a cell; what is no Python but a magic is rewritten first.

        Raises:
            SyntaxError, ValueError: It is neither.
        """
        failure: SyntaxError | None = None
        try:
            tree = ast.parse(source, name)
        except SyntaxError as exc:
            failure = exc
        if failure is not None:
            python = rewritten(source)
            if python is None:
                raise failure
            tree = ast.parse(python, name)
            source = python
        _keep_last(tree, source)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | self._flags
        code: CodeType = compile(tree, name, "exec", flags, dont_inherit=True)
        self._flags |= code.co_flags & _FUTURES
        return code

    def run(self, code: CodeType) -> object:
        """Run a cell; the value of its last expression, None if it has none or a semicolon hides it."""
        self.namespace.pop(_LAST, None)
        if "asyncio" in sys.modules:
            self._set_loop()
        if code.co_flags & _CO_COROUTINE:
            self._await(eval(code, self.namespace))
        else:
            exec(code, self.namespace)  # noqa: S102 (as the job)
        return self.namespace.pop(_LAST, None)

    def _set_loop(self) -> Any:
        """One loop for all cells, set as the current one: `ensure_future` and `await` must not use two."""
        import asyncio

        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        return self._loop

    def _await(self, coroutine: Any) -> None:
        loop = self._set_loop()
        task = loop.create_task(coroutine)
        try:
            loop.run_until_complete(task)
        except BaseException:
            if not task.done():  # an interrupt left the loop: the cell must not go on in the next one
                task.cancel()
                _run_out(loop, task)
            raise


def _run_out(loop: Any, task: Any) -> None:
    try:
        loop.run_until_complete(task)
    except BaseException:  # noqa: BLE001 (its end is told already)
        return


def _keep_last(tree: ast.Module, source: str) -> None:
    """Turn a last expression into an assignment, unless a semicolon follows it."""
    if not tree.body or not isinstance(last := tree.body[-1], ast.Expr) or _is_hidden(last, source):
        return
    target = ast.copy_location(ast.Name(_LAST, ast.Store()), last)
    tree.body[-1] = ast.copy_location(ast.Assign([target], last.value), last)


def _is_hidden(last: ast.Expr, source: str) -> bool:
    assert last.end_lineno is not None
    line = _NEWLINE.split(source)[last.end_lineno - 1 : last.end_lineno]
    return bool(line) and line[0].encode()[last.end_col_offset :].lstrip().startswith(b";")
