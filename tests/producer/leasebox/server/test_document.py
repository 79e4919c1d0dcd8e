"""Is the OpenAPI document true? Schemathesis asks every route what the document allows and what it does not."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from leasebox.config import ApiSettings
from leasebox.server import create_app

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.fixture(scope="module")
def document() -> Any:
    """The document."""
    return create_app(ApiSettings(url="redis://127.0.0.1:1/0", _env_file=None)).openapi()


def test_every_route_of_the_contract_is_there_and_none_that_does_nothing(document: Any):
    routes = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}

    assert routes >= {
        "POST /v1/jobs", "GET /v1/jobs", "GET /v1/jobs/{job}", "DELETE /v1/jobs/{job}", "GET /v1/jobs/{job}/events",
        "POST /v1/jobs/{job}/cancel", "POST /v1/sessions", "GET /v1/sessions", "GET /v1/sessions/{name}",
        "DELETE /v1/sessions/{name}", "POST /v1/sessions/{name}/touch", "POST /v1/sessions/{name}/jobs",
        "POST /v1/jobs/{job}/stdin", "GET /v1/jobs/{job}/artifacts/{path}", "POST /v1/blobs",
        "GET /v1/sessions/{name}/files", "POST /v1/sessions/{name}/files", "GET /v1/sessions/{name}/files/{path}",
        "PUT /v1/sessions/{name}/files/{path}", "DELETE /v1/sessions/{name}/files/{path}",
        "GET /v1/sessions/{name}/metrics",
        "POST /v1/batches", "GET /v1/batches/{batch}", "POST /v1/batches/{batch}/jobs",
        "GET /v1/batches/{batch}/events", "GET /v1/batches/{batch}/results",
        "POST /v1/batches/{batch}/cancel", "POST /v1/batches/{batch}/seal",
        "GET /v1/webhooks", "POST /v1/webhooks/{job}/replay", "POST /v1/webhooks/test",
        "GET /v1/profiles", "GET /v1/nodes", "GET /v1/queues", "GET /healthz", "GET /readyz", "GET /metrics",
    }  # fmt: skip


def test_every_refusal_is_a_problem_document(document: Any):
    wrong = [
        (path, method, status)
        for path, methods in document["paths"].items()
        for method, route in methods.items()
        for status, answer in route["responses"].items()
        if int(status) >= 400 and path != "/readyz" and list(answer["content"]) != ["application/problem+json"]
    ]

    assert wrong == []
    assert document["openapi"].startswith("3.1")


def _waits(document: Any) -> Iterator[Any]:
    for methods in document["paths"].values():
        for route in methods.values():
            yield from (given for given in route.get("parameters", []) if given["name"] == "wait")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phases", "examples"), [("fuzzing", 5), pytest.param("examples,coverage,fuzzing", 25, marks=pytest.mark.long)]
)
@pytest.mark.timeout(600)
def test_schemathesis_finds_nothing(http: httpx2.Client, tmp_path: Path, phases: str, examples: int):
    document = http.get("/openapi.json").json()
    # A stream of a queued job has no end; its own tests read it.
    document["paths"].pop("/v1/jobs/{job}/events")
    # Here is no worker: what waits for one would wait to its end. Live systems have these in tests/acceptance.
    document["paths"].pop("/v1/sessions/{name}/files/{path}")
    document["paths"].pop("/v1/sessions/{name}/files")
    for wait in _waits(document):
        wait["schema"]["maximum"] = 1
    place = tmp_path / "openapi.json"
    place.write_text(json.dumps(document))
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "run", str(place), "--url", str(http.base_url).rstrip("/"),
        "--checks", CHECKS, "--phases", phases, "--max-examples", str(examples), "--seed", "1",
        "--generation-database", "none", "--no-color",
    ]  # fmt: skip

    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=500, cwd=tmp_path, env={**os.environ}
    )

    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
