"""How does a receiver know who wrote? By the headers of Standard Webhooks: id, timestamp, and an HMAC over all of it.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac


def headers(key: bytes, message_id: str, at: int, body: bytes) -> dict[str, str]:
    """The headers that sign a message.

    Args:
        message_id: The same for every attempt, so that a receiver can drop what it has.
        at: Unix seconds of this attempt, so that what was overheard cannot be sent again for long.
    """
    signed = b".".join((message_id.encode(), str(at).encode(), body))
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return {"webhook-id": message_id, "webhook-timestamp": str(at), "webhook-signature": f"v1,{signature}"}
