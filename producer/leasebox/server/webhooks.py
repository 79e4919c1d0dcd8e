"""Routes of webhooks: what was delivered, once more, and to try a receiver."""

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from leasebox import _webhooks
from leasebox._webhooks import Delivery
from leasebox.contract.callbacks import MAX_URL
from leasebox.contract.errors import StreamTimeout
from leasebox.server.bodies import StrictRoute
from leasebox.server.models import BODY, JobId, answer, problems
from leasebox.server.service import ReadJobs, WriteJobs

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], route_class=StrictRoute)
Subject = Annotated[str, Query(alias="job", min_length=1, max_length=64, description="Id of a job or a batch.")]
TRIED_WITHIN_S = 20.0
"""A worker looks each second and waits 5 s for an answer; the rest is for those before it."""
_LOOK_S = 0.1


class Receiver(BaseModel):
    """A receiver to try."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(min_length=1, max_length=MAX_URL)


@router.get("", response_model=list[Delivery], responses=problems(404, 422))
async def list_deliveries(subject: Subject, desk: ReadJobs) -> Response:
    """The last 100 attempts to deliver the end of a job or a batch, in their order."""
    found = await desk.run(_webhooks.deliveries(desk.service.keys, desk.tenant, subject))
    return JSONResponse([one.model_dump() for one in found])


@router.post("/{job}/replay", status_code=202, response_model=None, responses=problems(404, 409, 422))
async def replay_delivery(job: JobId, desk: WriteJobs) -> Response:
    """Deliver the end of a job or a batch once more, under the same id."""
    await desk.run(_webhooks.replay(desk.service.keys, desk.tenant, job))
    return Response(status_code=202)


@router.post("/test", response_model=Delivery, responses=problems(*BODY, 409, 504))
async def try_receiver(receiver: Receiver, desk: WriteJobs) -> Response:
    """Send a signed message of type `test` to a URL, once, and say what came of it."""
    trial = await desk.run(_webhooks.try_out(desk.service.keys, desk.tenant, receiver.url))
    desk.notes["target"] = trial.host  # the rest of a URL may be secret
    deadline = time.monotonic() + TRIED_WITHIN_S
    while not (found := await desk.run(_webhooks.tried(desk.service.keys, trial.id))):
        if time.monotonic() > deadline:
            raise StreamTimeout(f"no worker has sent it within {TRIED_WITHIN_S:g} s")
        await asyncio.sleep(_LOOK_S)
    return answer(found[-1])
