"""Which host does a TLS client greet? Reads a ClientHello that may span records; sans-IO, bounded, suspicious.

Source: RFC 8446 sections 4.1.2, 5.1; RFC 6066 section 3 (server_name); draft-ietf-tls-esni (encrypted_client_hello).
A hello with an encrypted one inside is refused: the name outside is then not the host that is meant.
"""

from leasebox_worker.egress.refusal import Refusal, RefusedError

MAX_HELLO_BYTES = 16 << 10
_RECORD_HEADER = 5
_MAX_RECORD = 1 << 14
_HANDSHAKE = b"\x16"
_MAJOR_VERSION = b"\x03"
_CLIENT_HELLO = 1
_MESSAGE_HEADER = 4
_SERVER_NAME = 0
_HOST_NAME = 0
_ENCRYPTED_CLIENT_HELLO = 0xFE0D


class HelloReader:
    """Collects the bytes of one connection until its ClientHello is whole.

    Attributes:
        received: Every byte so far, to be forwarded once the name was found right.
    """

    def __init__(self) -> None:
        self.received = b""
        self._at = 0
        self._message = b""

    def feed(self, data: bytes) -> str | None:
        """Take the next bytes; the name (lower case) once it is known, None while more is needed.

        Raises:
            RefusedError: It is no ClientHello (NOT_TLS), or names no host in the clear (SNI).
        """
        self.received += data
        if len(self.received) > MAX_HELLO_BYTES:
            raise RefusedError(Refusal.NOT_TLS)
        while (record := self._next_record()) is not None:
            self._message += record
            if len(self._message) >= _MESSAGE_HEADER:
                size = int.from_bytes(self._message[1:_MESSAGE_HEADER], "big")
                if self._message[0] != _CLIENT_HELLO or size > MAX_HELLO_BYTES:
                    raise RefusedError(Refusal.NOT_TLS)
                if len(self._message) >= _MESSAGE_HEADER + size:
                    return _server_name(self._message[_MESSAGE_HEADER : _MESSAGE_HEADER + size])
        return None

    def _next_record(self) -> bytes | None:
        header = self.received[self._at : self._at + _RECORD_HEADER]
        if header[:1] not in (b"", _HANDSHAKE) or header[1:2] not in (b"", _MAJOR_VERSION):
            raise RefusedError(Refusal.NOT_TLS)
        if len(header) < _RECORD_HEADER:
            return None
        size = int.from_bytes(header[3:], "big")
        if not 0 < size <= _MAX_RECORD:
            raise RefusedError(Refusal.NOT_TLS)
        end = self._at + _RECORD_HEADER + size
        if len(self.received) < end:
            return None
        record = self.received[self._at + _RECORD_HEADER : end]
        self._at = end
        return record


class _Fields:
    """Length-prefixed fields; running out of bytes is NOT_TLS."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __bool__(self) -> bool:
        return bool(self._data)

    def take(self, size: int) -> bytes:
        """The next bytes; raises `RefusedError` if there are not as many."""
        if size > len(self._data):
            raise RefusedError(Refusal.NOT_TLS)
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def number(self, size: int) -> int:
        """The next bytes as a big-endian number; raises as `take`."""
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """A field behind its own length of `size` bytes."""
        return self.take(self.number(size))


def _server_name(hello: bytes) -> str:
    fields = _Fields(hello)
    fields.take(2 + 32)  # legacy_version, random
    fields.vector(1)  # legacy_session_id
    fields.vector(2)  # cipher_suites
    fields.vector(1)  # compression_methods
    names: list[str] = []
    if fields:
        extensions = _Fields(fields.vector(2))
        while extensions:
            kind, body = extensions.number(2), extensions.vector(2)
            if kind == _ENCRYPTED_CLIENT_HELLO:
                raise RefusedError(Refusal.SNI, "(encrypted)")
            if kind == _SERVER_NAME:
                names += _host_names(body)
    if fields:
        raise RefusedError(Refusal.NOT_TLS)
    if len(names) != 1:  # two would let the host choose another than we saw
        raise RefusedError(Refusal.SNI, "(none)" if not names else "(several)")
    return names[0]


def _host_names(body: bytes) -> list[str]:
    outer = _Fields(body)
    entries = _Fields(outer.vector(2))
    if outer:
        raise RefusedError(Refusal.NOT_TLS)
    names = []
    while entries:
        kind, name = entries.number(1), entries.vector(2)
        if kind != _HOST_NAME or not name.isascii():
            raise RefusedError(Refusal.SNI, "(unknown)")
        names.append(name.decode("ascii").lower())
    return names
