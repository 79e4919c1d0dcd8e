"""What does a session use, and how well is it? `SandboxMetrics` as a node measures, `SessionMetrics` as clients get."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from leasebox.contract.result import SessionState


class Health(StrEnum):
    """How a sandbox answers its node."""

    HEALTHY = "healthy"
    """It answered the last ping, or runs a job."""
    FAILING = "failing"
    """It has not answered, while it had nothing to do; after three pings it is replaced."""
    UNKNOWN = "unknown"
    """Its node did not answer in time."""
    NONE = "none"
    """The session has no sandbox."""


class SandboxMetrics(BaseModel):
    """What one sandbox has used since it was made, as its host counts it.

    Attributes:
        cpu_percent: Of one processor, since the measurement before; 200 is two busy ones.
        memory_bytes: Held now, files in the workspace included; `memory_peak_bytes` the most at once, 0 where the
            kernel does not tell.
        disk_bytes: In the workspace; where the host cannot look, as the last job left it.
        network_in_bytes: From outside, through the proxy; `network_out_bytes` likewise.
        processes: And threads; the agent is one.
        health_failures: Pings in a row that were not answered.
    """

    model_config = ConfigDict(defer_build=True, frozen=True, extra="ignore")

    sandbox: str | None = None
    cpu_percent: float = 0.0
    cpu_s: float = 0.0
    memory_bytes: int = 0
    memory_peak_bytes: int = 0
    disk_bytes: int = 0
    network_in_bytes: int = 0
    network_out_bytes: int = 0
    processes: int = 0
    health: Health = Health.NONE
    health_failures: int = 0


class SessionMetrics(SandboxMetrics):
    """The measures of a session's sandbox, and what its record counts.

    Attributes:
        measured_at: None where nothing was measured: no sandbox, or a node that does not answer.
        executions: Programs started, in all its sandboxes.
    """

    session: str
    state: SessionState
    node: str | None = None
    measured_at: float | None = None
    executions: int = 0
    last_exit_code: int | None = None
