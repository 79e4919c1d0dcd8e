"""Does a measurement reach who asked, and does a node measure once however many ask?"""

from __future__ import annotations

from leasebox.contract.scripts import answers, metrics


def idle_session(desk):
    work = desk.claim(desk.new(session="s"))
    desk.bind(work)
    desk.start(work)
    desk.settle(work)
    return desk.session("s")["sandbox"]


def ask(desk, **given):
    return desk.run(metrics.measure(desk.keys, tenant="acme", session="s", **given))


def orders(desk):
    entries = desk.redis.xrange(desk.keys.control("n"))
    return [fields for _, fields in entries if fields[b"type"] == b"measure"]


def test_the_node_is_told_and_its_answer_stands_behind_what_was_there(desk):
    sandbox = idle_session(desk)
    asked = ask(desk)
    told = desk.run(metrics.measured(desk.keys, line="acme/s", sandbox=sandbox, json='{"cpu_s":1}'))

    assert asked == metrics.Asked("0-0")
    assert isinstance(told, metrics.Noted)
    assert orders(desk) == [{b"type": b"measure", b"line": b"acme/s", b"sandbox": sandbox.encode()}]
    ((_, entries),) = desk.redis.xread({desk.keys.metrics("acme/s"): asked.after})
    assert [fields[b"json"] for _, fields in entries] == [b'{"cpu_s":1}']
    assert 0 < desk.redis.ttl(desk.keys.metrics("acme/s")) <= metrics.KEPT_S


def test_a_measurement_of_a_moment_ago_serves_all_who_ask(desk):
    sandbox = idle_session(desk)
    for number in range(3):
        desk.run(metrics.measured(desk.keys, line="acme/s", sandbox=sandbox, json=str(number)))

    found = [ask(desk, fresh_s=60.0) for _ in range(20)]

    assert {answer.json for answer in found} == {"2"}
    assert orders(desk) == []
    assert desk.redis.xlen(desk.keys.metrics("acme/s")) == 1
    assert isinstance(ask(desk, fresh_s=0.0), metrics.Asked)


def test_a_measurement_of_the_sandbox_before_is_none_of_this_one(desk):
    idle_session(desk)
    desk.run(metrics.measured(desk.keys, line="acme/s", sandbox=desk.session("s")["sandbox"], json="{}"))
    desk.redis.hset(desk.keys.session("acme", "s"), "sandbox", "other")

    assert isinstance(ask(desk, fresh_s=60.0), metrics.Asked)
    late = desk.run(metrics.measured(desk.keys, line="acme/s", sandbox="gone", json="{}"))
    assert isinstance(late, answers.Kept)


def test_without_a_sandbox_there_is_nobody_to_ask(desk):
    desk.new(session="s")

    assert isinstance(ask(desk), metrics.NoSandbox)
    assert orders(desk) == []
