"""A real Celery worker with our app, pool and consumer, whose jobs are words: what `test_tasks` speaks to by pipes.

Arguments: URL, slots, interactive slots, stall_s. It prints `ready`, then `took JOB` for each wake-up that a thread
got; a job whose id begins with `hold` keeps its slot until `release` is typed, one with `brief` for an instant.
Words on stdin: `pause REASON`, `resume REASON`, `release`, `deafen` (the consumer forgets its queues, as in the silent
stop that Celery is known for), `counts`.
"""

import sys
import threading
from types import SimpleNamespace
from typing import Any

from leasebox_worker import config

config.name_celery_pool("leasebox_worker.celery_pool:TaskPool")

from celery.signals import worker_ready  # noqa: E402

from leasebox_worker import tasks  # noqa: E402
from leasebox_worker.engine.connection import connect  # noqa: E402
from leasebox_worker.engine.intake import Gate, Intake, Pause, Slots  # noqa: E402
from leasebox_worker.engine.watchdog import Watchdog  # noqa: E402
from leasebox_worker.lifecycle.beat import Beat  # noqa: E402

BRIEF_S = 0.02

released = threading.Event()
telling = threading.Lock()
out = sys.stdout  # Celery puts a logger in its place


def tell(line: str) -> None:
    """Print a line in one piece: `print` would let those of other threads in before its end."""
    with telling:
        out.write(f"{line}\n")
        out.flush()


def body(job: str, _deps: Any) -> bool:
    """What a thread does with a wake-up here."""
    tell(f"took {job}")
    if job.startswith("hold"):
        released.wait()
    if job.startswith("brief"):
        released.wait(BRIEF_S)
    return True


def obey(word: str, intake: Intake, app: Any) -> None:
    """Carry out one word of the test."""
    match word.split():
        case ["pause", reason]:
            intake.pause(Pause(reason))
        case ["resume", reason]:
            intake.resume(Pause(reason))
        case ["release"]:
            released.set()
        case ["deafen"]:
            app.consumer.hub.call_soon(app.consumer.task_consumer.cancel)
        case ["counts"]:
            tell(f"counts {app.gate.busy} {app.consumer.restart_count}")


def main() -> None:
    """Consume until the test ends this process."""
    url, slots, interactive, stall_s = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    settings = config.load(url=url, node="n", slots=slots)
    intake = Intake()
    gate = Gate("n", Slots(slots, interactive), intake)
    app = tasks.make_app(settings, gate)
    tasks.run_job = body  # type: ignore[assignment]
    tasks._hosts.append(SimpleNamespace(deps=None, stop=lambda: None))  # type: ignore[arg-type]

    def ready(sender: Any, **_: object) -> None:
        intake.changed = sender.pool.wake
        end = lambda: tasks._end(tasks._hosts[0], tasks.STALLED)  # noqa: E731
        watchdog = Watchdog(connect(url), gate, stall_s=stall_s, restart=sender.restart, end=end)
        Beat("watchdog", watchdog.look, stall_s / 5).start()
        tell("ready")

    def listen() -> None:
        for line in sys.stdin:
            obey(line, intake, app)

    worker_ready.connect(ready, weak=False)
    threading.Thread(target=listen, daemon=True).start()
    tasks.consume(app, settings)


if __name__ == "__main__":
    main()
