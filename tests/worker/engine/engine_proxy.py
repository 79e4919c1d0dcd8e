"""An engine that refuses, hangs or restarts when a test says so: a proxy on a unix socket before the real one."""

import socket
import threading
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path

REAL = "/var/run/docker.sock"


class Mood(Enum):
    """What happens to a connection."""

    PASS = auto()
    REFUSE = auto()
    HANG = auto()


class EngineProxy:
    """Passes every connection on, or not; `url` is for LEASEBOX_DOCKER_HOST."""

    def __init__(self, path: Path) -> None:
        self.url = f"unix://{path}"
        self.mood = Mood.PASS
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def restart(self) -> None:
        """Cut every connection, as an engine that restarts; containers must be killed by the test."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        """Stop listening, and cut."""
        self._listener.close()
        self.restart()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        if self.mood is Mood.REFUSE:
            connection.close()
            return
        self._open.append(connection)
        if self.mood is Mood.HANG:
            return
        engine = socket.socket(socket.AF_UNIX)
        engine.connect(REAL)
        self._open.append(engine)
        for source, target in ((connection, engine), (engine, connection)):
            threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                while self.mood is Mood.HANG:  # what is open hangs too
                    threading.Event().wait(0.02)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
