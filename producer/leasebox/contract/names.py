"""What do names look like? Each pattern, and the words that tell it to people."""

from leasebox.contract.domains import RULE

SESSION_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
LABEL = r"^[a-z0-9][a-z0-9-]{0,31}$"
SECRET_NAME = r"^[A-Z][A-Z0-9_]{0,63}$"
ENV_NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"
NODE_NAME = r"^[a-z0-9-]{1,63}$"
PREFIX = r"^[A-Za-z0-9_-]{1,32}$"
MODULE = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"
IMAGE = r"^\S+$"

IN_WORDS = {
    SESSION_NAME: "up to 64 letters, digits and _ . -, beginning with a letter or digit",
    LABEL: "up to 32 of a-z, 0-9 and -, beginning with a letter or digit",
    SECRET_NAME: "up to 64 of A-Z, 0-9 and _, beginning with a letter",
    ENV_NAME: "up to 128 letters, digits and _, beginning with a letter or _",
    NODE_NAME: "up to 63 of a-z, 0-9 and -",
    PREFIX: "up to 32 letters, digits, _ and -",
    MODULE: "the name of a module, such as numpy or os.path",
    IMAGE: "the name of an image or a folder, without spaces",
    RULE: "a domain in lower case without scheme and port, such as api.example.com or *.example.org",
}
"""What a name that a pattern refuses should have been."""
