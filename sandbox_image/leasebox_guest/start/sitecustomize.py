"""Where does the agent live? Here: Python is initialised, main.py is not opened yet.

In PID 1 this import never ends. In a forked, unprivileged job it returns, and the interpreter opens main.py by itself.
"""

import os
import sys

_bare = frozenset(sys.modules)  # what `python3 main.py` has loaded at this point: all else is the agent's
_me = os.getpid()
_is_job = False
try:
    import leasebox_guest.agent

    leasebox_guest.agent.serve(_bare)  # returns only in a forked job
    _is_job = os.getpid() != _me
except BaseException:  # noqa: BLE001 (whatever it is: not one step further)
    import traceback

    os.write(2, traceback.format_exc().encode())
finally:
    if not _is_job:
        os._exit(70)  # fail closed: neither PID 1 nor a child that is no job yet may go on to run main.py
