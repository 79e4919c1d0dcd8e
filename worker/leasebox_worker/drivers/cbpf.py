"""How does a list of seccomp rules become the classic BPF program that bubblewrap and prctl(2) load?

Source: seccomp(2), "struct seccomp_data"; linux/bpf_common.h. Words are little-endian on both supported machines.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

KILL_PROCESS = 0x80000000
ALLOW = 0x7FFF0000
ERRNO = 0x00050000

EPERM = 1
ENOSYS = 38

X32_BIT = 0x40000000
"""x86-64 numbers from here on are the x32 calls: the same kernel functions under other numbers."""

_LOAD = 0x20
_AND = 0x54
_JUMP_EQUAL = 0x15
_JUMP_GREATER = 0x25
_JUMP_GREATER_EQUAL = 0x35
_RETURN = 0x06

_NUMBER_OFFSET = 0
_MACHINE_OFFSET = 4
_ARGUMENTS_OFFSET = 16

_LOW_WORD = 0xFFFFFFFF


@dataclass(frozen=True)
class ArgumentIs:
    """`argument & mask == value`, over all 64 bits.

    Only equality: the kernel cuts an `int` argument to 32 bits after the filter saw 64, so "greater" and "not equal"
    let `2**32 + n` through (ISOLATION.md 1.2).
    """

    index: int
    value: int
    mask: int = 0xFFFFFFFFFFFFFFFF


@dataclass(frozen=True)
class Rule:
    """What happens to one call when all of its conditions hold; `errno` None allows it."""

    call: str
    conditions: tuple[ArgumentIs, ...] = ()
    errno: int | None = None


@dataclass(frozen=True)
class Instruction:
    """One `struct sock_filter`."""

    code: int
    k: int
    if_true: int = 0
    if_false: int = 0

    def pack(self) -> bytes:
        """The eight bytes that the kernel reads."""
        return struct.pack("<HBBI", self.code, self.if_true, self.if_false, self.k)


def assemble(rules: Sequence[Rule], numbers: Mapping[str, int], audit_machine: int) -> bytes:
    """A program that lets only `rules` pass.

    Another machine's calls (int 0x80) kill the process; calls above the highest listed number answer ENOSYS, so that
    libraries fall back to older ones; everything else answers EPERM. Rules for calls that the machine lacks are left
    out.
    """
    known = [rule for rule in rules if rule.call in numbers]
    plain = {numbers[rule.call] for rule in known if not rule.conditions and rule.errno is None}
    special = [rule for rule in known if rule.conditions or rule.errno is not None]
    program = [
        Instruction(_LOAD, _MACHINE_OFFSET),
        Instruction(_JUMP_EQUAL, audit_machine, if_true=1),
        Instruction(_RETURN, KILL_PROCESS),
        Instruction(_LOAD, _NUMBER_OFFSET),
        Instruction(_JUMP_GREATER_EQUAL, X32_BIT, if_false=1),
        Instruction(_RETURN, ERRNO | EPERM),
        Instruction(_JUMP_GREATER, max(numbers[rule.call] for rule in known), if_false=1),
        Instruction(_RETURN, ERRNO | ENOSYS),
    ]
    for first, last in _ranges(plain):
        program += _allow_range(first, last)
    for call in dict.fromkeys(rule.call for rule in special):
        program += _call(numbers[call], [rule for rule in special if rule.call == call])
    program.append(Instruction(_RETURN, ERRNO | EPERM))
    return b"".join(instruction.pack() for instruction in program)


def _ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    runs = groupby(enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0])
    members = [[number for _, number in run] for _, run in runs]
    return [(run[0], run[-1]) for run in members]


def _allow_range(first: int, last: int) -> list[Instruction]:
    if first == last:
        return [Instruction(_JUMP_EQUAL, first, if_false=1), Instruction(_RETURN, ALLOW)]
    return [
        Instruction(_JUMP_GREATER_EQUAL, first, if_false=2),
        Instruction(_JUMP_GREATER, last, if_true=1),
        Instruction(_RETURN, ALLOW),
    ]


def _call(number: int, rules: Sequence[Rule]) -> list[Instruction]:
    """All rules of one call; none matching answers EPERM. A jump over it leaves the number in the accumulator."""
    body: list[Instruction] = []
    for rule in rules:
        body += _rule(rule)
    body.append(Instruction(_RETURN, ERRNO | EPERM))
    return [Instruction(_JUMP_EQUAL, number, if_false=len(body)), *body]


def _rule(rule: Rule) -> list[Instruction]:
    tests: list[tuple[int, int, int]] = []
    for condition in rule.conditions:
        offset = _ARGUMENTS_OFFSET + 8 * condition.index
        tests.append((offset + 4, condition.mask >> 32, condition.value >> 32))
        tests.append((offset, condition.mask & _LOW_WORD, condition.value & _LOW_WORD))
    steps = 3 * len(tests)
    body: list[Instruction] = []
    for done, (offset, mask, value) in enumerate(tests, start=1):
        to_the_end = steps - 3 * done + 1
        body += [
            Instruction(_LOAD, offset),
            Instruction(_AND, mask),
            Instruction(_JUMP_EQUAL, value, if_false=to_the_end),
        ]
    body.append(Instruction(_RETURN, ALLOW if rule.errno is None else ERRNO | rule.errno))
    return body
