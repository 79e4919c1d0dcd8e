"""Run in a sandbox: is there a way out now, and can it be tampered with?"""

import errno
import json
import socket
import ssl
import sys
import urllib.request
from pathlib import Path

context = ssl.create_default_context(cadata=sys.argv[1])
FOLDER = Path("/run/egress")
seen = {"socket": (FOLDER / "p.sock").exists()}


def name_of(action):
    try:
        action()
        return "done"
    except OSError as exc:
        return errno.errorcode[exc.errno]


def bind_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 3128))


try:
    with socket.create_connection(("127.0.0.1", 3128), 20) as s:
        s.sendall(b"CONNECT never.test:443 HTTP/1.1\r\n\r\n")
        seen["connect"] = "closed" if not s.recv(1) else "answered"
except ConnectionError:
    seen["connect"] = "closed"
if "attack" in sys.argv:
    seen["attack"] = {
        "unlink": name_of((FOLDER / "p.sock").unlink),
        "create": name_of(lambda: (FOLDER / "x").symlink_to("/")),
        "port": name_of(bind_port),
    }
path = f"bytes/{sys.argv[3]}" if "bytes" in sys.argv else ""
try:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(), urllib.request.HTTPSHandler(context=context))
    seen["get"] = opener.open(f"https://allowed.test/{path}", timeout=30).read().decode()
except OSError:
    seen["get"] = "refused"
print(json.dumps(seen))
