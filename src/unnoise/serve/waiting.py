"""A request that stays until its job has ended."""

import time

from starlette.requests import Request

from unnoise.serve.refusals import Refused
from unnoise.serve.service import Service
from unnoise.serve.track import Track


async def until_ended(request: Request, service: Service, track: Track, cancel: bool) -> None:
    """Waits for a job's end; it is cancelled where it is this request's own and the client hangs up."""
    while not track.ended:
        if await service.listen(track, 1.0):
            continue
        if cancel and await request.is_disconnected():
            await service.cancel(track.job, track.owner)
            return
        if time.monotonic() > service.until:
            raise Refused(503, "stopping", f"the server is stopping; job {track.job} goes on after its next start", 5)


__all__ = ["until_ended"]
