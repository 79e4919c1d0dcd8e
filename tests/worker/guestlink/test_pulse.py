"""When is an agent said not to answer?"""

import pytest

from leasebox_worker.guestlink.pulse import Pulse


@pytest.mark.parametrize(
    ("story", "missed"),
    [
        ("", 0),
        ("idle", 0),
        ("idle idle", 1),
        ("idle idle idle idle", 3),
        ("idle heard idle heard idle", 0),
        ("idle idle idle heard", 0),
        ("idle idle idle heard idle", 0),
        ("idle idle busy", 0),
        ("idle idle busy idle", 0),
        ("busy busy busy idle", 0),
        ("busy idle idle", 1),
    ],
)
def test_only_an_idle_agent_that_says_nothing_between_two_pings_has_missed_one(story: str, missed: int) -> None:
    pulse = Pulse()
    for word in story.split():
        if word == "heard":
            pulse.heard()
        else:
            pulse.beat(is_idle=word == "idle")

    assert pulse.missed == missed
