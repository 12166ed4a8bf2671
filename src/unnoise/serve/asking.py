"""Who asks, and how often: what every route that is not for everyone depends on."""

from typing import Annotated, TypeAlias

from fastapi import Depends, Request

from unnoise.serve.refusals import Refused
from unnoise.serve.service import Service


def service_of(request: Request) -> Service:
    """The service behind a request's application."""
    return request.app.state.service


async def owner(request: Request) -> str:
    """Whose request this is. Raises Refused where no key fits, or where it comes too often."""
    state = request.app.state
    found = state.keys.owner(request.headers.get("authorization"))
    if found is None:
        state.service.metrics.refused.labels("key").inc()
        raise Refused(401, "invalid_api_key", "no such key: send one as Authorization: Bearer KEY")
    request.state.owner = found
    wait = state.rates.take(found)
    if wait:
        state.service.metrics.refused.labels("rate").inc()
        raise Refused(429, "rate_limit_exceeded", "too many requests of this key", wait)
    return found


Owner: TypeAlias = Annotated[str, Depends(owner)]

__all__ = ["Owner", "owner", "service_of"]
