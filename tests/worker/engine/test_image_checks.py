"""Is a missing or old image named, with the command that makes it, and only that of `default` required?"""

from leasebox_worker.engine.image_checks import ImageSeen, judged
from leasebox_worker.policy.profiles import Profile


def test_each_image_is_named_with_its_profiles_and_what_makes_it() -> None:
    profiles = {
        "default": Profile("default"),
        "small": Profile("small"),
        "data": Profile("data", image="leasebox/data"),
        "own": Profile("own", image="registry.example.com/own:1"),
    }
    seen = {
        "leasebox/python": ImageSeen(is_present=False),
        "leasebox/data": ImageSeen(is_present=True, is_fresh=False),
        "registry.example.com/own:1": ImageSeen(is_present=False),
    }

    found = {check.name: check for check in judged(profiles, seen)}

    assert all(not check.ok for check in found.values())
    assert {name for name, check in found.items() if check.required} == {"image leasebox/python"}
    assert found["image leasebox/python"].detail == "missing; profile default, small"
    assert found["image leasebox/python"].hint == "leasebox-worker images build python"
    assert found["image leasebox/data"].detail == "from an older recipe; profile data"
    assert found["image registry.example.com/own:1"].hint == "docker pull registry.example.com/own:1"


def test_what_is_there_and_fresh_lacks_nothing() -> None:
    (check,) = judged({"default": Profile("default")}, {"leasebox/python": ImageSeen(is_present=True)})

    assert (check.ok, check.required) == (True, False)
