"""Why does a job not get its connection? Every reason by name, with the answer that its program sees."""

from enum import StrEnum


class Refusal(StrEnum):
    """A check that failed; the value stands in the log."""

    SYNTAX = "syntax"
    METHOD = "method"
    PORT = "port"
    NAME = "name"
    UNRESOLVED = "unresolved"
    ADDRESS = "address"
    UNREACHABLE = "unreachable"
    SLOW = "slow"
    NOT_TLS = "not_tls"
    SNI = "sni"
    BYTES = "bytes"
    BUSY = "busy"
    IDLE = "idle"


_ANSWERS = {
    Refusal.SYNTAX: (400, "not a request that the proxy understands"),
    Refusal.METHOD: (405, "only https is offered here: CONNECT"),
    Refusal.PORT: (403, "only port 443 is offered"),
    Refusal.NAME: (403, "not in the network list of this job"),
    Refusal.UNRESOLVED: (502, "the name does not resolve"),
    Refusal.ADDRESS: (403, "the name does not lead to a public address"),
    Refusal.UNREACHABLE: (502, "the host does not answer"),
    Refusal.SLOW: (408, "the request took too long"),
    Refusal.BYTES: (403, "this job has used up its network bytes"),
    Refusal.BUSY: (503, "too many connections"),
}


class RefusedError(Exception):
    """A check failed.

    Attributes:
        refusal: Which one.
        name: The host asked for, as far as it was read; the guest's own words.
    """

    def __init__(self, refusal: Refusal, name: str = "") -> None:
        super().__init__(refusal)
        self.refusal = refusal
        self.name = name


def answer(refusal: Refusal) -> bytes:
    """The HTTP answer; the reason stands in the status line too, which is all that most programs show."""
    status, reason = _ANSWERS[refusal]
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(reason) + 1}\r\n\r\n{reason}\n".encode()
