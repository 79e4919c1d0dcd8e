"""May a webhook go to this URL? Asked of every spec, by clients that know what workers allow, and by who delivers."""

import re
from collections.abc import Collection
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from leasebox.contract.addresses import is_public

MAX_URL = 2048
_PRINTABLE = re.compile(r"[!-~]+")
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?")
_BRACKETS = re.compile(r"\[[0-9A-Fa-f:.]+\](:[0-9]*)?")
_PORTS = {"https": 443, "http": 80}


class Target(NamedTuple):
    """Where a webhook goes.

    Attributes:
        host: A name in lower case or an address, without brackets.
        path: With the query.
    """

    is_encrypted: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """As the `Host` header says it."""
        return self.at(self.host).partition("//")[2].partition("/")[0]

    def at(self, host: str) -> str:
        """The URL with another host in place of its own."""
        scheme = "https" if self.is_encrypted else "http"
        port = "" if self.port == _PORTS[scheme] else f":{self.port}"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}{port}{self.path}"


def target_of(url: str) -> Target:
    """Read a URL.

    Raises:
        ValueError: It is none that a webhook can go to, whatever an operator allows; says why, not what it was.
    """
    if len(url) > MAX_URL:
        raise ValueError(f"a URL has at most {MAX_URL} characters")
    if not _PRINTABLE.fullmatch(url) or "\\" in url:
        raise ValueError("must be a URL in ASCII, other characters as %xx")
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError:
        raise ValueError("must be a URL such as https://hooks.example.com/leasebox") from None
    if split.scheme not in _PORTS or not split.hostname or port == 0:
        raise ValueError("must be a URL such as https://hooks.example.com/leasebox")
    if "@" in split.netloc or "#" in url:
        raise ValueError("must be a URL without name, password and fragment")
    path = (split.path or "/") + (f"?{split.query}" if split.query else "")
    return Target(split.scheme == "https", _host(split), port or _PORTS[split.scheme], path)


def _host(split: SplitResult) -> str:
    host = (split.hostname or "").removesuffix(".")
    in_brackets = _BRACKETS.fullmatch(split.netloc)
    is_good = in_brackets and _is_address(host) if "[" in split.netloc else _NAME.fullmatch(host) and ".." not in host
    if not is_good:
        raise ValueError("must be a URL with the name or the address of a host")
    return str(ip_address(host)) if in_brackets else host


def objection(target: Target, allowed: Collection[str]) -> str | None:
    """Why a webhook may not go there, as far as the URL alone tells; None = its addresses decide.

    Args:
        allowed: Hosts that may be private, or reached without encryption.
    """
    host = target.host
    if host in allowed:
        return None
    if not target.is_encrypted:
        return "must be https"
    if host == "localhost" or host.endswith(".localhost") or (_is_address(host) and not is_public(host)):
        return "must be a host of the public internet"
    return None


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
