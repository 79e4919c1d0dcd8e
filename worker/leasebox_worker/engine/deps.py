"""What running a job needs; put together once by `host`, handed to every job."""

from dataclasses import dataclass, field

from leasebox_worker.egress.proxy import Egress
from leasebox_worker.engine.intake import Intake, Pause
from leasebox_worker.engine.refill import Refill
from leasebox_worker.engine.running import Running
from leasebox_worker.engine.sandboxes import Sandboxes
from leasebox_worker.lifecycle.fence import Fence
from leasebox_worker.lifecycle.inputs import Inputs
from leasebox_worker.lifecycle.tracker import LeaseTracker
from leasebox_worker.policy.languages import Toolbox
from leasebox_worker.policy.profiles import Profile
from leasebox_worker.policy.secrets import SecretStore
from leasebox_worker.telemetry.audit import AuditLog


@dataclass(slots=True)
class Deps:
    """What running a job needs.

    Attributes:
        is_draining: Nothing is claimed or started any more; what runs may end.
        is_leaving: The drain's time is over: what still runs is ended and goes back.
        refill: Keeps the warm pool; without one there is no pool.
        toolboxes: What this node has of each profile's languages; none for a profile of which nobody knows.
        egress: None where the driver cannot hold a job to a network list.
        audit: Takes down what is refused; without it nothing is.
        inputs: What is written to jobs while they run; without it none gets any.
    """

    tracker: LeaseTracker
    sandboxes: Sandboxes
    profiles: dict[str, Profile]
    cancel_grace_s: float
    is_draining: bool = False
    is_leaving: bool = False
    running: Running = field(default_factory=Running)
    intake: Intake = field(default_factory=Intake)
    fence: Fence = field(default_factory=Fence)
    refill: Refill | None = None
    secrets: SecretStore = field(default_factory=lambda: SecretStore(None))
    egress: Egress | None = None
    inputs: Inputs | None = None
    toolboxes: dict[str, Toolbox] = field(default_factory=dict)
    audit: AuditLog | None = None

    def __post_init__(self) -> None:
        """Take work again as soon as a full node has a place."""
        self.sandboxes.on_room = lambda: self.intake.resume(Pause.FULL)
