"""Which profiles a node serves: operator-owned presets of image, languages, limits and network."""

import hashlib
import json
from dataclasses import asdict, dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Profile:
    """A preset; sizes in bytes, times in seconds. Meanings: CONTRACT.md section 2."""

    name: str
    image: str = "leasebox/python"
    languages: tuple[str, ...] = ("python", "bash")
    cpus: float = 2.0
    memory_bytes: int = 512 * MIB
    disk_bytes: int = 192 * MIB
    tmp_bytes: int = 64 * MIB
    pids: int = 128
    open_files: int = 1024
    timeout_s: float = 30.0
    max_timeout_s: float = 3600.0
    output_bytes: int = 256 << 10
    stream_bytes: int = 64 * MIB
    seccomp: str = "default"
    network: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    env_allow: tuple[str, ...] = ()


BUILT_IN = {
    profile.name: profile
    for profile in (
        Profile("default"),
        Profile("lightweight", cpus=1.0, memory_bytes=256 * MIB, disk_bytes=96 * MIB, tmp_bytes=32 * MIB),
        Profile("heavy-compute", cpus=4.0, memory_bytes=2048 * MIB, disk_bytes=960 * MIB, tmp_bytes=64 * MIB),
    )
}


def published(profiles: dict[str, Profile]) -> dict[str, str]:
    """What clients read for their early checks: name to JSON with all fields and a digest of the whole set."""
    bodies = {name: asdict(profile) for name, profile in sorted(profiles.items())}
    digest = hashlib.sha256(json.dumps(bodies, sort_keys=True).encode()).hexdigest()[:16]
    return {name: json.dumps({**body, "digest": digest}, sort_keys=True) for name, body in bodies.items()}
