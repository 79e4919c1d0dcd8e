"""What is one finding of doctor, and how is it printed?"""

from dataclasses import dataclass

from leasebox.cli.show import line


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; the same fields as those of `leasebox-worker doctor --json`.

    Attributes:
        hint: What mends it, said only of what is not `ok`.
    """

    name: str
    ok: bool
    required: bool
    detail: str
    hint: str | None = None


def tell(check: Check) -> None:
    """Print it, and where it failed what mends it."""
    mark = "ok  " if check.ok else "FAIL" if check.required else "warn"
    line(f"{mark}  {check.name}: {check.detail}")
    if not check.ok and check.hint:
        line(f"      {check.hint}")
