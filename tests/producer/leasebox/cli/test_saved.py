"""What a cell showed, as text and as files."""

import base64
from pathlib import Path

import pytest

from leasebox.cli.saved import as_text, save
from leasebox.contract.result import Failure, Outcome, Result

RESULT = Result(
    job="j",
    outcome=Outcome.ERROR,
    stdout="out\n",
    results=[
        {"text/plain": "42"},
        {"image/png": base64.b64encode(b"png").decode(), "text/html": "<b>é</b>", "text/plain": "P"},
        {"application/json": {"a": 1}, "image/jpeg": "A"},
    ],
    error=Failure(name="E", message="m", traceback="Traceback\n"),
)


def test_every_form_but_plain_text_is_a_file(tmp_path: Path) -> None:
    written = save(RESULT, tmp_path / "new" / "folder")

    assert {path.name: path.read_bytes() for path in written} == {
        "result-2.png": b"png",
        "result-2.html": "<b>é</b>".encode(),
        "result-3.jpg": b"A",
        "result-3.json": b'{"a": 1}',
    }


def test_no_folder_is_made_for_nothing(tmp_path: Path) -> None:
    assert save(Result(job="j", outcome=Outcome.OK, results=[{"text/plain": "1"}]), tmp_path / "o") == []
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_gets_the_plain_form_or_the_types() -> None:
    assert [as_text(bundle) for bundle in RESULT.results] == ["42", "P", "[application/json, image/jpeg]"]


def test_a_result_shows_itself_as_text_outside_of_notebooks(capsys: pytest.CaptureFixture[str]) -> None:
    RESULT.show()

    shown = capsys.readouterr()
    assert shown.out == "out\n42\nP\n['application/json', 'image/jpeg']\n"
    assert shown.err == "Traceback\n"
