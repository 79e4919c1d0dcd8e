"""How does an error look over HTTP? As a problem document (RFC 9457) with our code, a hint and the request's id."""

import logging
import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from leasebox import _quota
from leasebox.contract.errors import BrokerUnavailable, ConfigError, LeaseboxError
from leasebox.contract.faults import faults_text, fields_of, meant, told_of
from leasebox.server.rates import rates_of

MEDIA_TYPE = "application/problem+json"
log = logging.getLogger("leasebox.server")
_CODES = {400: "invalid_spec", 403: "forbidden", 404: "not_found", 405: "method_not_allowed", 408: "timeout"}
_CODES |= {413: "invalid_spec", 415: "invalid_spec", 422: "invalid_spec"}
_BACK_IN_S = 1.0


class FieldError(BaseModel):
    """One wrong field: of the body (`pointer`, RFC 6901 as a fragment) or a parameter."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


class Problem(BaseModel):
    """A refusal; `code` names it for programs, the same as in Python.

    Of a 429, `quota` and `bound` name the bound that is reached; `position` is how many jobs a full queue holds.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str | None = None
    request_id: str | None = None
    retry_after_s: float | None = None
    quota: str | None = None
    bound: float | None = None
    position: int | None = None
    errors: list[FieldError] = []


def request_id(scope: Any) -> str | None:
    """The id of the request, which `gate` has given it."""
    found = scope.get("state", {}).get("request_id")
    return found if isinstance(found, str) else None


def _noted(problem: Problem, scope: Any) -> Problem:
    # For the audit log, which is told of a request when it has been answered.
    scope.setdefault("state", {})["refused"] = problem.code
    return problem


def problem_of(error: LeaseboxError, scope: Any) -> Problem:
    """The document for one of our errors; of what is behind the API it says no more than that it failed."""
    status, detail, hint = error.http_status, error.detail, error.hint
    if isinstance(error, BrokerUnavailable) or (isinstance(error, ConfigError) and status >= 500):
        log.warning("%s %s", error.code, error)
        detail, hint = "the queue does not answer", "try again; repeat a submit with the same Idempotency-Key"
    members = _quota.members(error)
    if status in (429, 503) and members.get("retry_after_s") is None:
        members["retry_after_s"] = _BACK_IN_S
    rates_of(scope).refused(members)
    made = Problem(
        type=f"urn:leasebox:error:{error.code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=error.code,
        hint=hint,
        request_id=request_id(scope),
        **members,
    )
    return _noted(made, scope)


def refusal(status: int, detail: str, scope: Any, *, hint: str | None = None, code: str | None = None) -> Problem:
    """The document for what HTTP itself refuses."""
    made = Problem(
        type=f"urn:leasebox:error:{code or _CODES.get(status, 'leasebox_error')}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code or _CODES.get(status, "leasebox_error"),
        hint=hint,
        request_id=request_id(scope),
    )
    return _noted(made, scope)


def answer(problem: Problem) -> Response:
    """The document as a response."""
    headers = {"Cache-Control": "no-store"}
    if problem.status in (429, 503):
        headers["Retry-After"] = str(max(1, math.ceil(problem.retry_after_s or _BACK_IN_S)))
    if problem.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="leasebox"'
    content = problem.model_dump_json(exclude_none=True)
    return Response(content, problem.status, headers, media_type=MEDIA_TYPE)


def field_errors(errors: Sequence[Any]) -> list[FieldError]:
    """Wrong fields without their values, which may be secret."""
    found = [_field_error(error) for error in meant(errors)[:32]]
    return [error for number, error in enumerate(found) if error not in found[:number]]


def _field_error(error: Any) -> FieldError:
    where, *path = error["loc"] or ("body",)
    what = told_of(error | {"loc": tuple(path)})
    if where != "body":
        return FieldError(detail=what, parameter=".".join(str(part) for part in path))
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in fields_of(tuple(path)))
    return FieldError(detail=what, pointer="#" + "".join(f"/{part}" for part in parts))


def install(app: FastAPI) -> None:
    """Answer every error of the application with a problem document."""

    @app.exception_handler(LeaseboxError)
    async def _ours(request: Request, error: LeaseboxError) -> Response:
        return answer(problem_of(error, request.scope))

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        return _invalid_fields(request, error.errors())

    @app.exception_handler(ValidationError)
    async def _invalid_model(request: Request, error: ValidationError) -> Response:
        return _invalid_fields(request, [{**e, "loc": ("body", *e["loc"])} for e in error.errors()])

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        response = answer(refusal(error.status_code, str(error.detail), request.scope))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def _unforeseen(request: Request, error: Exception) -> Response:  # noqa: ARG001
        # Starlette's outermost middleware asks this and then raises the error again, for the server to log.
        response = answer(refusal(500, "the API failed; its log says more", request.scope))
        response.headers["X-Request-Id"] = request_id(request.scope) or ""
        return response


def _invalid_fields(request: Request, errors: Sequence[Any]) -> Response:
    made = refusal(422, faults_text([error | {"loc": tuple(error["loc"][1:])} for error in errors]), request.scope)
    return answer(made.model_copy(update={"errors": field_errors(errors)}))
