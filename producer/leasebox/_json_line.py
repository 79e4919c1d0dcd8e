"""JSON in lines: events, results of a batch, the audit log."""

import json


def json_line(data: object) -> str:
    """One line, without its end, for whoever reads lines, be it by `str.splitlines` or httpx's `iter_lines`.

    JSON may have U+0085, U+2028 and U+2029 as they are, and these take each for the end of a line.
    """
    text = json.dumps(data, ensure_ascii=False)
    if text.isascii():
        return text
    return text.replace("\x85", "\\u0085").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
