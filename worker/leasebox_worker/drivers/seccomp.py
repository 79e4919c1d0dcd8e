"""Which system calls may a job make? One list of rules, given to the engine as JSON and to bubblewrap as cBPF.

| profile | for |
|---------|-----|
| default | every language: 281 calls, four socket families, no new namespaces |
| strict  | pure computing: AF_UNIX only; no SysV IPC, queues, aio, memfd, mlock, mknod (no compilers, no bash) |
| debug   | default and what strace, gdb and LeakSanitizer need |

Source: ISOLATION.md 1.2, where every row was probed. Never write a rule that is not an equality: see `cbpf.ArgumentIs`.
"""

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from leasebox.contract.errors import ConfigError
from leasebox_worker.drivers.cbpf import ENOSYS, EPERM, ArgumentIs, Rule, assemble
from leasebox_worker.drivers.syscall_numbers import AARCH64, X86_64


class SeccompProfile(StrEnum):
    """Name of a list of calls, as an operator writes it in a profile."""

    DEFAULT = "default"
    STRICT = "strict"
    DEBUG = "debug"


@dataclass(frozen=True)
class Machine:
    """How a processor family is called by the kernel's audit code and by the engine, and its call numbers."""

    audit: int
    engine: str
    numbers: Mapping[str, int]


MACHINES = {
    "x86_64": Machine(0xC000003E, "SCMP_ARCH_X86_64", X86_64),
    "aarch64": Machine(0xC00000B7, "SCMP_ARCH_AARCH64", AARCH64),
}
"""By `platform.machine()`. Only the native one is ever allowed: a 32-bit `socketcall` hides its family."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ALLOWED = _words("""
read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek close close_range dup dup2 dup3 open
openat openat2 creat stat fstat lstat newfstatat statx statfs fstatfs access faccessat faccessat2 readlink readlinkat
getdents getdents64 getcwd chdir fchdir mkdir mkdirat rmdir rename renameat renameat2 link linkat unlink unlinkat
symlink symlinkat chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat umask truncate ftruncate fallocate
fadvise64 readahead sync fsync fdatasync syncfs sync_file_range utime utimes utimensat futimesat flock fcntl ioctl
getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr setxattr lsetxattr fsetxattr removexattr lremovexattr
fremovexattr copy_file_range sendfile splice tee vmsplice pipe pipe2 eventfd eventfd2 signalfd signalfd4
timerfd_create timerfd_gettime timerfd_settime inotify_init inotify_init1 inotify_add_watch inotify_rm_watch mknod
mknodat memfd_create poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait
epoll_pwait2 mmap munmap mremap mprotect madvise mincore msync brk mlock mlock2 munlock mlockall munlockall membarrier
pkey_alloc pkey_free pkey_mprotect mseal map_shadow_stack fork vfork execve execveat exit exit_group wait4 waitid kill
tkill tgkill pidfd_open pidfd_send_signal set_tid_address set_robust_list get_robust_list rseq arch_prctl futex
futex_waitv futex_wake futex_wait futex_requeue sched_yield sched_getaffinity sched_setaffinity sched_getparam
sched_setparam sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min
sched_rr_get_interval sched_getattr sched_setattr getcpu getpriority setpriority ioprio_get ioprio_set getrlimit
setrlimit prlimit64 getrusage times sysinfo uname prctl seccomp capget capset landlock_create_ruleset
landlock_add_rule landlock_restrict_self rt_sigaction rt_sigprocmask rt_sigpending rt_sigsuspend rt_sigtimedwait
rt_sigqueueinfo rt_tgsigqueueinfo rt_sigreturn sigaltstack pause alarm getitimer setitimer restart_syscall
timer_create timer_delete timer_gettime timer_settime timer_getoverrun nanosleep clock_nanosleep clock_gettime
clock_getres gettimeofday time getrandom getpid getppid gettid getpgid getpgrp setpgid getsid setsid getuid geteuid
getgid getegid getgroups getresuid getresgid setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid
setgroups socketpair bind listen accept accept4 connect getsockname getpeername getsockopt setsockopt shutdown sendto
recvfrom sendmsg recvmsg sendmmsg recvmmsg shmget shmat shmdt shmctl semget semop semtimedop semctl msgget msgsnd
msgrcv msgctl mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr io_setup io_destroy io_submit
io_cancel io_getevents
""")

_NOT_STRICT = frozenset(
    _words("""
shmget shmat shmdt shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl mq_open mq_unlink mq_timedsend
mq_timedreceive mq_notify mq_getsetattr io_setup io_destroy io_submit io_cancel io_getevents memfd_create mlock mlock2
munlock mlockall munlockall mknod mknodat
""")
)

_ONLY_DEBUG = ("ptrace", "process_vm_readv", "process_vm_writev", "kcmp")

_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_NETLINK_ROUTE = 0
_NAMESPACE_FLAGS = 0x7E020000
_PERSONALITIES = (0, 8, 0xFFFFFFFF)
_NO_ADDRESS_RANDOMISATION = 0x40000


def rules(profile: SeccompProfile, *, has_sockets: bool = True) -> tuple[Rule, ...]:
    """The rules of a profile, machine-independent; a call without a matching rule answers EPERM.

    Args:
        has_sockets: False where there is no network namespace: no socket of any family, socketpair alone remains.
    """
    strict, debug = profile is SeccompProfile.STRICT, profile is SeccompProfile.DEBUG
    families = () if not has_sockets else (_AF_UNIX,) if strict else (_AF_UNIX, _AF_INET, _AF_INET6)
    personalities = (*_PERSONALITIES, _NO_ADDRESS_RANDOMISATION) if debug else _PERSONALITIES
    netlink = (ArgumentIs(0, _AF_NETLINK), ArgumentIs(2, _NETLINK_ROUTE))
    return (
        *(Rule(call) for call in ALLOWED if not (strict and call in _NOT_STRICT)),
        *(Rule(call) for call in _ONLY_DEBUG if debug),
        *(Rule("socket", (ArgumentIs(0, family),)) for family in families),
        *(() if strict or not has_sockets else (Rule("socket", netlink),)),
        Rule("clone", (ArgumentIs(0, 0, mask=_NAMESPACE_FLAGS),)),
        # The flags of clone3 stand in memory, where no filter sees them; glibc falls back to clone on ENOSYS.
        Rule("clone3", errno=ENOSYS),
        *(Rule("personality", (ArgumentIs(0, value),)) for value in personalities),
    )


@lru_cache(maxsize=8)
def engine_json(profile: SeccompProfile, machine: str | None = None) -> str:
    """The profile as the engine's `security_opt` takes it: the document itself, not a path."""
    groups: list[dict[str, object]] = []
    plain = [rule.call for rule in rules(profile) if not rule.conditions and rule.errno is None]
    groups.append({"names": plain, "action": "SCMP_ACT_ALLOW"})
    groups += [_engine_rule(rule) for rule in rules(profile) if rule.conditions or rule.errno is not None]
    document = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": EPERM,
        "architectures": [_machine(machine).engine],
        "syscalls": groups,
    }
    return json.dumps(document, separators=(",", ":"))


@lru_cache(maxsize=8)
def program(profile: SeccompProfile, machine: str | None = None, *, has_sockets: bool = True) -> bytes:
    """The profile as raw cBPF for `bwrap --seccomp` and `PR_SET_SECCOMP`; the machine is this one unless named."""
    target = _machine(machine)
    return assemble(rules(profile, has_sockets=has_sockets), target.numbers, target.audit)


def _engine_rule(rule: Rule) -> dict[str, object]:
    if rule.errno is not None:
        return {"names": [rule.call], "action": "SCMP_ACT_ERRNO", "errnoRet": rule.errno}
    return {"names": [rule.call], "action": "SCMP_ACT_ALLOW", "args": [_engine_argument(c) for c in rule.conditions]}


def _engine_argument(condition: ArgumentIs) -> dict[str, object]:
    if condition.mask == ArgumentIs(0, 0).mask:
        return {"index": condition.index, "value": condition.value, "op": "SCMP_CMP_EQ"}
    return {
        "index": condition.index,
        "value": condition.mask,
        "valueTwo": condition.value,
        "op": "SCMP_CMP_MASKED_EQ",
    }


def _machine(name: str | None) -> Machine:
    name = name or platform.machine()
    if name not in MACHINES:
        raise ConfigError(f"no seccomp profile for the machine {name!r}", hint=f"supported: {', '.join(MACHINES)}")
    return MACHINES[name]
