"""Which forms come from the page itself, and where may one lead?"""

import pytest
from starlette.datastructures import Headers

from leasebox.server.page.entry import is_own, own_path


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        # What the browser says of itself counts before what a proxy has made of the host.
        ({"sec-fetch-site": "same-origin", "origin": "https://lb.example", "host": "10.0.0.1"}, True),
        ({"origin": "http://lb.example:8707", "host": "lb.example:8707"}, True),
        ({"origin": "http://LB.example:8707", "host": "lb.example:8707"}, True),
        ({"origin": "http://lb.example:9999", "host": "lb.example:8707"}, False),
        ({"origin": "https://evil.example", "host": "lb.example"}, False),
        ({"origin": "null", "host": "lb.example"}, False),
        ({"host": "lb.example"}, True),
    ],
)
def test_a_form_of_another_origin_is_known(headers: dict[str, str], expected: bool):
    assert is_own(Headers(headers)) is expected


@pytest.mark.parametrize("path", ["/", "/?state=running", "/page/jobs/01a2", "/page/sessions/s-1"])
def test_after_signing_in_the_page_goes_on_where_it_was(path: str):
    assert own_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "/page/\\..",
        "javascript:1",
        "/v1/jobs",
        "/page/a\n",
    ],
)
def test_after_signing_in_no_other_place_is_gone_to(path: str):
    assert own_path(path) == "/"
