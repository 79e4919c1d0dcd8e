"""How does PID 1 begin? `python3 -I -S boot.py OPTIONS`: clean the environment, check, exec `python3 main.py`.

Fail closed: a sitecustomize that is missing or does not compile would let the interpreter go on to run the program in
the workspace with the agent's rights, so it is compiled here first, while nothing but the standard library is in reach.
"""

# nothing but os and sys may be imported before the check
# ruff: noqa: PTH100, PTH109, PTH118, PTH120, PTH123

import os
import sys
import time

STARTED_AT = time.monotonic()
CRASHED = 70


def environment(agent_dir: str, argv: list[str]) -> dict[str, str]:
    """PID 1's variables: what PYTHON* or LD_* the image sets dies here; HOME=/ means that no user site is read."""
    return {
        "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
        "HOME": "/",
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "PYTHONPATH": agent_dir,
        "OPENBLAS_NUM_THREADS": "1",  # a thread of PID 1 would be lost in every fork
        "LEASEBOX_AGENT": "\x1f".join([repr(STARTED_AT), *argv]),
    }


def main() -> None:
    """Check what can be checked, then become the interpreter that waits before main.py."""
    agent_dir = os.path.dirname(os.path.abspath(__file__))
    source = os.path.join(agent_dir, "sitecustomize.py")
    with open(source, "rb") as file:
        compile(file.read(), source, "exec", dont_inherit=True)
    argv = sys.argv[1:]
    workspace = argv[argv.index("--workspace") + 1] if "--workspace" in argv else "/workspace"
    if os.getcwd() != workspace:
        os.chdir(workspace)  # the interpreter makes main.py absolute at its start, and here is where jobs live
    os.execve(sys.executable, [sys.executable, "main.py"], environment(agent_dir, argv))  # noqa: S606


try:
    main()
except BaseException:  # noqa: BLE001 (whatever it is: not one step further)
    import traceback

    os.write(2, traceback.format_exc().encode())
    os._exit(CRASHED)
