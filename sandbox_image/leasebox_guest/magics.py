"""What of a notebook's own words does a cell understand? `!cmd`, `%pip`, `%%bash`, `%variables`, `%restart`.

A cell is read as Python first, and only what is no Python comes here: plain Python is never altered.
"""

from __future__ import annotations

import re

_LINE = re.compile(r"^(?P<indent>\s*)(?P<mark>[!%])(?P<rest>.*)$")
_SHELLS = {"bash": "bash", "sh": "sh", "script": "sh"}
_IGNORED = ("matplotlib", "load_ext", "autoreload", "config")
MODULE = "leasebox_magics"
"""The entry of `sys.modules` that has what a rewritten magic calls."""
_CALL = f"__import__('sys').modules[{MODULE!r}]"


def rewritten(source: str) -> str | None:
    """The cell with its magics as Python, in as many lines; None if it has none."""
    lines = source.split("\n")
    head = next((line for line in lines if line.strip()), "")
    if head.startswith("%%") and head[2:].strip():
        return _whole_cell(head, source)
    changed = [_line(line) for line in lines]
    return None if changed == lines else "\n".join(changed)


def _whole_cell(head: str, source: str) -> str:
    name = head[2:].split()[0]
    body = source.split(head, 1)[1].removeprefix("\n")
    if name in _SHELLS:
        return f"{_CALL}.run_shell({body!r}, {_SHELLS[name]!r})\n"
    return f"{_CALL}.no_magic({'%%' + name!r})\n"


def _line(line: str) -> str:
    match = _LINE.match(line)
    if match is None:
        return line
    indent, rest = match["indent"], match["rest"].strip()
    if match["mark"] == "!":
        return f"{indent}{_CALL}.run_shell({rest!r})"
    name, _, words = rest.partition(" ")
    if name == "pip":
        return f"{indent}{_CALL}.run_pip({words!r})"
    if name in ("variables", "restart"):
        return f"{indent}{_CALL}.{name}()"
    if name in _IGNORED:
        return f"{indent}pass"
    return f"{indent}{_CALL}.no_magic({'%' + name!r})"
