"""Does a request become the right record, and is everything wrong refused before it is queued?"""

import json
import os
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

from leasebox import _submit
from leasebox._content import path_source
from leasebox._ids import new_job_id
from leasebox._message import template
from leasebox.config import ClientSettings
from leasebox.contract import errors
from leasebox.contract.spec import parse_spec

SETTINGS = ClientSettings(tenant="acme", _env_file=None)
PROFILES = {
    "default": _submit.parse_profile(
        "default",
        json.dumps(
            {
                "languages": ["python"], "memory_bytes": 1 << 29, "cpus": 2.0, "max_timeout_s": 60.0,
                "output_bytes": 10,
                "network": ["a.example.org", "*.example.com"], "secrets": ["KEY"], "env_allow": ["PATH"],
            }
        ),
    )
}  # fmt: skip


def spec(code: str | None = "1", **fields: Any) -> Any:
    """A spec from what a caller gives."""
    return _submit.spec_of(code, fields, SETTINGS)


def test_ids_are_uuids_of_version_7_that_sort_by_time():
    ids = [new_job_id(now_s) for now_s in (1.0, 2.0, 2e9)]

    assert ids == sorted(ids)
    assert {(uuid.UUID(i).version, uuid.UUID(i).variant) for i in ids} == {(7, uuid.RFC_4122)}
    assert uuid.UUID(ids[0]).int >> 80 == 1000


def test_files_may_be_text_bytes_or_paths(tmp_path: Path):
    (tmp_path / "p").write_bytes(b"\xff")
    made = spec(files={"t": "ü", "b": b"plain", "p": tmp_path / "p"}, stdin=b"\xfe")

    assert (made.files["t"].text, made.files["b"].text, made.files["p"].base64) == ("ü", "plain", "/w==")
    assert made.stdin.base64 == "/g=="


@pytest.mark.parametrize("field", ["files", "stdin"])
def test_a_content_above_256_kib_becomes_an_upload_with_the_id_of_its_content(field: str):
    def made(content: bytes) -> tuple[Any, dict[str, Any]]:
        uploads: dict[str, Any] = {}
        given = {"files": {"f": content, "g": content}} if field == "files" else {"stdin": content}
        return _submit.spec_of("1", given, SETTINGS, uploads), uploads

    assert made(b"\xff" * 262144)[1] == {}
    first, uploads = made(b"x" * 262145)
    again, _ = made(b"x" * 262145)

    assert first.blobs == tuple(uploads)
    assert b"".join(uploads[first.blobs[0]].parts()) == b"x" * 262145
    assert digest(first) == digest(again)


def test_100_mib_are_taken_and_one_byte_more_is_refused(tmp_path: Path):
    path = tmp_path / "sparse"
    for size in (100 << 20, (100 << 20) + 1):
        with path.open("wb") as file:
            file.truncate(size)
        if size == 100 << 20:
            assert len(_submit.spec_of("1", {"stdin": path}, SETTINGS, {}).blobs) == 1

    with pytest.raises(errors.InvalidSpec, match="stdin: 104857601 bytes, at most 104857600"):
        _submit.spec_of("1", {"stdin": path}, SETTINGS, {})
    with pytest.raises(errors.InvalidSpec, match="at most 262144"):
        spec(stdin=path)


def test_names_of_files_that_are_no_utf8_stay_as_they_are_and_apart():
    names = [os.fsdecode(name) for name in (b"f\xff", b"f\xfe")]
    made = spec(files=dict.fromkeys(names, "x"))

    sent = json.loads(_submit.record(made, SETTINGS, template()).spec)

    assert sent["files"] == {name: {"text": "x"} for name in names}
    assert parse_spec(sent) == made


@pytest.mark.parametrize("size_bytes", [0, 1, 262145])
def test_a_pipe_has_no_size_and_is_read_to_its_end(tmp_path: Path, size_bytes: int):
    os.mkfifo(tmp_path / "fifo")
    writer = threading.Thread(target=(tmp_path / "fifo").write_bytes, args=(b"x" * size_bytes,), daemon=True)
    writer.start()

    source = path_source("f", tmp_path / "fifo")

    writer.join(timeout=10)
    assert source.size_bytes == size_bytes
    assert [b"".join(source.parts()) for _ in range(2)] == [b"x" * size_bytes] * 2


def test_a_file_that_is_empty_by_its_size_alone_is_read(tmp_path: Path):
    (tmp_path / "empty").touch()

    assert b"".join(path_source("f", Path("/proc/version")).parts()) == Path("/proc/version").read_bytes()
    assert path_source("f", tmp_path / "empty").size_bytes == 0
    with pytest.raises(errors.InvalidSpec, match="at most 104857600"):
        _submit.spec_of("1", {"stdin": Path("/dev/zero")}, SETTINGS, {})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(errors.InvalidSpec, match=r"files\.x: cannot read .*No such file"):
        spec(files={"x": tmp_path / "none"})


def test_what_cannot_be_promised_yet_is_refused():
    with pytest.raises(errors.ConfigError, match="durable"):
        spec(durable=True)


def digest(made: Any) -> str:
    return _submit.record(made, SETTINGS, template()).digest


def test_the_digest_leaves_out_key_metadata_and_callback():
    plain = digest(spec())

    for left_out in ({"idempotency_key": "k"}, {"metadata": {"a": "b"}}, {"callback_url": "https://h/"}):
        assert digest(spec(**left_out)) == plain
    assert digest(spec(args=["x"])) != plain
    assert digest(spec(args=["x"], metadata={"a": "b"})) == digest(spec(args=["x"]))


def test_the_record_says_what_the_spec_says():
    made = _submit.record(spec("a\nb", session="s", priority="batch", retries=2), SETTINGS, template())

    assert (made.tenant, made.session, made.priority, made.retries, made.kind) == ("acme", "s", "batch", 2, "program")
    assert made.display_name == "python 2 lines"
    message = json.loads(made.wake_head + b"t" + made.wake_tail)
    assert message["headers"]["kwargsrepr"] == "tenant=acme session=s"
    assert message["properties"]["delivery_info"]["routing_key"] == "leasebox.batch"
    assert b"a\\nb" not in made.wake_head + made.wake_tail


@pytest.mark.parametrize(
    ("limits", "expected"),
    [({}, False), ({"timeout_s": 5, "cpu_s": 1, "output_bytes": 9}, False), ({"pids": 8}, True), ({"cpus": 2}, True)],
)
def test_the_record_says_whether_a_warm_sandbox_would_do(limits: dict[str, Any], expected: bool):
    assert _submit.record(spec(limits=limits), SETTINGS, template()).own_limits is expected


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"language": "go"}, "language: 'go' is not among python"),
        ({"limits": {"timeout_s": 60.001}}, "limits.timeout_s: 60.001 seconds is above 1 minute"),
        ({"limits": {"memory_bytes": (1 << 29) + 1}}, "limits.memory_bytes: 536870913 is above 536870912"),
        ({"limits": {"memory_bytes": 1 << 30}}, "limits.memory_bytes: 1 GiB is above 512 MiB"),
        ({"limits": {"cpus": 2.5}}, "limits.cpus: 2.5 is above 2"),
        ({"network": ["b.example.org"]}, "network: b.example.org is not allowed"),
        ({"secrets": ["OTHER"]}, "secrets: OTHER is not allowed"),
        ({"env": {"LD_PRELOAD": "x"}}, "env: LD_PRELOAD"),
    ],
)
def test_what_the_profile_does_not_allow_is_refused_early(fields: dict[str, Any], told: str):
    with pytest.raises(errors.InvalidSpec) as caught:
        _submit.check_profile(spec(**fields), PROFILES)
    assert told in caught.value.detail


@pytest.mark.parametrize(
    "fields",
    [
        {"limits": {"timeout_s": 60, "memory_bytes": 1 << 29, "output_bytes": 1000}},
        {"network": ["a.example.org", "x.y.example.com"], "secrets": ["KEY"]},
        {"env": {"PATH": "/x"}},
        {"session": "s", "language": "go"},
    ],
)
def test_what_the_profile_allows_passes(fields: dict[str, Any]):
    _submit.check_profile(spec(**fields), PROFILES)


def test_where_nothing_is_published_the_worker_decides():
    _submit.check_profile(spec(profile="any", env={"LD_PRELOAD": "x"}), {})


def test_an_unknown_profile_is_told_with_the_known_ones():
    with pytest.raises(errors.UnknownProfile, match=r"'x' \(known: default\)"):
        _submit.check_profile(spec(profile="x"), PROFILES)
