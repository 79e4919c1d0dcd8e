"""Does the library that receivers use take our signature, and no other?"""

import base64
import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from leasebox_worker.webhooks.signature import headers

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
BODY = b'{"type":"job.finished","data":{"text":"\xc3\xa4"}}'


def test_receivers_can_verify_it() -> None:
    assert Webhook(SECRET).verify(BODY, headers(KEY, "job", int(time.time()), BODY))["type"] == "job.finished"


@pytest.mark.parametrize("changed", ["body", "webhook-id", "webhook-timestamp", "key"])
def test_what_was_changed_is_refused(changed: str) -> None:
    now = int(time.time())
    sent = headers(KEY[::-1] if changed == "key" else KEY, "job", now, BODY)
    if changed.startswith("webhook"):
        sent[changed] = "other" if changed == "webhook-id" else str(now - 1)

    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY + b" " if changed == "body" else BODY, sent)
