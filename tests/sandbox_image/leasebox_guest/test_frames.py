import pytest

from leasebox_guest.frames import MAX_FRAME_BYTES, Decoder, FrameError, Kind, find_ready, pack, pack_json
from leasebox_guest.run import ProtocolError, Run
from leasebox_guest.spec import Spec


def test_frames_survive_any_portioning() -> None:
    sent = [(Kind.EXEC, b"{}"), (Kind.STDIN, b""), (Kind.STDOUT, bytes(range(256)) * 9)]
    data = b"".join(pack(kind, payload) for kind, payload in sent)

    for size in (1, 2, 3, 5, 7, 64, len(data)):
        decoder = Decoder()
        found = [frame for at in range(0, len(data), size) for frame in decoder.feed(data[at : at + size])]

        assert found == sent
        assert not decoder.is_inside_frame


def test_a_frame_of_the_largest_size_passes_and_one_byte_more_does_not() -> None:
    largest = b"x" * (MAX_FRAME_BYTES - 1)

    assert Decoder().feed(pack(Kind.STDOUT, largest)) == [(Kind.STDOUT, largest)]
    with pytest.raises(FrameError):
        pack(Kind.STDOUT, largest + b"x")
    with pytest.raises(FrameError):
        Decoder().feed((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))


def test_a_frame_without_a_type_is_refused() -> None:
    with pytest.raises(FrameError):
        Decoder().feed(bytes(4))


def test_ready_is_found_behind_the_rest_of_another_conversation() -> None:
    ready = pack_json(Kind.READY, {"token": "abc", "version": 1})
    garbage = pack(Kind.STDOUT, b"y" * 50)[20:] + pack_json(Kind.READY, {"token": "abd", "version": 1})

    at = find_ready(garbage + ready, "abc")

    assert Decoder().feed((garbage + ready)[at:]) == [(Kind.READY, ready[5:])]
    assert find_ready(garbage, "abc") == -1


def test_input_beyond_its_window_is_a_protocol_error() -> None:
    spec = (
        b'{"id": "a", "kind": "python", "argv": ["main.py"], "cwd": "/workspace", "env": {}, "wall_s": 1, '
        b'"stream_bytes": 1}'
    )
    run = Run(Spec(spec, "/workspace"), spec, 0.0)
    run.take_input(b"x" * (128 << 10))

    with pytest.raises(ProtocolError):
        run.take_input(b"x")
