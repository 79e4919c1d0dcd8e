"""Which profiles a file gives, and what is said of a wrong one."""

import json
from pathlib import Path

import pytest

from leasebox.contract.errors import ConfigError
from leasebox_worker.policy.languages import LANGUAGES, Found
from leasebox_worker.policy.profiles import BUILT_IN, Profile, digest, faults_of, load, published

MIB = 1 << 20
EXAMPLE = Path(__file__).parents[3] / "ops" / "profiles.toml"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "p.toml"


def test_without_a_file_the_built_in_profiles_are_served() -> None:
    shown = {
        p.name: (p.cpus, p.memory_bytes // MIB, p.disk_bytes // MIB, p.tmp_bytes // MIB) for p in load(None).values()
    }

    assert shown == {
        "default": (2.0, 512, 192, 64),
        "lightweight": (1.0, 256, 96, 32),
        "heavy-compute": (4.0, 2048, 960, 64),
        "browser": (2.0, 1024, 448, 64),
        "data": (2.0, 2048, 768, 64),
        "node": (2.0, 2048, 768, 256),
    }


def test_the_example_is_the_built_in_set() -> None:
    assert load(EXAMPLE) == BUILT_IN


def test_sizes_and_durations_are_text_or_numbers(file: Path) -> None:
    file.write_text('[profiles.a]\nmemory = "1.5GiB"\ndisk = 1048576\ntimeout = "2m"\nmax_timeout = 1800\n')

    profile = load(file)["a"]
    assert (profile.memory_bytes, profile.disk_bytes) == (1536 * MIB, MIB)
    assert (profile.timeout_s, profile.max_timeout_s) == (120.0, 1800.0)


def test_a_profile_extends_one_of_the_file_or_a_built_in_one(file: Path) -> None:
    file.write_text(
        '[profiles.small]\nextends = "lightweight"\npids = 8\n[profiles.smaller]\nextends = "small"\ncpus = 0.5\n'
    )

    smaller = load(file)["smaller"]
    assert (smaller.cpus, smaller.pids, smaller.memory_bytes, smaller.name) == (0.5, 8, 256 * MIB, "smaller")


def test_a_file_is_the_whole_set_but_for_default(file: Path) -> None:
    file.write_text("[profiles.a]\n")

    assert load(file) == {"default": BUILT_IN["default"], "a": Profile("a")}


def test_a_file_may_replace_default(file: Path) -> None:
    file.write_text("[profiles.default]\npids = 64\n")

    assert load(file)["default"].pids == 64


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[profiles.a]\nmemory_bytes = 1\n", ("'a'", "memory_bytes: unknown field", "memory, disk")),
        ('[profiles.a]\nmemory = "15MiB"\n', ("'a'", "memory:", "at least 16 MiB")),
        ('[profiles.a]\nmemory = "much"\n', ("'a'", "memory:", "not a size")),
        ("[profiles.a]\npids = 3\n", ("'a'", "pids:", "4")),
        ("[profiles.a]\npool = 65\n", ("'a'", "pool:", "64")),
        ("[profiles.a]\ncpus = 0\n", ("'a'", "cpus:", "above 0")),
        ('[profiles.a]\nmax_timeout = "61m"\n', ("'a'", "max_timeout:", "at most 1 hour")),
        ('[profiles.a]\ntimeout = "2m"\nmax_timeout = "1m"\n', ("'a'", "timeout:", "max_timeout, 1 minute")),
        ('[profiles.a]\ndisk = "193MiB"\n', ("'a'", "disk:", "half of memory, 256 MiB")),
        ('[profiles.a]\nseccomp = "off"\n', ("'a'", "seccomp:", "'default', 'strict' or 'debug'")),
        ('[profiles.a]\nlanguages = ["cobol"]\n', ("'a'", "languages.0:", "one of python, bash")),
        ("[profiles.a]\nlanguages = []\n", ("'a'", "languages:", "at least 1")),
        ('[profiles.a]\nnetwork = ["*"]\n', ("'a'", "network.0:")),
        ('[profiles.a]\nsecrets = ["low"]\n', ("'a'", "secrets.0:")),
        (
            '[profiles.a]\nextends = "b"\n',
            ("'a'", "extends:", "'b'", "browser, data, default, heavy-compute"),
        ),
        ('[profiles.a]\nextends = ["b"]\n', ("'a'", "extends:", "one profile")),
        ('[profiles.a]\nextends = "b"\n[profiles.b]\nextends = "a"\n', ("'a'", "extends:", "a -> b -> a")),
        ("[profiles.Big]\n", ("'Big'", "name:")),
        ("[profile.a]\n", ("[profiles.NAME]", "profile")),
        ("[profiles]\na = 1\n", ("[profiles.NAME]", "a")),
        ("profiles = = 1\n", ("not TOML", "line 1")),
    ],
)
def test_a_wrong_file_is_refused_by_profile_field_and_bound(file: Path, text: str, parts: tuple[str, ...]) -> None:
    file.write_text(text)

    with pytest.raises(ConfigError) as told:
        load(file)
    assert [part for part in (str(file), *parts) if part not in str(told.value)] == []


def test_each_fault_of_a_file_is_told_at_once(file: Path) -> None:
    file.write_text("[profiles.a]\npids = 3\ncpus = 0\n[profiles.b]\npool = -1\n")

    assert len(faults_of(file)) == 3


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(ConfigError, match=f"{file}: cannot be read: No such file"):
        load(file)


def test_equal_sets_have_equal_digests_and_every_profile_carries_it() -> None:
    other = {**BUILT_IN, "default": Profile("default", pids=127)}

    assert digest(load(EXAMPLE)) == digest(BUILT_IN) != digest(other)
    assert {json.loads(body)["digest"] for body in published(other).values()} == {digest(other)}


def test_what_is_published_of_languages_is_what_is_allowed_and_there() -> None:
    profiles = {"a": Profile("a", languages=("python", "c", "go")), "b": Profile("b"), "unknown": Profile("unknown")}
    tools = {name: Found(LANGUAGES[name].tools[0], "1.2") for name in ("python", "c", "perl")}
    bodies = published(profiles, {"a": tools, "b": tools})
    told = {name: (json.loads(body)["languages"], json.loads(body)["runtimes"]) for name, body in bodies.items()}

    assert told["a"] == (["python", "c"], {"python": "1.2", "c": "1.2"})
    assert told["b"][0] == ["python", "c", "perl"]
    assert told["unknown"] == (list(LANGUAGES), {})
    assert json.loads(bodies["a"])["digest"] == digest(profiles)
