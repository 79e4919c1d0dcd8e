"""What a cell showed, as text and as files."""

import base64
from pathlib import Path

import pytest

from leasebox.cli.saved import as_text, save, save_artifacts
from leasebox.contract.errors import FileError
from leasebox.contract.result import ARTIFACTS_MIME, Artifact, Failure, Outcome, Result

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
    assert as_text({"a/b": "", ARTIFACTS_MIME: {"text/html": "result-1.html"}}) == "[a/b, text/html: result-1.html]"


def test_a_result_shows_itself_as_text_outside_of_notebooks(capsys: pytest.CaptureFixture[str]) -> None:
    RESULT.show()

    shown = capsys.readouterr()
    assert shown.out == "out\n42\nP\n['application/json', 'image/jpeg']\n"
    assert shown.err == "Traceback\n"


def test_artifacts_keep_their_paths_and_none_leads_out_of_the_folder(tmp_path: Path) -> None:
    def left(path: str) -> Artifact:
        return Artifact(path=path, size_bytes=1, sha256="", content_type="text/plain")

    result = Result(job="j", outcome=Outcome.OK, artifacts=[left("d/e/a"), left("b")])
    hostile = [Result(job="j", outcome=Outcome.OK, artifacts=[left(path)]) for path in ("../x", "/x", "a/../../x")]

    written = list(save_artifacts(result, tmp_path / "out", str.encode))

    assert [str(path.relative_to(tmp_path)) for path in written] == ["out/d/e/a", "out/b"]
    assert (tmp_path / "out" / "d" / "e" / "a").read_bytes() == b"d/e/a"
    for one in hostile:
        with pytest.raises(FileError, match="leads out"):
            list(save_artifacts(one, tmp_path / "out", str.encode))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
