"""Which paths does a glob of a job's `artifacts` mean? Pure; `*` and `?` stay within a name, `**` crosses folders."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

_ANY = "**"


def matcher(globs: Sequence[str]) -> Callable[[str], bool]:
    """Whether a path, relative to /workspace, is meant by one of the globs. A folder's name does not mean its files."""
    patterns = [_parts(glob) for glob in globs]
    return lambda path: any(_is_meant(pattern, path.split("/")) for pattern in patterns)


def _parts(glob: str) -> list[str]:
    parts = glob.split("/")
    return [*parts, "*"] if parts[-1] == _ANY else parts


def _is_meant(pattern: Sequence[str], names: Sequence[str]) -> bool:
    """Walk all ways through the pattern at once: the time is bounded by both lengths, whatever the pattern is."""
    places = _reached({0}, pattern)
    for name in names:
        going = {place for place in places if place < len(pattern)}
        stay = {place for place in going if pattern[place] == _ANY}
        step = {place + 1 for place in going - stay if fnmatchcase(name, pattern[place])}
        places = _reached(stay | step, pattern)
    return len(pattern) in places


def _reached(places: set[int], pattern: Sequence[str]) -> set[int]:
    """With the places behind each `**`, which may stand for nothing."""
    found = set(places)
    for place in range(len(pattern)):
        if place in found and pattern[place] == _ANY:
            found.add(place + 1)
    return found
