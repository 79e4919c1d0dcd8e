"""Which files did a job make or change, and which of them are kept after its sandbox is gone?"""

import json
import mimetypes
from collections.abc import Mapping, Sequence

from leasebox.contract.blobs import MAX_BLOB_BYTES
from leasebox.contract.errors import GuestProtocolError, SandboxDied
from leasebox.contract.files import MAX_ARTIFACTS, MAX_ARTIFACTS_BYTES, MAX_NEW_FILES
from leasebox.contract.result import Artifact, Outcome
from leasebox_worker.engine import errand
from leasebox_worker.engine.attempt import Attempt
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.globs import matcher
from leasebox_worker.engine.left import Found, shown
from leasebox_worker.engine.outcome import Ended
from leasebox_worker.engine.packed import PackedReader
from leasebox_worker.guestlink.stdin import chunked
from leasebox_worker.lifecycle.blobs import ArtifactWriter

COLLECT_WITHIN_S = errand.within_s(MAX_ARTIFACTS_BYTES)
OCTETS = "application/octet-stream"


def look(attempt: Attempt) -> Mapping[str, Found]:
    """The files that are there before a job starts which asks for artifacts; a new sandbox has none."""
    if not attempt.spec.artifacts or not (attempt.work.session or attempt.spec.files):
        return {}
    return _files(attempt) or {}


def collect(attempt: Attempt, ended: Ended, before: Mapping[str, Found], deps: Deps) -> None:
    """Keep what the job's globs name, and note what is new or changed. What goes wrong is told in `left.message`."""
    if not attempt.spec.artifacts or ended.outcome is Outcome.CANCELLED or not attempt.is_sandbox_alive:
        return
    left = attempt.left
    try:
        after = _files(attempt)
        if after is None:
            left.message = "artifacts: the workspace could not be looked through"
            return
        changed = [path for path, found in after.items() if before.get(path) != found]
        left.new_files = [shown(path) for path in changed[:MAX_NEW_FILES]]
        wanted, refused = choose(list(after.values()), attempt.spec.artifacts, left.artifacts)
        if len(changed) > MAX_NEW_FILES:
            refused = [f"{len(changed)} files are new or changed, {MAX_NEW_FILES} are listed", *refused]
        refused += _keep(attempt, wanted, deps)
        left.message = f"artifacts: {'; '.join(refused[:4])}" if refused else ""
    except (SandboxDied, GuestProtocolError) as exc:
        # The program has ended: its outcome stands, though the sandbox is of no use any more.
        attempt.is_sandbox_alive = False
        left.message = f"artifacts: {exc}"


def choose(
    files: Sequence[Found], globs: Sequence[str], kept: Sequence[Artifact] = ()
) -> tuple[list[Found], list[str]]:
    """Which files are kept, in order of their paths, and what to say of those that are meant but beyond a bound.

    Args:
        kept: What the job has shown, which has its place among the artifacts already.
    """
    is_meant = matcher(globs)
    chosen: list[Found] = []
    refused: list[str] = []
    total_bytes = sum(artifact.size_bytes for artifact in kept)
    taken = {artifact.path for artifact in kept}
    names: set[str] = set()
    meant = sorted((found for found in files if is_meant(found.path)), key=lambda found: found.path)
    for found in meant:
        if found.size_bytes > MAX_BLOB_BYTES:
            refused.append(f"{found.path!r} has {found.size_bytes} bytes, at most {MAX_BLOB_BYTES} are kept")
        elif shown(found.path) in taken:
            refused.append(f"{found.path!r} has the name of what the job has shown")
        elif shown(found.path) in names:
            # Names that are no UTF-8 may be shown alike, and whoever asked for one would get the other's bytes.
            refused.append(f"{found.path!r} is shown by the same name as another one")
        elif len(chosen) + len(kept) == MAX_ARTIFACTS:
            refused.append(f"{len(meant)} files match, at most {MAX_ARTIFACTS} are kept")
            break
        elif total_bytes + found.size_bytes > MAX_ARTIFACTS_BYTES:
            refused.append(f"{found.path!r} would make them more than {MAX_ARTIFACTS_BYTES} bytes together")
        else:
            chosen.append(found)
            names.add(shown(found.path))
            total_bytes += found.size_bytes
    return chosen, refused


def _files(attempt: Attempt) -> dict[str, Found] | None:
    """The regular files of the workspace by path; None if they could not be told."""
    answer = bytearray()
    exited, _ = errand.run(attempt, "file", ("scan",), sink=answer.extend, most_bytes=errand.ANSWER_BYTES)
    if exited.code != 0 or exited.limit is not None:
        return None
    try:
        return {
            str(path): Found(str(path), int(size_bytes), str(mark)) for path, size_bytes, mark in json.loads(answer)
        }
    except (ValueError, TypeError) as exc:
        raise GuestProtocolError("the agent told no files") from exc


def _keep(attempt: Attempt, wanted: Sequence[Found], deps: Deps) -> list[str]:
    """Copy files out, one behind the other; what to say if that failed."""
    if not wanted:
        return []
    paths, new_writer = [found.path for found in wanted], deps.tracker.blobs.writers(attempt.work)
    reader = PackedReader(paths, new_writer, lambda path, writer: attempt.left.artifacts.append(_kept(path, writer)))
    total_bytes = sum(found.size_bytes for found in wanted)
    exited, said = errand.run(
        attempt,
        "file",
        ("pack",),
        stdin=chunked(json.dumps(paths).encode()),
        sink=reader.add,
        most_bytes=total_bytes + errand.HEADERS_BYTES,
        time_s=errand.within_s(total_bytes),
    )
    if reader.open_sink is not None:
        reader.open_sink.drop()
    if exited.code == 0 and exited.limit is None:
        return []
    return [errand.failure(exited, said, f"there are more than {MAX_ARTIFACTS_BYTES} bytes")[1]]


def _kept(told: str, writer: ArtifactWriter) -> Artifact:
    written, path = writer.end(), shown(told)
    kind = mimetypes.guess_type(path)[0] or OCTETS
    return Artifact(path=path, size_bytes=written.size_bytes, sha256=written.sha256, content_type=kind)
