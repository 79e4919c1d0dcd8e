"""A way to a Redis that fails as networks do: `Relay` listens on a TCP port and passes on what it is told to pass."""

import random
import selectors
import socket
import threading
from collections.abc import Callable
from pathlib import Path


class Relay:
    """Passes bytes between its TCP port and a unix socket, in one thread.

    Attributes:
        cut_rate: The share of answers at whose place both ends are closed: the server did it, the client never hears.
        swallow: A connection that sends something for which this is true is a black hole from then on.
        cuts: How many answers were swallowed by a cut.
    """

    def __init__(self, target: Path, *, seed: int = 1) -> None:
        self._target = str(target)
        self._random = random.Random(seed)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._peers: dict[socket.socket, socket.socket] = {}
        self._clients: set[socket.socket] = set()
        self._dead: set[socket.socket] = set()
        self._is_over = False
        self.cut_rate = 0.0
        self.cuts = 0
        self.swallow: Callable[[bytes], bool] = lambda _: False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Address of the server, as seen through this."""
        return f"redis://127.0.0.1:{self._server.getsockname()[1]}/0"

    def lose_all(self) -> None:
        """Every connection that there is becomes a black hole: nothing is passed on, nothing is closed."""
        self._dead |= set(self._peers)

    def close(self) -> None:
        """End it; both ends of every connection are closed."""
        self._is_over = True
        self._thread.join()
        for end in [*self._peers, self._server]:
            end.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._is_over:
            for key, _ in self._selector.select(0.05):
                if key.fileobj is self._server:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._peers:
                    self._pass(key.fileobj)

    def _accept(self) -> None:
        client, _ = self._server.accept()
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self._target)
        except OSError:
            client.close()
            return
        self._peers |= {client: server, server: client}
        self._clients.add(client)
        for end in (client, server):
            self._selector.register(end, selectors.EVENT_READ)

    def _pass(self, end: socket.socket) -> None:
        peer = self._peers[end]
        try:
            data = end.recv(1 << 18)
        except OSError:
            data = b""
        if not data:
            self._end(end, peer)
            return
        is_request = end in self._clients
        if is_request and self.swallow(data):
            self._dead |= {end, peer}
        if end in self._dead:
            return
        if not is_request and self._random.random() < self.cut_rate:
            self.cuts += 1
            self._end(end, peer)
            return
        try:
            peer.sendall(data)
        except OSError:
            self._end(end, peer)

    def _end(self, *ends: socket.socket) -> None:
        for end in ends:
            self._selector.unregister(end)
            del self._peers[end]
            self._clients.discard(end)
            self._dead.discard(end)
            end.close()
