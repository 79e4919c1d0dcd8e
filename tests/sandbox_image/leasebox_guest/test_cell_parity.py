"""Does a cell do what the same program does as `python3 main.py`? Same stdout, same stderr but for tracebacks."""

from collections.abc import Callable
from typing import Any

import pytest

from leasebox_guest.frames import Kind

PROGRAMS = {
    "print": "print('a', end=''); print('b', flush=True)",
    "bytes": "import sys; sys.stdout.buffer.write(bytes(range(256)))",
    "both_streams": "import sys; print('out'); print('err', file=sys.stderr)",
    "unicode": "print('\\ud83d\\ude00'.encode('utf-16', 'surrogatepass').decode('utf-16'), 'é')",
    "surrogates": "import sys; sys.stdout.write('\\udcff\\n')",
    "encodings": "import sys; print([(s.encoding, s.errors) for s in (sys.stdin, sys.stdout, sys.stderr)])",
    "stdin_lines": "import sys; print([line for line in sys.stdin])",
    "stdin_bytes": "import sys; print(sys.stdin.buffer.read())",
    "stdin_file": "print(open('/dev/stdin').read())",
    "stdin_fd": "import os; print(os.read(0, 100))",
    "input": "print([input() for _ in range(2)])",
    "exit_code": "import sys; sys.exit(7)",
    "exit_text": "import sys; sys.exit('said')",
    "exit_in_function": "import sys\ndef f(): sys.exit(9)\nf()",
    "main": "class A: pass\nprint(A.__module__, __name__)",
    "pickle": "import pickle\nclass A: x = 5\nprint(pickle.loads(pickle.dumps(A())).x)",
    "dataclass": "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int = 1\nprint(P())",
    "nested_scopes": "def f():\n  n = 0\n  def g():\n    nonlocal n; n += 1; return n\n  return g\nprint(f()())",
    "comprehension": "k = 3\nprint([k * n for n in range(3)], {n: k for n in range(2)})",
    "globals": "def f():\n    global made; made = 1\nf(); print(made, 'made' in globals(), locals() is globals())",
    "exec": "exec('y = 2'); print(y, eval('y + 1'))",
    "warning": "import warnings; warnings.simplefilter('ignore'); warnings.warn('w'); print('ok')",
    "asyncio_run": "import asyncio\nasync def f(): return 5\nprint(asyncio.run(f()))",
    "threads": "import threading\nt = threading.Thread(target=print, args=('in',)); t.start(); t.join()",
    "subprocess": "import subprocess\nprint(subprocess.run(['sh', '-c', 'echo hi; exit 3'], capture_output=True))",
    "inherited_output": "import os; os.system('echo from a child; echo wrong >&2')",
    "inherited_input": "import subprocess; print(subprocess.check_output(['cat']))",
    "pool": "import multiprocessing as m\nwith m.get_context('fork').Pool(2) as p: print(p.map(abs, [-1]))",
    "contextvars": "import contextvars\nv = contextvars.ContextVar('v', default=1); v.set(2); print(v.get())",
    "recursion": "import sys\ndef f(n): return n and f(n - 1)\nprint(f(900))",
    "finally": "try:\n    1 / 0\nexcept ZeroDivisionError:\n    print('caught')\nfinally:\n    print('done')",
    "signal": "import signal, os\nsignal.signal(10, lambda *_: print('got'))\nos.kill(os.getpid(), 10)",
    "rights": "import os; print(os.getuid() != 0, os.getgroups(), os.umask(0), os.getcwd())",
    "limits": "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE))",
}  # fmt: skip
STDIN = b"l1\nl2\nl3 rest"


@pytest.fixture(scope="module")
def interpreter(spawn: Callable[..., Any]) -> Any:
    """A sandbox whose interpreter all programs share: whatever one does, the next is not to notice."""
    host = spawn("r2")
    host.expect(Kind.READY)
    return host


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_cell_does_what_the_program_does(name: str, executing: Any, interpreter: Any) -> None:
    program = executing.run(PROGRAMS[name], stdin=STDIN)
    cell = interpreter.cell(PROGRAMS[name] + "\nNone", stdin=STDIN)

    assert (cell.code, cell.stdout, cell.stderr) == (program.code, program.stdout, program.stderr)
    assert cell.interpreter == "kept"
