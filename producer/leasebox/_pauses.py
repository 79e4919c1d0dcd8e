"""How long does a client of the API rest before it asks again, and what does it not ask again at all?"""

import random

import httpx2

from leasebox.contract.errors import QuotaExceeded

TRIES = 8
_PAUSE_S, _MAX_PAUSE_S = 0.05, 2.0
_PASSING = (502, 503, 504)
_MAX_ASKED_S = 10.0
"""Longer than this no request is held back: who made it is told."""


def pause_s(tried: int, asked_s: float | None, draw: float) -> float:
    """How long to rest before the next try: full jitter, doubling; never less than the server asked for.

    Args:
        tried: How many tries have failed, from 1 on.
        asked_s: Of `Retry-After`.
        draw: Uniform in [0, 1).

    Source: M. Brooker, "Exponential Backoff And Jitter".
    """
    drawn: float = draw * min(_MAX_PAUSE_S, _PAUSE_S * 2**tried)
    return drawn if asked_s is None else max(drawn, min(asked_s, _MAX_PAUSE_S))


def limited_pause_s(method: str, asked_s: float | None, draw: float) -> float | None:
    """How long to rest before asking again what was refused for its rate; None: not at all.

    Reads alone are asked again: a submit beyond a quota is the caller's to hear of, as over Redis, and `map` and
    batches pace themselves by it. The rest is longer than asked for, so that not all who were refused come at once.

    Args:
        asked_s: Of `Retry-After`.
        draw: Uniform in [0, 1).
    """
    if method != "GET" or asked_s is None or asked_s > _MAX_ASKED_S:
        return None
    return asked_s * (1 + draw / 2)


def sat_out_s(refusal: QuotaExceeded, block_s: float) -> float:
    """How long a reader of a stream rests that was refused for its rate; longer than it may wait: the refusal stands.

    Raises:
        QuotaExceeded: The one that was given.
    """
    rest_s = limited_pause_s("GET", refusal.retry_after_s, random.random())
    if rest_s is None or rest_s > block_s:
        raise refusal
    return rest_s


def rest_s_of(method: str, response: httpx2.Response, tried: int) -> float | None:
    """How long to rest before asking again; None: the answer stands."""
    if tried == TRIES:
        return None
    if response.status_code == 429:
        return limited_pause_s(method, _asked_s(response), random.random())
    return pause_s(tried, _asked_s(response), random.random()) if response.status_code in _PASSING else None


def _asked_s(response: httpx2.Response) -> float | None:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdigit() else None
