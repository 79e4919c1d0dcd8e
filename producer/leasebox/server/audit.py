"""Route of the audit log: its entries, for the operator."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response

from leasebox import _audit
from leasebox.server.models import PageSize, problems
from leasebox.server.service import Admin

router = APIRouter(tags=["installation"])


@router.get("/v1/audit", response_model=list[dict[str, Any]], responses=problems(422))
async def read_audit(
    desk: Admin,
    limit: PageSize = 50,
    after: Annotated[int | None, Query(ge=0, lt=1 << 53, description="Number of the last entry that was seen.")] = None,
) -> Response:
    """The newest entries of the audit log, the oldest of them first; or those behind `after`."""
    keys = desk.service.keys
    flow = _audit.newest(keys, limit) if after is None else _audit.after(keys, after, limit)
    return JSONResponse(await desk.run(flow))
