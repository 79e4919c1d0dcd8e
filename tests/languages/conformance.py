"""What does a job in Python get and give? One of the programs of `tests/acceptance/test_languages.py`."""

import sys

mode, *args = sys.argv[1:]
if mode == "hello":
    print("hello")
elif mode == "stdin":
    print("got " + sys.stdin.read(), end="")
elif mode == "args":
    print("".join(f"[{arg}]" for arg in args))
elif mode == "exit":
    print("bye", file=sys.stderr)
    sys.exit(7)
elif mode == "crash":
    raise ValueError("crash")
elif mode == "utf8":
    print("héllo 世界 🦊 " + args[0])
elif mode == "spin":
    while True:
        pass
