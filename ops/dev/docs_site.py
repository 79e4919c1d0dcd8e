#!/usr/bin/env python3
"""Build the pages of docs/ as a site in site/; --strict fails where a link of a page leads nowhere.

Pages also link to files of the repository beside docs/, for whoever reads them there. The site has none of these, so it
is built from a copy in build/docs, in which a page outside (the changelog) comes along, and any other file is named.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE, COPY = ROOT / "docs", ROOT / "build" / "docs"
LINK = re.compile(r"\[([^\]]*)\]\(([^)#:]+)(#[^)]*)?\)")


def copied(page: Path, text: str, place: Path) -> str:
    """The text of `page` as it stands at `place` of the copy; pages outside that it links to are copied too."""

    def lead(found: re.Match[str]) -> str:
        words, target, part = found[1], (page.parent / found[2]).resolve(), found[3] or ""
        if target.is_relative_to(SOURCE) and page.is_relative_to(SOURCE):
            return found[0]
        if target.is_relative_to(SOURCE):
            there = COPY / target.relative_to(SOURCE)
        elif target.suffix == ".md" and page.is_relative_to(SOURCE) and target.exists():
            there = bring(target)
        else:
            return f"{words} (`{target.relative_to(ROOT)}`)"
        return f"[{words}]({os.path.relpath(there, place.parent)}{part})"

    return LINK.sub(lead, text)


def bring(outside: Path) -> Path:
    """Put a page from outside docs/ into the copy; where it is."""
    there = COPY / "repository" / "-".join(outside.relative_to(ROOT).parts)
    if not there.exists():
        there.parent.mkdir(exist_ok=True)
        there.touch()  # pages may link to each other
        there.write_text(copied(outside, outside.read_text(), there))
    return there


def main() -> int:
    """Make the copy, then the site; the status of the builder."""
    shutil.rmtree(COPY, ignore_errors=True)
    shutil.copytree(SOURCE, COPY)
    for page in sorted(SOURCE.rglob("*.md")):
        there = COPY / page.relative_to(SOURCE)
        there.write_text(copied(page, page.read_text(), there))
    builder = Path(sys.executable).with_name("zensical")
    return subprocess.run([builder, "build", "--clean", *sys.argv[1:]], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
