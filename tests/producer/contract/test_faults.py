"""A wrong field is told in our words, with its place and bound, and without its value."""

import re
from typing import Any

import pytest

from leasebox.contract.errors import InvalidSpec
from leasebox.contract.faults import place
from leasebox.contract.spec import JobSpec, parse_spec

FOREIGN = re.compile(r"Input should|should|valid (string|integer|number|dict)|\[key\]|function-|pydantic|codec")
PLAIN = {"code": "x"}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"files": {"../../x": {"text": "a"}}}, "files['../../x']: a path must not hold '..'"),
        ({"files": {"\x1b[31mx": 3}}, "files['\\x1b[31mx']: must be an object"),
        ({"files": {"a.py": {"texts": ""}}}, "files['a.py'].texts: unknown field"),
        ({"files": {"a": {"text": ""}, "./a": {"text": ""}}}, "files: 'a' and './a' are one path"),
        ({"files": {"/workspace/a": {"text": ""}, "a": {"text": ""}}}, "files: '/workspace/a' and 'a' are one path"),
        ({"session": "a b"}, "session: must be up to 64 letters, digits and _ . -, beginning with a letter or digit"),
        ({"secrets": ["low"]}, "secrets.0: must be up to 64 of A-Z, 0-9 and _, beginning with a letter"),
        ({"network": ["https://a.org"]}, "network.0: must be a domain in lower case without scheme and port, such as"),
        ({"limits": {"memory_bytes": 5}}, "limits.memory_bytes: must be at least 16 MiB"),
        ({"limits": {"timeout_s": -5}}, "limits.timeout_s: must be above 0"),
        ({"limits": {"timeout_s": 3601}}, "limits.timeout_s: must be at most 1 hour"),
        ({"limits": {"cpus": "nan"}}, "limits.cpus: must be a finite number"),
        ({"limits": {"disk_bytes": "9" * 400}}, "limits.disk_bytes: a size is below 8 EiB"),
        ({"limits": {"timeout_s": "9" * 400}}, "limits.timeout_s: not a duration: too long a number"),
        ({"stdin": 3}, "stdin: must be text, or an object with text, base64 or blob"),
        ({"stdin": {"text": 3}}, "stdin.text: must be text"),
        ({"stdin": {}}, "stdin: give exactly one of text, base64 and blob"),
        ({"args": ["x"] * 1025}, "args: must have at most 1024 entries"),
        ({"idempotency_key": ""}, "idempotency_key: must have at least 1 character"),
        ({"priority": "x"}, "priority: must be 'interactive', 'default' or 'batch'"),
        ({"env": {"A": "\ud800"}}, "env: must be text in UTF-8"),
        ({"\x1b[0m": 1}, "['\\x1b[0m']: unknown field"),
    ],
)
def test_a_wrong_field_is_one_sentence_of_ours(fields: dict[str, Any], told: str):
    with pytest.raises(InvalidSpec) as refused:
        parse_spec(PLAIN | fields)

    assert str(refused.value).startswith(told)
    assert ";" not in str(refused.value)


@pytest.mark.parametrize("field", JobSpec.model_fields)
@pytest.mark.parametrize("value", [object(), [object()], {"a": object()}, -1, 1e300, "\x00", [["x"]], "\ud800"])
def test_no_value_of_any_field_brings_out_foreign_words(field: str, value: object):
    detail = ""
    try:
        parse_spec(PLAIN | {field: value})
    except InvalidSpec as exc:
        detail = exc.detail

    assert FOREIGN.search(detail) is None, detail


def test_a_value_that_may_be_secret_is_not_repeated():
    with pytest.raises(InvalidSpec) as refused:
        parse_spec(PLAIN | {"secrets": ["hunter2"], "env": {"TOKEN": 5}})

    assert "hunter2" not in str(refused.value)


def test_a_name_that_a_stranger_made_up_is_cut_and_quoted():
    assert place(("files", "x y" * 1000, "text")) == f"files[{('x y' * 1000)[:64]!r}].text"
