"""How programs of each language are built and run: the table, and the words that come out of it."""

import pytest

from leasebox.cli.request import LANGUAGE_OF
from leasebox.contract.spec import LANGUAGES as KNOWN
from leasebox_worker.policy.languages import LANGUAGES, Found, offered, program_of, questions, toolbox_of


def test_the_table_has_every_language_of_the_contract() -> None:
    assert set(LANGUAGES) == set(KNOWN)


def test_a_file_named_as_the_table_says_is_taken_for_that_language() -> None:
    endings = {name: language.file.rpartition(".")[2] for name, language in LANGUAGES.items()}

    assert {LANGUAGE_OF[f".{ending}"] for ending in endings.values()} == set(LANGUAGES)


@pytest.mark.parametrize(
    ("code", "file"),
    [
        ("public class Hello {}", "Hello.java"),
        ("class A {}\npublic final class Hello { }", "Hello.java"),
        ("import x.Y;\n\n  public record Point(int x) {}", "Point.java"),
        ("class App { static void main(String[] a) {} }\nclass B {}", "App.java"),
        ("void main() {}", "Main.java"),
        ("class ../../x {}", "Main.java"),
    ],
)
def test_a_java_file_is_called_like_its_public_class_else_its_first(code: str, file: str) -> None:
    program = program_of("java", code, None, None)

    assert program.source == file
    assert program.run("/w", ".")[-1] == file.removesuffix(".java")


def test_a_built_program_stands_in_a_folder_of_its_own_wherever_it_is_run_from() -> None:
    program = program_of("c", "x", None, None)

    assert program.build("/w")[-6:] == ("gcc", "-O2", "-o", "/w/.leasebox-build/main", "main.c", "-lm")
    assert program.run("/w", ".") == program.run("/w", "d") == ("/w/.leasebox-build/main",)


def test_a_file_of_the_workspace_is_found_from_every_folder_and_code_is_the_agents_to_find() -> None:
    given, written = program_of("perl", None, "d/x.pl", None), program_of("perl", "x", None, None)

    assert given.run("/w", ".") == ("perl", "d/x.pl")
    assert given.run("/w", "d") == ("perl", "/w/d/x.pl")
    assert written.run("/w", "d") == ("perl", "main.pl")


def test_a_placeholder_in_a_name_is_no_placeholder() -> None:
    assert program_of("perl", None, "{out}.pl", None).run("/w", ".") == ("perl", "{out}.pl")


def test_a_build_has_its_cache_where_it_is_removed_with_the_rest() -> None:
    assert program_of("go", "x", None, None).build_env("/w")["GOCACHE"] == "/w/.leasebox-build/cache"


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ({"typescript/0": "v20.1.0"}, 0),
        ({"typescript/0": "v20.1.0", "typescript/1": "Version 5.0"}, 0),
        ({"typescript/2": "v22.9.0", "typescript/1": "Version 5.4.5"}, 1),
        ({"typescript/0": "no number", "typescript/2": "v22.9.0"}, 2),
    ],
)
def test_the_first_tools_that_are_there_are_taken(said: dict[str, str], number: int) -> None:
    assert toolbox_of(said)["typescript"].tools is LANGUAGES["typescript"].tools[number]


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go version go1.19.8 linux/amd64", "1.19.8"),
        ('openjdk version "17.0.15" 2025-04-15', "17.0.15"),
        ("GNU bash, version 5.2.15(1)-release", "5.2.15"),
        ("ruby 3.1.2p20 (2022-04-12 revision 4491bb740a)", "3.1.2"),
    ],
)
def test_a_version_is_the_first_number_with_a_dot(text: str, version: str) -> None:
    assert toolbox_of({"go/0": text})["go"].version == version


def test_what_has_no_version_or_was_not_asked_is_not_there() -> None:
    assert toolbox_of({"go/0": "", "rust/7": "1.0", "cobol/0": "1.0"}) == {}


def test_tools_are_asked_for_all_programs_that_they_need() -> None:
    asked = questions()

    assert asked["rust/0"] == (("cc", "rustc"), ("rustc", "--version"))
    assert asked["typescript/0"] == (("esbuild", "esbuild"), ("node", "--version"))


def test_offered_is_what_is_allowed_and_there_and_all_that_is_allowed_where_nobody_knows() -> None:
    tools = {"c": Found(LANGUAGES["c"].tools[0], "1.0")}

    assert offered(("python", "c", "go"), tools) == ("python", "c")
    assert offered(("go", "c"), None) == ("go", "c")
