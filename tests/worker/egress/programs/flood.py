"""Run in a sandbox: opens connections that say nothing, half a request, or all of it, as many as it can."""

import json
import socket

kept = []
opened = 0
for number in range(300):
    try:
        s = socket.create_connection(("127.0.0.1", 3128), 2)
        s.setblocking(False)
        s.send((b"", b"CONNECT allo", b"CONNECT allowed.test:443 HTTP/1.1\r\n\r\n")[number % 3] or b"C")
        kept.append(s)
        opened += 1
    except OSError:
        kept = kept[100:]
        opened += 1
print(json.dumps({"opened": opened}))
