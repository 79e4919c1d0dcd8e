"""Do the flags of `leasebox run` become what the caller gave, all of it?"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer

from leasebox.cli import request
from leasebox.contract.blobs import MAX_BLOB_BYTES
from leasebox.contract.spec import MAX_INLINE_BYTES


@contextmanager
def piped(path: Path, data: bytes) -> Iterator[Path]:
    """A pipe that somebody writes `data` into."""
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(data,), daemon=True)
    writer.start()
    yield path
    writer.join(timeout=10)


@pytest.mark.parametrize("size_bytes", [MAX_INLINE_BYTES, MAX_INLINE_BYTES + 1, MAX_INLINE_BYTES + 2])
def test_a_pipe_is_taken_whole_on_both_sides_of_the_inline_bound(tmp_path: Path, size_bytes: int) -> None:
    with piped(tmp_path / "stdin", b"x" * size_bytes) as pipe:
        assert request.standard_input(str(pipe), is_program_there=False) == b"x" * size_bytes
    with piped(tmp_path / "file", b"x" * size_bytes) as pipe:
        assert request.files([f"{pipe}:f"], {}) == {"f": b"x" * size_bytes}


@pytest.mark.parametrize("given", [["{0}/a", "{0}/b:a"], ["{0}/b:p.mjs"]])
def test_a_path_in_the_sandbox_is_given_once(tmp_path: Path, given: list[str]) -> None:
    for name in ("a", "b"):
        (tmp_path / name).touch()

    with pytest.raises(typer.BadParameter, match=r"(a|p\.mjs) is given twice"):
        request.files([item.format(tmp_path) for item in given], {"p.mjs": tmp_path / "p.mjs"})


def test_what_never_ends_is_read_to_one_byte_past_the_bound_and_so_refused() -> None:
    given = request.standard_input("/dev/zero", is_program_there=False)

    assert isinstance(given, bytes)
    assert len(given) == MAX_BLOB_BYTES + 1
