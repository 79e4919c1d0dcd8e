"""The filter says the same to the engine and to the kernel, for every call, on both machines."""

import json
import struct
from collections.abc import Sequence

import pytest

from leasebox.contract.errors import ConfigError
from leasebox_worker.drivers.cbpf import ALLOW, ENOSYS, EPERM, ERRNO, KILL_PROCESS, X32_BIT
from leasebox_worker.drivers.seccomp import ALLOWED, MACHINES, SeccompProfile, engine_json, program

DEFAULT, STRICT, DEBUG = SeccompProfile.DEFAULT, SeccompProfile.STRICT, SeccompProfile.DEBUG
REFUSED = ERRNO | EPERM
MISSING = ERRNO | ENOSYS
I386 = 0x40000003


def verdict(code: bytes, machine: int, number: int, arguments: Sequence[int] = ()) -> int:
    """What the kernel's interpreter would answer (the instructions that we use of it)."""
    padded = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("<IIQ6Q", number, machine, 0, *padded)
    steps = list(struct.iter_unpack("<HBBI", code))
    at, accumulator = 0, 0
    while True:
        operation, if_true, if_false, k = steps[at]
        at += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, k)
            case 0x54:
                accumulator &= k
            case 0x15:
                at += if_true if accumulator == k else if_false
            case 0x25:
                at += if_true if accumulator > k else if_false
            case 0x35:
                at += if_true if accumulator >= k else if_false
            case 0x06:
                return k
            case _:
                raise AssertionError(f"instruction {operation:#x}")


def ask(call: str, *arguments: int, profile: SeccompProfile = DEFAULT, machine: str = "x86_64") -> int:
    known = MACHINES[machine]
    return verdict(program(profile, machine), known.audit, known.numbers[call], arguments)


@pytest.mark.parametrize("machine", MACHINES)
def test_every_listed_call_passes_and_every_other_number_does_not(machine):
    known, code = MACHINES[machine], program(DEFAULT, machine)
    listed = {known.numbers[call] for call in ALLOWED if call in known.numbers}

    passed = {number for number in range(600) if verdict(code, known.audit, number) == ALLOW}

    # clone without flags and personality(0) are allowed, too
    assert passed == listed | {known.numbers["clone"], known.numbers["personality"]}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("call", "arguments", "expected"),
    [
        ("socket", (1, 1, 0), ALLOW),
        ("socket", (2, 1, 0), ALLOW),
        ("socket", (10, 1, 0), ALLOW),
        ("socket", (16, 3, 0), ALLOW),
        ("socket", (16, 3, 12), REFUSED),
        ("socket", (38, 5, 0), REFUSED),
        ("socket", (40, 1, 0), REFUSED),
        ("socket", (2**32 + 38, 5, 0), REFUSED),
        ("socket", (2**32 + 2, 1, 0), REFUSED),
        ("socket", (16, 3, 2**32), REFUSED),
        ("clone", (0x11,), ALLOW),
        ("clone", (0x3D0F00,), ALLOW),
        ("clone", (0x10000000,), REFUSED),
        ("clone", (0x02000000,), REFUSED),
        ("clone", (2**40,), ALLOW),
        ("clone3", (), MISSING),
        ("personality", (0xFFFFFFFF,), ALLOW),
        ("personality", (0x40000,), REFUSED),
        ("ptrace", (), REFUSED),
        ("process_vm_readv", (), REFUSED),
    ],
)
def test_default_profile_answers(machine, call, arguments, expected):
    assert ask(call, *arguments, machine=machine) == expected


def test_another_machines_entry_kills():
    assert verdict(program(DEFAULT, "x86_64"), I386, 20) == KILL_PROCESS


def test_x32_numbers_are_refused():
    assert verdict(program(DEFAULT, "x86_64"), MACHINES["x86_64"].audit, X32_BIT + 1) == REFUSED


def test_calls_newer_than_the_list_answer_enosys():
    highest = max(number for call, number in MACHINES["x86_64"].numbers.items() if call in ALLOWED)
    code = program(DEFAULT, "x86_64")

    answers = [verdict(code, MACHINES["x86_64"].audit, highest + more) for more in (0, 1)]

    assert answers == [ALLOW, MISSING]


@pytest.mark.parametrize("call", ["ptrace", "process_vm_readv", "process_vm_writev", "kcmp"])
def test_debug_profile_adds(call):
    assert (ask(call), ask(call, profile=DEBUG)) == (REFUSED, ALLOW)


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("socket", (2, 1, 0)),
        ("socket", (16, 3, 0)),
        ("shmget", ()),
        ("memfd_create", ()),
        ("mlock", ()),
        ("mknodat", ()),
    ],
)
def test_strict_profile_takes_away(call, arguments):
    assert (ask(call, *arguments), ask(call, *arguments, profile=STRICT)) == (ALLOW, REFUSED)


def test_without_sockets_not_even_unix_ones_are_made():
    known = MACHINES["x86_64"]
    code = program(DEFAULT, "x86_64", has_sockets=False)

    answers = [verdict(code, known.audit, known.numbers["socket"], (family, 1, 0)) for family in (1, 2, 10, 16)]

    assert answers == [REFUSED] * 4


def test_engine_document_is_the_list_with_equalities_only():
    document = json.loads(engine_json(DEFAULT, "x86_64"))
    operators = {argument["op"] for group in document["syscalls"] for argument in group.get("args", [])}

    assert document["defaultAction"] == "SCMP_ACT_ERRNO"
    assert document["architectures"] == ["SCMP_ARCH_X86_64"]
    assert len(document["syscalls"][0]["names"]) == 281
    assert operators == {"SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"}
    assert {"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"} in [
        argument for group in document["syscalls"] for argument in group.get("args", [])
    ]


def test_a_machine_without_a_table_is_an_error():
    with pytest.raises(ConfigError, match="riscv64"):
        program(DEFAULT, "riscv64")
