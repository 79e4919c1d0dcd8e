"""Where does a secret's value come from, and which files are none?"""

from pathlib import Path

import pytest

from leasebox.contract.errors import InvalidSpec
from leasebox_worker.config import given_secrets
from leasebox_worker.policy.secrets import MAX_BYTES, MIN_BYTES, SecretStore


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"hunter2", "hunter2"),
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b"two\nlines\n\n", "two\nlines\n"),
        (b"\xff\xfe\xfd\xfc", "\udcff\udcfe\udcfd\udcfc"),
        (b"x" * MIN_BYTES, "x" * MIN_BYTES),
        (b"x" * MAX_BYTES, "x" * MAX_BYTES),
    ],
)
def test_a_file_is_a_secret_without_its_last_line_break(tmp_path: Path, content: bytes, value: str) -> None:
    (tmp_path / "TOKEN").write_bytes(content)

    assert SecretStore(tmp_path).read(["TOKEN"]) == {"TOKEN": value}


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * (MIN_BYTES - 1), b"x" * (MAX_BYTES + 1), b"hunter\x002"])
def test_what_cannot_be_kept_out_of_the_output_is_no_secret(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "TOKEN").write_bytes(content)

    with pytest.raises(InvalidSpec) as caught:
        SecretStore(tmp_path).read(["TOKEN"])
    assert "TOKEN" in str(caught.value)
    assert "hunter" not in str(caught.value)


def test_a_secret_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "FOLDER").mkdir()
    for store, name in ((SecretStore(tmp_path), "TOKEN"), (SecretStore(tmp_path), "FOLDER"), (SecretStore(None), "X")):
        with pytest.raises(InvalidSpec, match=name):
            store.read([name])


def test_a_changed_file_counts_from_the_next_job_on(tmp_path: Path) -> None:
    store = SecretStore(tmp_path)
    (tmp_path / "TOKEN").write_text("first value")
    store.read(["TOKEN"])
    (tmp_path / "TOKEN").write_text("second value")

    assert store.read(["TOKEN"]) == {"TOKEN": "second value"}


def test_where_there_is_no_file_the_environment_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "BOTH").write_text("of the file")
    (tmp_path / "FOLDER").mkdir()
    for name, value in {"BOTH": "of the variable", "TOKEN": "0123", "FOLDER": "1e10", "SHORT": "1"}.items():
        monkeypatch.setenv(f"LEASEBOX_SECRET_{name}", value)
    monkeypatch.setenv("LEASEBOX_SECRETS_DIR", str(tmp_path))
    given = given_secrets()

    assert SecretStore(tmp_path, given).read(["BOTH", "TOKEN"]) == {"BOTH": "of the file", "TOKEN": "0123"}
    assert SecretStore(None, given).read(["BOTH"]) == {"BOTH": "of the variable"}
    for name in ("FOLDER", "SHORT", "S_DIR"):
        with pytest.raises(InvalidSpec, match=name):
            SecretStore(tmp_path, given).read([name])
