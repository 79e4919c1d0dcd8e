"""How a program of each language is run: data, not code. What an image lacks is found out by the node's probe."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Language:
    """How to run one source file.

    Attributes:
        suffix: Of the file that holds `code`.
        run: The command; `{file}` is replaced by the file's name.
    """

    suffix: str
    run: tuple[str, ...]


LANGUAGES = {
    "python": Language(".py", ("python3", "{file}")),
    "bash": Language(".sh", ("bash", "{file}")),
}
