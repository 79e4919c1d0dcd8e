"""Does a session keep its promises to an application: its jobs, its times, and the words about its end?"""

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from leasebox import Client, errors
from leasebox.config import ClientSettings
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner, node
from leasebox.session import Session


@pytest.fixture
def client(either_settings: ClientSettings) -> Iterator[Client]:
    """A blocking client, of Redis and then of the API."""
    with Client(settings=either_settings) as made:
        yield made


def _spec(client: Client, redis: Redis, job: str) -> str:
    text = redis.hget(Keys(client.settings.prefix).job(job), "spec")
    assert isinstance(text, bytes)
    return text.decode()


def _sweep(client: Client, redis: Redis, session: str) -> None:
    """Let the session's hour come."""
    line = f"default/{session}"
    redis.hset(Keys(client.settings.prefix).session_line(line), mapping={"used_at": 1})
    generation = int(redis.hget(Keys(client.settings.prefix).session_line(line), "generation") or 0)
    Runner(redis).run(node.sweep(Keys(client.settings.prefix), line=line, generation=generation))


def test_a_session_with_a_name_is_made_once_and_found_again(client: Client) -> None:
    made = client.session("s", idle_timeout_s=60)
    found = client.session("s")

    assert made.name == found.name == "s"
    assert (found.info().idle_timeout_s, found.info().max_age_s) == (60, 86400)
    assert [session.name for session in client.sessions()] == ["s"]


def test_a_session_without_a_name_closes_with_its_block_and_a_named_one_lives_on(client: Client) -> None:
    with client.session() as made:
        assert made.name.startswith("s-")
        assert len(made.name) == 28
    with client.session("named") as named:
        pass

    assert (made.info().state, made.info().close_reason) == ("closed", "closed")
    assert made.info().closed_at is not None
    assert named.info().state == "new"
    assert [session.name for session in client.sessions()] == ["named"]


def test_a_sessions_jobs_carry_its_name_profile_and_environment(client: Client, redis: Redis) -> None:
    session = client.session("s", profile="lightweight", env={"A": "1", "B": "2"})
    handle = session.submit("print()", env={"B": "3"})

    assert client.job(handle.id).status().session == "s"
    assert client.job(handle.id).status().profile == "lightweight"
    assert '"env":{"A":"1","B":"3"}' in _spec(client, redis, handle.id)


def test_a_session_that_ended_begins_anew_as_it_was(client: Client, redis: Redis, played: Any) -> None:
    session = client.session("s", profile="lightweight", idle_timeout_s=60, max_age_s=600)
    played.end(played.begin(session.submit("1").id))
    _sweep(client, redis, "s")
    assert session.info().close_reason == "idle"

    job = session.submit("2").id
    played.begin(job)

    info = session.info()
    assert (info.profile, info.idle_timeout_s, info.max_age_s, info.generation) == ("lightweight", 60, 600, 2)
    restarted = next(event for event in client.job(job).events() if event.type == "session_restarted")
    assert restarted.reason == "idle"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"name": "a b"}, "is no name"),
        ({"idle_timeout_s": 0}, "idle_timeout_s: 0 is not above 0"),
        ({"max_age_s": float("nan")}, "max_age_s: nan"),
        ({"idle_timeout_s": 86400.5}, "idle_timeout_s: at most 1 day is allowed here"),
        ({"max_age_s": 90000}, "max_age_s: at most 1 day is allowed here"),
    ],
)
def test_what_a_session_cannot_be_is_refused_by_name_and_bound(client: Client, options: Any, told: str) -> None:
    with pytest.raises(errors.InvalidSpec, match=told):
        client.session(**options)

    assert client.sessions() == []


@pytest.mark.parametrize("fields", [{"session": "t"}, {"profile": "other"}])
def test_a_job_of_a_session_cannot_be_of_another(client: Client, fields: Any) -> None:
    session = client.session("s")

    with pytest.raises(errors.InvalidSpec):
        session.submit("1", **fields)


def test_another_profile_than_the_live_sessions_is_refused(client: Client) -> None:
    client.session("s", profile="lightweight")

    with pytest.raises(errors.InvalidSpec, match="lives with profile 'lightweight'"):
        client.session("s", profile="default")


def test_a_profile_that_no_node_serves_is_refused(client: Client, redis: Redis) -> None:
    redis.hset(Keys(client.settings.prefix).profiles(), "default", "{}")

    with pytest.raises(errors.UnknownProfile, match="no node serves 'data'"):
        client.session("s", profile="data")


def test_a_session_that_must_exist_and_does_not_says_why(client: Client, redis: Redis, played: Any) -> None:
    with pytest.raises(errors.SessionExpired, match="does not exist"):
        client.session("never", must_exist=True)
    with pytest.raises(errors.SessionExpired, match="does not exist"):
        client.submit("1", session="never", session_must_exist=True)
    session = client.session("s", idle_timeout_s=1800)
    played.end(played.begin(session.submit("1").id))
    _sweep(client, redis, "s")

    why = "ended after 30 minutes without activity"
    with pytest.raises(errors.SessionExpired, match=why):
        client.session("s", must_exist=True)
    with pytest.raises(errors.SessionExpired, match=why):
        client.submit("1", session="s", session_must_exist=True)
    with pytest.raises(errors.SessionExpired, match=why):
        session.touch()


def test_a_session_that_never_was_is_told_from_one_that_ended(client: Client) -> None:
    ghost = Session(client, client.session("s")._plan)
    ghost.name = "never"

    for ask in (ghost.info, ghost.touch, ghost.close):
        with pytest.raises(errors.UnknownSession):
            ask()


def test_touch_says_how_long_the_session_lives(client: Client) -> None:
    session = client.session("s", idle_timeout_s=60)
    before = session.info().expires_at

    assert before is not None
    assert session.touch() > before


def test_close_cancels_what_waits_and_what_runs_completes_it(client: Client, played: Any) -> None:
    session = client.session("s")
    jobs = [session.submit(str(n)) for n in range(70)]  # more than one script call ends
    work = played.begin(jobs[0].id)

    assert session.close().state == "closing"
    assert {job.status().outcome for job in jobs[1:]} == {"cancelled"}
    assert jobs[0].status().cancel_requested
    played.end(work, "cancelled")

    assert (session.info().state, session.info().pending) == ("closed", 0)
    assert session.close().close_reason == "closed"


def test_closing_a_session_with_many_waiting_jobs_leaves_none(client: Client) -> None:
    session = client.session("s")
    jobs = [session.submit(str(n)) for n in range(130)]

    assert session.close().state == "closed"
    assert {job.status().outcome for job in jobs} == {"cancelled"}


def test_a_full_queue_says_when_to_try_again(client: Client, redis: Redis) -> None:
    redis.hset(Keys(client.settings.prefix).settings(), mapping={"queue_max_jobs": 1})
    client.submit("1")

    with pytest.raises(errors.QueueFull, match="try again in 1 s") as caught:
        client.submit("2")

    assert caught.value.retry_after_s == 1.0
    assert client.queues()[1].max_jobs == 1


def test_the_last_used_session_comes_first_in_the_list(client: Client, settings: ClientSettings) -> None:
    for name in ("a", "b", "c"):
        client.session(name)
    client.session("a").touch()

    assert [session.name for session in client.sessions()] == ["a", "c", "b"]
    assert Client(settings=settings, tenant="other").sessions() == []
