"""Exhaustion: as much as the sandbox gives of one thing, and never more than CAP. The limit is looked up before."""

import ctypes
import mmap
import os
import resource
import signal
import socket
import threading
import time

from verdict import number

WHICH, CAP, MOST = os.environ["WHICH"], int(os.environ["CAP"]), int(os.environ["MOST"])
STEP = 1 << 20
kept: list[object] = []


def score(value: int) -> None:
    number_ = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    os.write(number_, str(value).encode())
    os.close(number_)


def forks() -> int:
    made: list[int] = []
    try:
        while len(made) < CAP:
            pid = os.fork()
            if pid == 0:
                signal.pause()
                os._exit(0)
            made.append(pid)
    except OSError:
        pass
    for pid in made:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return len(made)


def threads() -> int:
    stop, made = threading.Event(), 0
    threading.stack_size(64 << 10)
    try:
        while made < CAP:
            threading.Thread(target=stop.wait).start()
            made += 1
    except RuntimeError:
        pass
    stop.set()
    return made


def counted(step) -> int:
    """Bytes that a child came to hold before it was refused or killed; it says so through a pipe."""
    reader, writer = os.pipe()
    score(600)  # pages that belong to no process: the kernel would as soon kill the one that is to tell
    pid = os.fork()
    if pid == 0:
        score(1000)
        total = 0
        try:
            while total < CAP:
                total += step(total)
                os.write(writer, b"%d\n" % total)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        last = [line for line in said][-1:]
    os.waitpid(pid, 0)
    return int(last[0]) if last else 0


def heap(_: int) -> int:
    kept.append(bytearray(b"x" * STEP))
    return STEP


def shared_map(_: int) -> int:
    area = mmap.mmap(-1, STEP)
    area.write(b"x" * STEP)
    kept.append(area)
    return STEP


def memfd(_: int) -> int:
    kept.append(os.memfd_create("x"))  # one for each step: RLIMIT_FSIZE holds for each of them
    return os.write(kept[-1], b"x" * STEP)


def sysv(_: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    ident = libc.shmget(0, STEP, 0o1600)
    at = libc.shmat(ident, None, 0) if ident >= 0 else -1
    if ident < 0 or at in (-1, None):
        raise OSError
    libc.shmctl(ident, 0, None)
    ctypes.memset(at, 1, STEP)
    return STEP


def pipes(_: int) -> int:
    import fcntl

    reader, writer = os.pipe()
    kept.append((reader, writer))
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 65536)
    return os.write(writer, b"x" * 65536)


def file_in(folder: str):
    def step(total: int) -> int:
        with open(f"{folder}/bomb", "ab", buffering=0) as file:
            return file.write(b"x" * (STEP // 4)) or CAP

    return lambda: counted(step)


def inodes_in(folder: str):
    def fill() -> int:
        made = 0
        try:
            while made < CAP:
                os.close(os.open(f"{folder}/b{made}", os.O_CREAT | os.O_WRONLY))
                made += 1
        except OSError:
            pass
        for number_ in range(made):
            os.unlink(f"{folder}/b{number_}")
        return made

    return fill


def sparse() -> int:
    size = 1 << 20
    with open("/workspace/bomb", "wb") as file:
        try:
            while size < CAP:
                file.truncate(size * 2)
                size *= 2
        except OSError:
            pass
    return size


def descriptors(make):
    def fill() -> int:
        try:
            while len(kept) < CAP:
                kept.append(make())
        except OSError:
            pass
        return len(kept)

    return fill


def cpu() -> int:
    """Percent of one processor that four spinners get in a second."""
    began = time.monotonic()
    for _ in range(4):
        if os.fork() == 0:
            while time.monotonic() - began < 1.0:
                pass
            os._exit(0)
    for _ in range(4):
        os.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int(100 * (used.ru_utime + used.ru_stime) / (time.monotonic() - began))


BOMBS = {
    "forks": forks,
    "threads": threads,
    "heap": lambda: counted(heap),
    "shared map": lambda: counted(shared_map),
    "memfd": lambda: counted(memfd),
    "sysv": lambda: counted(sysv),
    "pipes": lambda: counted(pipes),
    "/workspace": file_in("/workspace"),
    "/tmp": file_in("/tmp"),
    "/dev/shm": file_in("/dev/shm"),
    "inodes of /workspace": inodes_in("/workspace"),
    "inodes of /tmp": inodes_in("/tmp"),
    "inodes of /dev/shm": inodes_in("/dev/shm"),
    "sparse": sparse,
    "descriptors": descriptors(lambda: os.open("/dev/null", os.O_RDONLY)),
    "sockets": descriptors(socket.socketpair),
    "ptys": descriptors(os.openpty),
    "cpu": cpu,
}
number(WHICH, BOMBS[WHICH](), MOST)
