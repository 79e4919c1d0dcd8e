"""What `make run` runs: prints a line every fifth of a second, so that you see the output arrive live."""

import os
import platform
import time

print(f"Hello from Python {platform.python_version()} in a sandbox (uid {os.getuid()}).", flush=True)
for n in range(1, 6):
    time.sleep(0.2)
    print(f"line {n} of 5", flush=True)
