"""Run in a sandbox: how many connections are answered at once, and is one that waits answered when another ended?"""

import json
import select
import socket

ASK = b"CONNECT allowed.test:443 HTTP/1.1\r\n\r\n"
waiting = []
for _ in range(40):
    s = socket.create_connection(("127.0.0.1", 3128), 20)
    s.sendall(ASK)
    waiting.append(s)


def answered(least, within_s):
    found = []
    while len(found) < least:
        ready = select.select([s for s in waiting if s not in found], [], [], within_s)[0]
        if not ready:
            break
        found += ready
    return found


first = answered(41, 3)
for s in first:
    waiting.remove(s)
first[0].close()
print(json.dumps({"at once": len(first), "afterwards": len(answered(1, 20))}))
