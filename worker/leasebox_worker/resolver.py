"""How is a name's address asked for? On threads of its own, so that a name whose server never answers holds up nothing.

The host's resolver cannot be interrupted and may take half a minute. In asyncio's own few threads some such names would
keep everything else of the loop waiting, and the worker from ending.
"""

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

PLACES = 64
"""Names asked for at once; beyond, a name counts as not found."""


def lookup(name: str) -> list[str]:
    """The addresses of a name by the host's resolver; an address is its own.

    Raises:
        OSError: There are none.
        UnicodeError: It is no name.
    """
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Resolver:
    """Asks; `look` is the way, which tests alone give."""

    def __init__(self, places: int = PLACES, look: Callable[[str], list[str]] = lookup) -> None:
        self._places = threading.Semaphore(places)
        self._look = look

    async def resolve(self, name: str) -> list[str]:
        """As `lookup`; may be given up at any time.

        Raises:
            OSError: There are none, or too many names are being asked for.
            UnicodeError: It is no name.
        """
        if not self._places.acquire(blocking=False):
            raise OSError("too many names are being asked for")
        answer: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        threading.Thread(target=self._ask, args=(name, answer), name="leasebox-resolve", daemon=True).start()
        return await answer

    def _ask(self, name: str, answer: asyncio.Future[list[str]]) -> None:
        try:
            found: list[str] | Exception = self._look(name)
        except (OSError, UnicodeError) as exc:
            found = exc
        finally:
            self._places.release()
        with suppress(RuntimeError):  # the loop has ended: nobody waits any more
            answer.get_loop().call_soon_threadsafe(_tell, answer, found)


def _tell(answer: asyncio.Future[list[str]], found: list[str] | Exception) -> None:
    if answer.done():  # given up
        return
    if isinstance(found, Exception):
        answer.set_exception(found)
    else:
        answer.set_result(found)
