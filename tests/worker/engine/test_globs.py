"""Which paths does a glob mean?"""

import pytest

from leasebox_worker.engine.globs import matcher


@pytest.mark.parametrize(
    ("glob", "meant", "not_meant"),
    [
        ("a.txt", ["a.txt"], ["b/a.txt", "a.txt/b"]),
        ("*.png", ["a.png", ".png"], ["d/a.png", "a.png2"]),
        ("out/*", ["out/a"], ["out/d/a", "out", "a"]),
        ("out/**", ["out/a", "out/d/e/a"], ["out", "outer/a"]),
        ("**", ["a", "d/e/a"], []),
        ("**/*.csv", ["a.csv", "d/e/a.csv"], ["a.csv/x"]),
        ("d/**/a?", ["d/a1", "d/e/f/a2"], ["a1", "d/a"]),
        ("[ab]/x", ["a/x", "b/x"], ["c/x"]),
        ("a+(b).txt", ["a+(b).txt"], ["aab.txt"]),
    ],
)
def test_a_glob_means_these_paths_and_not_those(glob: str, meant: list[str], not_meant: list[str]) -> None:
    is_meant = matcher([glob])

    assert [path for path in meant if not is_meant(path)] == []
    assert [path for path in not_meant if is_meant(path)] == []


def test_a_glob_made_to_take_for_ever_does_not() -> None:
    assert not matcher(["/".join(["**", "*a*"] * 200)])("/".join(["b" * 200] * 60))


def test_any_of_several_globs_is_enough() -> None:
    is_meant = matcher(["a", "*.b"])

    assert (is_meant("a"), is_meant("x.b"), is_meant("c")) == (True, True, False)
