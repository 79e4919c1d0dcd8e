"""How is a message brought to a URL that a stranger chose? To an address that was looked at, and to no other.

The name is resolved once, every address is judged, and the connection goes to one of those very addresses while TLS and
`Host` keep the name: a name that means another host a moment later gains nothing. No redirect is followed, no proxy of
the environment is used, no connection is kept, and of the answer only the status line and the headers are read.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field

import httpx2
import structlog

from leasebox.contract.addresses import is_public
from leasebox.contract.callbacks import Target, objection, target_of
from leasebox.contract.telemetry import traces
from leasebox_worker.resolver import Resolver
from leasebox_worker.webhooks.attempts import Answer
from leasebox_worker.webhooks.message import Message
from leasebox_worker.webhooks.signature import headers

log = structlog.get_logger()

WITHIN_S = 5.0
"""For the whole of an attempt. Source: ISOLATION.md section 3."""
NOT_PUBLIC = "its address is not one of the public internet"


class RefusedTarget(Exception):
    """A webhook must not go there; the text says why."""


def is_own(address: str) -> bool:
    """Whether an address is one of this host's own, by which its services could be reached. Sends nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError:  # no way there: connecting will say so
            return False
        return bool(probe.getsockname()[0] == address)


@dataclass(frozen=True, slots=True)
class Ways:
    """How names and addresses are looked at; no setting names them, tests alone give others."""

    resolve: Callable[[str], Awaitable[list[str]]] = field(default_factory=lambda: Resolver().resolve)
    is_own: Callable[[str], bool] = is_own


class Poster:
    """Signs messages and sends them."""

    def __init__(
        self,
        key: bytes,
        allowed: Collection[str],
        *,
        within_s: float = WITHIN_S,
        ways: Ways | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Connects to nothing yet.

        Args:
            allowed: Hosts that may be private or without encryption.
            tls: What to trust; default the host's authorities (`SSL_CERT_FILE` as OpenSSL reads it).
        """
        self._key = key
        self._allowed = allowed
        self._within_s = within_s
        self._ways = ways or Ways()
        self._tls = tls or ssl.create_default_context()

    async def post(self, message: Message) -> Answer:
        """Send a message once; whatever goes wrong on the way is the answer."""
        try:
            async with asyncio.timeout(self._within_s):
                target = target_of(message.url)
                return await self._send(message, target, await self._addresses(target))
        except TimeoutError:
            return Answer(error=f"no answer within {self._within_s:g} s")
        except (RefusedTarget, ValueError, httpx2.InvalidURL) as exc:
            return Answer(error=f"refused: {exc}")
        except httpx2.HTTPError as exc:
            return Answer(error=_fault(exc))
        except OSError:
            return Answer(error="its name has no address")

    async def _addresses(self, target: Target) -> list[str]:
        """Those to connect to, all of them good."""
        why = objection(target, self._allowed)
        if why is not None:
            raise RefusedTarget(why)
        addresses = await self._ways.resolve(target.host)
        if target.host not in self._allowed:
            bad = [address for address in addresses if not is_public(address) or self._ways.is_own(address)]
            if bad:
                log.warning("webhook_refused", host=target.host, addresses=bad)
                raise RefusedTarget(NOT_PUBLIC)
        return addresses

    async def _send(self, message: Message, target: Target, addresses: list[str]) -> Answer:
        sent = {
            "host": target.authority,
            "content-type": "application/json",
            "user-agent": "leasebox",
            **traces.headers(),
            **headers(self._key, message.id, int(time.time()), message.body),
        }
        if not addresses:
            raise RefusedTarget("its name has no address")
        *others, last = addresses
        transport = httpx2.AsyncHTTPTransport(verify=self._tls, trust_env=False)
        async with httpx2.AsyncClient(transport=transport, trust_env=False, timeout=None) as client:
            for address in others:
                with suppress(httpx2.ConnectError):  # the next one may take it
                    return await _post(client, target, address, message.body, sent)
            return await _post(client, target, last, message.body, sent)


async def _post(client: httpx2.AsyncClient, target: Target, address: str, body: bytes, sent: dict[str, str]) -> Answer:
    extensions = {"sni_hostname": target.host}
    request = client.build_request("POST", target.at(address), content=body, headers=sent, extensions=extensions)
    response = await client.send(request, stream=True, follow_redirects=False)
    await response.aclose()
    return _answer(response)


def _answer(response: httpx2.Response) -> Answer:
    if response.is_success:
        return Answer(response.status_code)
    why = "a redirect, which is not followed" if response.is_redirect else f"answered {response.status_code}"
    after = response.headers.get("retry-after", "")
    return Answer(response.status_code, why, float(after) if after.isdigit() and len(after) < 10 else 0.0)


def _fault(exc: httpx2.HTTPError) -> str:
    if not isinstance(exc, httpx2.ConnectError):
        return "the connection broke before an answer"
    return "its certificate was refused" if "CERTIFICATE_VERIFY_FAILED" in str(exc) else "cannot be connected to"
