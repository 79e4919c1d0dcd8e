"""Is what cannot be written to a session's files refused in our words, before anything is sent?"""

import pytest

from leasebox import _files
from leasebox._content import from_bytes
from leasebox.contract.errors import InvalidSpec


def test_a_text_that_holds_half_a_character_is_refused_and_named():
    with pytest.raises(InvalidSpec, match=r"^data: must be text in UTF-8$"):
        _files.write("a", "\ud800")


def test_a_text_that_stands_for_bytes_becomes_those_bytes():
    content = _files.write("a", "\udcff").operation.content

    assert content is not None
    assert content.model_dump(exclude_none=True) == from_bytes(b"\xff")
