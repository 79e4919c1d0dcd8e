"""A process that delivers and nothing else, for tests that kill it: URL of Redis, prefix, receiver's host, lease_s."""

import sys
import threading

import redis

from leasebox.contract.keys import Keys
from leasebox_worker.webhooks.deliverer import Deliverer
from leasebox_worker.webhooks.post import Poster

socket, prefix, host, lease_s = sys.argv[1:]
client = redis.Redis(unix_socket_path=socket)
deliverer = Deliverer(client, Keys(prefix, queue_prefix=prefix), Poster(bytes(32), {host}), lease_s=float(lease_s))
pause = threading.Event()
while True:
    deliverer.look()
    pause.wait(0.05)
