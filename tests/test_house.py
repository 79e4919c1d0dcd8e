"""Does the tree keep the rules that no linter has? Each test names its rule and lists every place that breaks it."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [ROOT / "producer", ROOT / "worker", ROOT / "sandbox_image"]
# Words that say nothing about what is inside (STYLE: names).
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "core", "misc"}
# Words of the Makefile and of the two commands that a reader is told to type.
TYPED_MAKE = re.compile(r"\bmake ([a-z][a-z-]*)")
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
HEAVY = ("celery", "kombu", "docker", "httpx2", "typer", "rich", "leasebox.client", "leasebox.aio", "leasebox.cli")


def _files(*roots: Path, suffix: str = ".py") -> Iterator[Path]:
    for root in roots:
        yield from sorted(root.rglob(f"*{suffix}"))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _where(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _printed(code: str) -> str:
    """What a program of its own interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def _pages() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_the_guest_imports_the_standard_library_alone():
    allowed = sys.stdlib_module_names | {"leasebox_guest"}
    strangers = [
        f"{_where(path)}: {name}"
        for path in _files(ROOT / "sandbox_image" / "leasebox_guest")
        for name in _imports(path)
        if name.split(".")[0] not in allowed
    ]

    assert not strangers


def test_no_module_has_an_empty_name():
    assert not [_where(path) for path in _files(*SOURCES) if EMPTY_NAMES & {path.stem, path.parent.name}]


def test_every_module_opens_with_the_question_it_answers():
    silent = [
        _where(path)
        for path in _files(*SOURCES)
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]

    assert not silent


def test_no_test_mocks():
    assert not [_where(path) for path in _files(ROOT / "tests") if "unittest.mock" in set(_imports(path))]


def test_no_test_sleeps():
    """`eventually` polls; only its own file may sleep."""
    sleepers = [
        f"{_where(path)}:{node.lineno}"
        for path in _files(ROOT / "tests")
        if path.name != "conftest.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep"
    ]

    assert not sleepers


def test_importing_the_contract_loads_no_client_and_no_heavy_library():
    modules = ", ".join(f"leasebox.contract.{p.stem}" for p in (ROOT / "producer/leasebox/contract").glob("[a-z]*.py"))
    code = f"import sys, {modules}; print([m for m in {HEAVY!r} if m in sys.modules])"

    assert _printed(code) == "[]"


@pytest.mark.slow
@pytest.mark.parametrize(("url", "expected"), [("http://127.0.0.1:1", "False"), ("redis://127.0.0.1:1", "True")])
def test_a_client_loads_redis_py_only_where_it_speaks_to_redis(url, expected):
    assert _printed(f"import sys, leasebox; leasebox.Client({url!r}); print('redis' in sys.modules)") == expected


@pytest.mark.parametrize("page", _pages(), ids=_where)
def test_every_link_of_a_page_leads_somewhere(page):
    targets = [target for target in LINK.findall(page.read_text()) if "://" not in target]

    assert not [target for target in targets if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", _pages(), ids=_where)
def test_every_make_word_of_a_page_is_in_the_makefile(page):
    typed = {
        word
        for block in re.findall(r"```.*?```|`[^`\n]+`", page.read_text(), re.S)
        for word in TYPED_MAKE.findall(block)
    }
    words = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))

    assert typed <= words
