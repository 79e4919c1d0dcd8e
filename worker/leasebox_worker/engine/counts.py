"""What is remembered of one sandbox's use between two looks at it? Its processor time, and what its network carried."""

from dataclasses import dataclass, field

from leasebox_worker.egress.door import Door, Traffic


@dataclass(frozen=True, slots=True)
class Sample:
    """How much processor time a sandbox had used at a moment of the monotonic clock."""

    at: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Carried:
    """How much has gone through its network.

    Replaced as a whole when a door opens or shuts, so that a reader never counts one twice.

    Attributes:
        before: Through doors that are shut.
        door: Of the job that runs; None: it has none.
    """

    before: Traffic = field(default_factory=Traffic)
    door: Door | None = None

    def through(self, door: Door) -> "Carried":
        """A door was opened."""
        return Carried(self.before, door)

    def shut(self, last: Traffic) -> "Carried":
        """The door was shut, and had carried so much."""
        return Carried(self.before.plus(last))

    @property
    def total(self) -> Traffic:
        """Until now."""
        return self.before.plus(self.door.traffic) if self.door is not None else self.before
