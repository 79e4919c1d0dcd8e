"""What does a job in Python get and give? One of the programs of `tests/acceptance/test_languages.py`."""

import sys

mode, *args = sys.argv[1:]
if mode == "talk":
    print("héllo 世界 🦊")
    print("".join(f"[{arg}]" for arg in args))
    print("got " + sys.stdin.read(), end="")
elif mode == "exit":
    print("bye", file=sys.stderr)
    sys.exit(7)
elif mode == "crash":
    raise ValueError("crash")
elif mode == "spin":
    while True:
        pass
