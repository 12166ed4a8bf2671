"""How answers are written: JSON that any text survives in, refusals in one shape, events as they come."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from unnoise.serve.refusals import Refused

STREAM = {"content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no"}


class Json(Response):
    """JSON in ASCII: half a surrogate or a control character that a request brought cannot break it."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def refusal(error: Refused, param: str | None = None) -> Json:
    """{"error": {message, type, code, param}}, the shape that OpenAI's clients read."""
    kind = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
    told = {"message": error.message, "type": kind.get(error.status, "invalid_request_error"), "code": error.code,
            "param": param}  # fmt: skip
    headers = {} if error.retry is None else {"retry-after": str(error.retry)}
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return Json({"error": told}, error.status, headers)


def event(name: str | None, told: Mapping[str, Any], number: int | None = None) -> bytes:
    """One server-sent event (HTML Living Standard, 9.2)."""
    lines = [] if number is None else [f"id: {number}"]
    lines += [] if name is None else [f"event: {name}"]
    return ("\n".join([*lines, f"data: {json.dumps(told, allow_nan=False)}"]) + "\n\n").encode()


PING = b": still here\n\n"

__all__ = ["PING", "STREAM", "Json", "event", "refusal"]
