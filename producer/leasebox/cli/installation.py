"""What the command line shows of the installation: profiles, nodes, queues, settings."""

from collections.abc import Mapping
from dataclasses import asdict

import typer

from leasebox._overview import node_fields
from leasebox._reads import NodeStatus, QueueStatus
from leasebox._submit import Profile
from leasebox.cli import OURS
from leasebox.cli.show import as_json, pairs, say, table
from leasebox.config import explain_api
from leasebox.contract.errors import UnknownProfile
from leasebox.contract.sizes import duration_text, size_text


def show_profiles(found: Mapping[str, Profile], *, is_json: bool) -> None:
    """Print all profiles."""
    if is_json:
        as_json([{"name": name, **profile.published} for name, profile in found.items()])
        return
    rows = [
        (
            name,
            ",".join(p.languages or ()),
            p.limits.get("cpus"),
            _size(p, "memory_bytes"),
            _size(p, "disk_bytes"),
            p.published.get("pool"),
        )
        for name, p in found.items()
    ]
    table(("profile", "languages", "cpus", "memory", "disk", "pool"), rows)


def _size(profile: Profile, name: str) -> str:
    return size_text(int(profile.limits[name])) if name in profile.limits else ""


def show_profile(found: Mapping[str, Profile], name: str, *, is_json: bool) -> None:
    """Print one profile.

    Raises:
        UnknownProfile: No node serves it.
    """
    if name not in found:
        known = f"known: {', '.join(found)}" if found else "no node is up; `leasebox nodes`"
        raise UnknownProfile(f"no node serves a profile {name!r}", hint=known)
    shown = {"name": name, **found[name].published}
    if is_json:
        as_json(shown)
    else:
        pairs([(name, _told(value)) for name, value in shown.items()])


def _told(value: object) -> object:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {told}" for name, told in value.items())
    return ", ".join(str(item) for item in value) if isinstance(value, list) else value


def show_nodes(found: list[NodeStatus], *, is_json: bool) -> None:
    """Print the nodes."""
    if is_json:
        as_json([node_fields(node) for node in found])
        return
    table(
        ("node", "state", "driver", "slots", "busy", "takes no work because", "last seen"),
        [
            (
                node.name,
                node.state,
                *(node.fields.get(name) for name in ("driver", "slots", "busy", "paused")),
                _ago(node),
            )
            for node in found
        ],
    )


def _ago(node: NodeStatus) -> str:
    return f"{duration_text(round(node.silent_s))} ago"


def show_queues(found: list[QueueStatus], *, is_json: bool) -> None:
    """Print the classes of jobs."""
    if is_json:
        as_json(found)
    else:
        table(
            ("queue", "queued jobs", "runnable lines", "wake-ups", "bound"),
            [tuple(asdict(queue).values()) for queue in found],
        )


def show_config(*, is_json: bool) -> None:
    """Print every effective setting of the client and of the API, its value and its source.

    Raises:
        Exit: With 125, after everything has been shown, when a setting is wrong.
    """
    shown = explain_api()
    if is_json:
        as_json(shown)
    else:
        table(("setting", "value", "source"), [(s.name, s.value, s.source) for s in shown])
    wrong = [s for s in shown if s.fault is not None]
    for setting in wrong:
        say(f"leasebox: LEASEBOX_{setting.name.upper()} ({setting.source}): {setting.fault}")
    if wrong:
        raise typer.Exit(OURS)
