"""A wire that can be cut: TCP on one side, Redis' unix socket on the other; cut, it swallows and loses nothing."""

import select
import socket
import threading
from contextlib import suppress
from pathlib import Path


class Relay:
    """Forwards bytes both ways; while `cut`, none: as in a partition, nobody is told."""

    def __init__(self, target: Path) -> None:
        self._target = str(target)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._is_open = threading.Event()
        self._is_open.set()
        self._is_closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def cut(self) -> None:
        self._is_open.clear()

    def mend(self) -> None:
        self._is_open.set()

    def close(self) -> None:
        self._is_closed = True
        self._is_open.set()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._forward, args=(near,), daemon=True).start()

    def _forward(self, near: socket.socket) -> None:
        far = socket.socket(socket.AF_UNIX)
        with near, far, suppress(OSError):
            self._is_open.wait()
            far.connect(self._target)
            other = {near: far, far: near}
            while not self._is_closed:
                for ready in select.select([near, far], [], [], 1.0)[0]:
                    data = ready.recv(1 << 16)
                    self._is_open.wait()
                    if not data:
                        return
                    other[ready].sendall(data)
