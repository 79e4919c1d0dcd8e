"""What was the agent told at its start? The options of boot.py, handed on in one variable of PID 1's environment."""

from __future__ import annotations

VARIABLE = "LEASEBOX_AGENT"
SEPARATOR = "\x1f"

DEFAULT_PRELOAD = (
    "collections,contextlib,copy,dataclasses,datetime,functools,heapq,io,itertools,json,math,operator,pathlib,random,re,"
    "string,textwrap,time"
)


class Settings:
    """The agent's own settings.

    Options (each with one value): `--job-uid`, `--job-gid` (used where the agent may change uids, else its own);
    `--dead-man` seconds without a word from the host after which a running job ends; `--exit-after` seconds after
    which the agent ends too; `--eof detach|exit`, what the end of its input means; `--preload a,b,c`, modules that
    every forked job finds loaded, by default those of `DEFAULT_PRELOAD` once the sandbox has been at rest;
    `--fork yes|no`; `--workspace` folder; `--wipe a,b`, folders emptied after each job,
    by default /tmp and /dev/shm where the agent is PID 1 and so has a sandbox of its own, and none elsewhere;
    `--egress` path of the worker's proxy socket, none where no job may have a network.
    """

    __slots__ = (
        "dead_man_s",
        "egress",
        "exit_after_s",
        "forks",
        "job_gid",
        "job_uid",
        "leaves_at_eof",
        "loads_at_rest",
        "preload",
        "started_at",
        "wipe",
        "workspace",
    )

    def __init__(self, argv: list[str], *, started_at: float, is_pid_1: bool) -> None:
        """Read the options.

        Raises:
            ValueError: An option is unknown, lacks its value, or the value is no number where one is due.
        """
        values = {
            "--job-uid": "10001",
            "--job-gid": "10001",
            "--dead-man": "8",
            "--exit-after": "900",
            "--eof": "exit",
            "--preload": "",
            "--fork": "yes",
            "--workspace": "/workspace",
            "--wipe": "/tmp,/dev/shm" if is_pid_1 else "",
            "--egress": "",
        }
        for name, value in zip(argv[::2], argv[1::2], strict=True):
            if name not in values:
                raise ValueError(f"unknown option {name}")
            values[name] = value
        self.job_uid = int(values["--job-uid"])
        self.job_gid = int(values["--job-gid"])
        self.dead_man_s = float(values["--dead-man"])
        self.exit_after_s = float(values["--exit-after"])
        self.leaves_at_eof = {"exit": True, "detach": False}[values["--eof"]]
        self.forks = {"yes": True, "no": False}[values["--fork"]]
        self.preload = [name for name in values["--preload"].split(",") if name]
        self.loads_at_rest = [] if self.preload else DEFAULT_PRELOAD.split(",")
        self.wipe = [path for path in values["--wipe"].split(",") if path]
        self.workspace = values["--workspace"]
        self.egress = values["--egress"]
        self.started_at = started_at
        if self.job_uid == 0 or self.job_gid == 0:
            raise ValueError("a job never runs as root")
