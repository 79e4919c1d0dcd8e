"""May a document of the page load and run what it holds, and nothing else?"""

import re
from pathlib import Path

import pytest

import leasebox.server.page
from leasebox.server.page import rendering

TEMPLATES = sorted((Path(leasebox.server.page.__file__).parent / "templates").glob("*.html"))
SCRIPT = Path(leasebox.server.page.__file__).parent / "static" / "page.js"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_template_has_what_the_policy_forbids_or_what_escapes_nothing(template: Path):
    text = template.read_text()

    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|https?://|<script(?! src=)", text)
    assert not re.search(r"\|\s*safe|autoescape|Markup", text)


def test_the_policy_allows_our_own_files_alone():
    allowed = dict(rule.split(" ", 1) for rule in rendering.POLICY.split("; "))

    assert allowed.pop("default-src") == allowed.pop("base-uri") == allowed.pop("frame-ancestors") == "'none'"
    assert set(allowed.values()) == {"'self'"}


def test_the_script_writes_text_and_never_markup():
    script = SCRIPT.read_text()

    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", script)


def test_script_and_server_name_the_same_characters():
    theirs = re.search(r"const UNSEEN = /\[(.*)\]/g;", SCRIPT.read_text())
    assert theirs is not None

    same = re.compile(f"[{theirs[1]}]")
    # Halves of surrogate pairs never reach the script: what comes live is UTF-8.
    codes = [code for code in range(0x10000) if not 0xD800 <= code <= 0xDFFF]
    assert [c for c in codes if same.match(chr(c))] == [c for c in codes if rendering.wording._UNSEEN.match(chr(c))]
