"""The HTTP API: REST, Server-Sent Events and WebSocket over the same flows that the clients carry out.

`leasebox.server:create_app` makes the application, `python -m leasebox.server` serves it. No module here knows the
engine or the worker: everything goes through the queue.
"""

from leasebox.server.app import create_app

__all__ = ["create_app"]
