"""Which of the files that match are kept? And what does the Result say of the others?"""

from leasebox.contract.blobs import MAX_BLOB_BYTES
from leasebox.contract.files import MAX_ARTIFACTS, MAX_ARTIFACTS_BYTES
from leasebox.contract.result import Artifact
from leasebox_worker.engine.artifacts import choose
from leasebox_worker.engine.left import Found


def found(path: str, size_bytes: int = 1) -> Found:
    return Found(path, size_bytes, "")


def test_what_matches_is_kept_in_order_of_its_paths() -> None:
    chosen, refused = choose([found("b.txt"), found("c.bin"), found("a.txt")], ["*.txt"])

    assert ([one.path for one in chosen], refused) == (["a.txt", "b.txt"], [])


def test_a_file_at_the_bound_is_kept_and_one_past_it_is_named_with_the_bound() -> None:
    chosen, refused = choose([found("a", MAX_BLOB_BYTES), found("b", MAX_BLOB_BYTES + 1)], ["*"])

    assert [one.path for one in chosen] == ["a"]
    assert refused == [f"'b' has {MAX_BLOB_BYTES + 1} bytes, at most {MAX_BLOB_BYTES} are kept"]


def test_so_many_are_kept_and_the_number_of_the_others_is_told() -> None:
    files = [found(f"{number:04}") for number in range(MAX_ARTIFACTS + 1)]

    assert choose(files[:-1], ["*"]) == (files[:-1], [])
    assert choose(files, ["*"]) == (files[:-1], [f"{len(files)} files match, at most {MAX_ARTIFACTS} are kept"])


def test_together_they_have_a_bound_too_and_a_small_one_may_still_fit() -> None:
    third = MAX_ARTIFACTS_BYTES - 2 * MAX_BLOB_BYTES
    files = [found("a", MAX_BLOB_BYTES), found("b", MAX_BLOB_BYTES), found("c", third + 1), found("d", third)]

    chosen, refused = choose(files, ["*"])

    assert [one.path for one in chosen] == ["a", "b", "d"]
    assert refused == [f"'c' would make them more than {MAX_ARTIFACTS_BYTES} bytes together"]


def test_of_names_that_are_shown_alike_one_is_kept_and_the_others_are_told() -> None:
    files = [found("a\udcff"), found("a\udcfe"), found("a\ufffd"), found("b")]

    chosen, refused = choose(files, ["*"])

    assert [one.path for one in chosen] == ["a\udcfe", "b"]
    assert refused == [f"{path!r} is shown by the same name as another one" for path in ("a\udcff", "a\ufffd")]


def test_what_a_cell_has_shown_takes_its_place_in_number_and_bytes_and_keeps_its_name() -> None:
    def shown(path: str, size_bytes: int) -> Artifact:
        return Artifact(path=path, size_bytes=size_bytes, sha256="", content_type="text/html")

    files = [found("result-1.html"), *(found(f"{number:04}") for number in range(MAX_ARTIFACTS))]
    chosen, refused = choose(files, ["*"], [shown("result-1.html", 1)])

    assert chosen == files[1:-1]
    assert refused == [f"{len(files)} files match, at most {MAX_ARTIFACTS} are kept"]
    assert choose(files[:1], ["*"], [shown("result-1.html", 1)]) == (
        [],
        ["'result-1.html' has the name of what the job has shown"],
    )
    assert choose([found("a", 2)], ["*"], [shown("b", MAX_ARTIFACTS_BYTES - 1)])[0] == []
