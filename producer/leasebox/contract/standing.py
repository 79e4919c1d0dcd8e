"""Where does a job stand, and what does it wait for? `Why`, as `handle.why()`, the API and `leasebox why` tell it."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from leasebox.contract.result import Outcome, State


class Cause(StrEnum):
    """What keeps a job from going on; the first that holds, as an operator would look for it."""

    ENDED = "ended"
    RUNNING = "running"
    INPUT = "input"
    """It runs, and has read all the input that was written to it, or asks for some."""
    STARTING = "starting"
    ENDING = "ending"
    """Its end was asked for, and its processes are not gone yet."""
    BEHIND = "behind"
    """Another job of its session comes first; `behind` names it."""
    CLOSING = "closing"
    """Its session is being closed; it runs in the next one of that name."""
    QUOTA = "quota"
    """Its tenant runs as many jobs as it may."""
    DELAYED = "delayed"
    """It is tried again at `until`."""
    SESSION_NODE = "session_node"
    """The node that holds its session's sandbox is silent."""
    NO_NODE = "no_node"
    PROFILE = "profile"
    """No live node serves its profile; it will be rejected."""
    BUSY = "busy"
    """All slots of all nodes that may run it are taken."""
    FULL = "full"
    """The nodes hold as many sandboxes as they may."""
    ENGINE_DOWN = "engine_down"
    DRAINING = "draining"
    FENCED = "fenced"
    """The nodes are cut off from Redis, or are just coming back."""
    TURN = "turn"
    """Nothing is in the way but the lines before it."""


class Why(BaseModel):
    """Why a job stands as it does.

    Attributes:
        why: Sentences for people, the most telling first.
        next_step: What to do about it, or how to go on looking; None where it needs nothing.
        node: That runs it, or holds its session's sandbox.
        behind: Id of the job of its session that goes first.
        before: Jobs before it in its session, plus runnable lines before that in the queue.
        since: When it was claimed or started, as unix seconds; `until` when it is tried again.
    """

    model_config = ConfigDict(defer_build=True, frozen=True, extra="ignore")

    job: str
    state: State
    cause: Cause
    why: list[str]
    next_step: str | None = None
    outcome: Outcome | None = None
    node: str | None = None
    behind: str | None = None
    before: int | None = None
    since: float | None = None
    until: float | None = None
