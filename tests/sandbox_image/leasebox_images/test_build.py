"""An image is rebuilt when its recipe changes and only then."""

import io
import tarfile
from pathlib import Path

import docker
import docker.errors
import pytest

from leasebox.contract.errors import ImageMissing
from leasebox_images import build
from leasebox_images.build import ImageBuilder, image_names
from leasebox_images.context import build_context
from leasebox_images.digest import folder_digest

DOCKERFILE = "ARG BASE=scratch\nFROM ${BASE}\nCOPY note /note\n"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "note").write_text("one")
    return folder


def test_digest_follows_content_names_modes_and_base(recipe):
    digests = [folder_digest(recipe, "base-1"), folder_digest(recipe, "base-2")]
    (recipe / "note").write_text("two")
    digests.append(folder_digest(recipe, "base-1"))
    (recipe / "note").chmod(0o755)
    digests.append(folder_digest(recipe, "base-1"))
    (recipe / "note").rename(recipe / "other")
    digests.append(folder_digest(recipe, "base-1"))

    assert len(set(digests)) == 5


def test_digest_ignores_byte_code(recipe):
    before = folder_digest(recipe, "base")
    (recipe / "__pycache__").mkdir()
    (recipe / "__pycache__" / "x.pyc").write_bytes(b"x")

    assert folder_digest(recipe, "base") == before


def test_each_image_has_a_recipe_and_stands_on_one_that_has_a_python_for_the_agent():
    assert {name: build.parent_of(name) for name in image_names()} == {
        "python": None,
        "data": "python",
        "node": "python",
    }


def test_a_build_gets_its_folder_and_the_certificates_that_this_machine_trusts(recipe, monkeypatch, tmp_path):
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("mine")
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))

    with tarfile.open(fileobj=io.BytesIO(build_context(recipe))) as tar:
        found = {entry.name: tar.extractfile(entry).read() for entry in tar if entry.isfile()}

    assert found == {"./Dockerfile": DOCKERFILE.encode(), "./note": b"one", "ca.pem": b"mine"}


@pytest.fixture
def tiny_base(docker_engine: object):
    """A base of one file, so that a build takes no second."""
    name = "leasebox-test/base"
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    client = docker.from_env()
    client.api.import_image_from_data(data.getvalue(), repository=name, tag="latest")
    yield name
    for image in ("leasebox-test/above", "leasebox-test/tiny", name):
        try:
            client.images.remove(image, force=True)
        except docker.errors.ImageNotFound:
            continue
    client.close()


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch, recipe: Path, tiny_base: str):
    """A builder that has one recipe, `tiny`, and a name for it that is no real image's."""
    monkeypatch.setattr(build, "_FOLDER", recipe.parent)
    monkeypatch.setattr(build, "PREFIX", "leasebox-test/")
    builder = ImageBuilder(base=tiny_base)
    yield builder
    builder.close()


@pytest.mark.docker
@pytest.mark.slow
def test_a_built_image_is_fresh_until_its_recipe_changes(builder, recipe):
    states = [builder.states()[0]]
    states.append(builder.build("tiny"))
    (recipe / "note").write_text("two")
    states.append(builder.states()[0])
    states.append(builder.build("tiny"))

    assert [(state.present, state.fresh) for state in states] == [
        (False, False),
        (True, True),
        (True, False),
        (True, True),
    ]
    assert builder.check([]) == []


@pytest.mark.docker
@pytest.mark.slow
def test_the_image_that_is_superseded_is_removed_unless_a_container_needs_it(builder, recipe, docker_engine):
    client = docker_engine.client
    ids = []
    for turn in range(3):
        (recipe / "note").write_text(f"{turn}")
        builder.build("tiny")
        ids.append(client.images.get("leasebox-test/tiny").id)
        if len(ids) == 2:
            held = client.containers.create("leasebox-test/tiny", "x", labels=docker_engine.labels)

    kept = {image.id for image in client.images.list(all=True)} & set(ids)
    held.remove()
    client.images.remove(ids[1])

    assert len(set(ids)) == 3
    assert kept == set(ids[1:])


@pytest.mark.docker
@pytest.mark.slow
def test_a_fresh_image_is_not_built_again(builder, docker_engine):
    builder.build("tiny")
    first = docker_engine.client.images.get("leasebox-test/tiny").id
    builder.build("tiny")

    assert docker_engine.client.images.get("leasebox-test/tiny").id == first


@pytest.mark.docker
@pytest.mark.slow
def test_an_image_that_stands_on_another_is_built_after_it_and_changes_with_it(builder, recipe):
    above = recipe.parent / "above"
    above.mkdir()
    (above / "Dockerfile").write_text("ARG BASE=leasebox/tiny\nFROM ${BASE}\nCOPY ca.pem /ca.pem\n")
    builder.build("above")
    built = {state.name: state.fresh for state in builder.states()}
    (recipe / "note").write_text("two")

    assert built == {"above": True, "tiny": True}
    assert [state.name for state in builder.check([])] == ["above", "tiny"]


@pytest.mark.docker
@pytest.mark.slow
def test_a_build_that_fails_says_what_the_engine_said(builder, recipe):
    (recipe / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nCOPY missing /\n")

    with pytest.raises(ImageMissing, match="missing"):
        builder.build("tiny")


@pytest.mark.docker
def test_an_unknown_image_names_the_known_ones(builder):
    with pytest.raises(ImageMissing) as error:
        builder.build("cobol")

    assert error.value.hint == "known: tiny"


@pytest.mark.docker
@pytest.mark.slow
def test_the_default_image_has_what_a_sandbox_needs(docker_engine, python_image):
    """No file gains rights, and the workspace is the job's alone: the tmpfs takes its mode over."""
    script = """stat -c '%a %u' /workspace
        find / -xdev -type f -perm /6000 | wc -l
        python3 -c 'print(6 * 7)'
        bash -c 'echo b'"""
    out = docker_engine.client.containers.run(
        python_image, ["sh", "-c", script], remove=True, network_mode="none", labels=dict(docker_engine.labels)
    )

    assert out.decode().split("\n")[:4] == ["700 10001", "0", "42", "b"]
