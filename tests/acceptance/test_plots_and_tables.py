"""The cells of docs/how-to/plots-and-tables.md, and every MIME type, through the SDK and saved by the command line."""

import base64
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from tests.acceptance.conftest import DOORS, Live

from leasebox.client import Client
from leasebox.contract.result import ARTIFACTS_MIME

WAIT_S = 120.0
LARGE = 10_000_000
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "plots-and-tables.md"
CELLS = re.findall(r"```py\n(.*?)```", PAGE.read_text(), re.DOTALL)[:3]
PNG = b"\x89PNG\r\n\x1a\n"
METHODS = {
    "text/html": ("_repr_html_", "'<b>'", b"<b>"),
    "text/markdown": ("_repr_markdown_", "'*m*'", b"*m*"),
    "text/latex": ("_repr_latex_", "'$x$'", b"$x$"),
    "image/svg+xml": ("_repr_svg_", "'<svg/>'", b"<svg/>"),
    "image/png": ("_repr_png_", "b'\\x89PNG'", b"\x89PNG"),
    "image/jpeg": ("_repr_jpeg_", "b'\\xff\\xd8'", b"\xff\xd8"),
    "application/json": ("_repr_json_", "{'a': [1]}", b'{"a": [1]}'),
}


def saved(live: Live, code: str, folder: Path, *flags: str) -> dict[str, bytes]:
    """What `leasebox run --out` saves, by name; what it prints under ""."""
    command = [sys.executable, "-m", "leasebox.cli", "run", "-q", "--session", "shown", "--stateful", *flags]
    done = subprocess.run(
        [*command, "--out", str(folder), "-c", code], env=live.environment(), capture_output=True, timeout=WAIT_S
    )
    assert done.returncode == 0, done.stderr
    return {"": done.stdout} | {path.name: path.read_bytes() for path in folder.glob("*")}


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_cells_of_the_page_return_a_picture_a_table_and_a_value(with_data: Live, tmp_path: Path) -> None:
    with with_data.client() as client, client.session(profile="data") as box:
        plot, table, value = (box.run(cell, wait_s=WAIT_S, check=True).results for cell in CELLS)
    files = [saved(with_data, cell, tmp_path / f"{n}", "--profile", "data") for n, cell in enumerate(CELLS)]

    assert [sorted(bundle) for bundle in plot] == [["image/png", "text/plain"]]
    assert base64.b64decode(plot[0]["image/png"]).startswith(PNG)
    assert [sorted(bundle) for bundle in table] == [["text/html", "text/plain"]]
    assert "<table" in table[0]["text/html"]
    assert value == [{"text/plain": "42"}]
    assert [sorted(found) for found in files] == [["", "result-1.png"], ["", "result-1.html"], [""]]
    assert files[0]["result-1.png"].startswith(PNG)
    assert b"Bonn" in files[1]["result-1.html"]
    assert files[2][""] == b"42\n"


@DOORS
@pytest.mark.parametrize("mime", METHODS)
def test_every_mime_type_comes_back_and_is_saved(client: Client, live: Live, tmp_path: Path, mime: str) -> None:
    method, value, content = METHODS[mime]
    code = f"class T:\n def {method}(self): return {value}\n def __repr__(self): return 'T'\nT()"
    (bundle,) = client.run(code, session=f"m-{uuid.uuid4().hex[:8]}", stateful=True, wait_s=WAIT_S, check=True).results
    files = saved(live, code, tmp_path / "o")

    assert sorted(bundle) == sorted([mime, "text/plain"])
    assert files.pop("") == b"T\n"
    assert list(files.values()) == [content]


def test_what_is_too_large_for_a_bundle_is_an_artifact_that_the_bundle_names(
    client: Client, live: Live, tmp_path: Path
) -> None:
    code = (
        f"class T:\n def _repr_html_(self): return 'é' * {LARGE // 2}\n def _repr_png_(self): return b'png'\n"
        " def __repr__(self): return 'T' * 70_000\nT()"
    )
    handle = client.submit(code, session=f"m-{uuid.uuid4().hex[:8]}", stateful=True)
    (event,) = (event for event in handle.events(timeout_s=WAIT_S) if event.type == "display")
    result = handle.result()
    files = saved(live, code, tmp_path / "o")

    assert result.results == [event.bundle]
    assert event.bundle[ARTIFACTS_MIME] == {"text/plain": "result-1.txt", "text/html": "result-1.html"}
    assert event.bundle["text/plain"].endswith("... 4464 characters left out")
    assert sorted(event.bundle) == sorted(["image/png", "text/plain", ARTIFACTS_MIME])
    assert [(one.path, one.size_bytes, one.content_type) for one in result.artifacts] == [
        ("result-1.txt", 70_000, "text/plain"),
        ("result-1.html", LARGE, "text/html"),
    ]
    assert handle.artifact("result-1.html").decode() == "é" * (LARGE // 2)
    assert sorted(name for name in files if name) == ["result-1.html", "result-1.png", "result-1.txt"]
    assert files["result-1.html"] == handle.artifact("result-1.html")
    assert files["result-1.txt"] == b"T" * 70_000
