"""What do the measurements need of the network? Nothing, once their environments stand."""

import sys

import pytest
from tests.bench.stand import has_installed, installed_stamp


@pytest.fixture
def environment(tmp_path):
    """One that seems to have `some==1`, and pip would fail to ask for anything."""
    made = tmp_path / "made"
    (made / "bin").mkdir(parents=True)
    (made / "bin" / "python").symlink_to(sys.executable)
    installed_stamp(made, "some==1").touch()
    return made


def test_what_is_installed_needs_no_index(environment):
    assert has_installed(environment, "some==1")


def test_other_packages_and_a_copied_environment_are_installed_anew(environment, tmp_path):
    copied = environment.rename(tmp_path / "copied")

    assert not installed_stamp(copied, "some==1").exists()
    assert not installed_stamp(environment, "some==2").exists()
