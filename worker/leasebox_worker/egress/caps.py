"""How much network does one job get? Bounds as data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caps:
    """Bounds of one job's network, all its connections together where nothing else is said.

    Attributes:
        total_bytes: In and out; the connection that goes beyond is cut, no other is made.
        bytes_per_s: In and out, on average; a second's worth may come at once.
        connections: At the same time.
        connections_per_s: New ones, on average, refused ones too; `connections` of them may come at once.
        idle_s: Without a byte in either direction a connection is cut.
        head_within_s: For the request, and again for the TLS greeting.
        reach_within_s: For the name to resolve, and for each address to answer.
        logged_refusals: Refusals beyond these are only counted, so that no job fills the log.
        audited_refusals: The same for the audit log, which then has their number.
    """

    total_bytes: int = 1 << 30
    bytes_per_s: int = 8 << 20
    connections: int = 32
    connections_per_s: float = 32.0
    idle_s: float = 60.0
    head_within_s: float = 10.0
    reach_within_s: float = 10.0
    logged_refusals: int = 1000
    audited_refusals: int = 100
