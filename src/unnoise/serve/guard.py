"""What stands before every route: request ids, hosts, how much and how many at a time; logs and counts behind it."""

import asyncio
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException

from unnoise.serve import logs
from unnoise.serve.answers import refusal
from unnoise.serve.keys import Keys
from unnoise.serve.metrics import Metrics
from unnoise.serve.refusals import Refused, busy
from unnoise.serve.settings import Settings

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
LOCAL = ("localhost", "127.0.0.1", "::1", "testserver")
JOBS = ("/v1/jobs", "/v1/images/generations", "/v1/images/edits")
SLOW = 30.0  # seconds for a request's body


class Guard:
    """ASGI around ASGI. Where no keys are set the browser's own rules are the only lock: then other hosts' names
    (DNS rebinding) and other pages' requests are refused."""

    def __init__(
        self, app: App, settings: Settings, keys: Keys, metrics: Metrics, logged: bool = True,
        full: Callable[[], Refused | None] = lambda: None,
    ):  # fmt: skip
        """logged: a line in the log for each request; full: why no job at all is taken now, which a request for one is
        told before it is read."""
        self._app, self._settings, self._keys, self._metrics = app, settings, keys, metrics
        self._logged, self._full, self._open = logged, full, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        given = headers.get(b"x-request-id", "")
        request = given if ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request"] = request
        begun, status = time.perf_counter(), 0

        async def told(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request.encode()), *SAFE]
                self._metrics.answer.labels(_route(scope)).observe(time.perf_counter() - begun)
            await send(message)

        self._open += 1
        try:
            self._check(scope, headers)
            await self._app(scope, _Body(receive, self._settings.body), told)
        except Refused as error:
            if not status:
                await refusal(error)(scope, receive, told)
        except Exception as error:  # a mistake of ours: told in the log, and to the client without its inside
            logs.error("request", error, request=request)
            if not status:
                await refusal(Refused(500, "internal", "the server has made a mistake"))(scope, receive, told)
        finally:
            self._open -= 1
            self._metrics.answers.labels(_route(scope), status).inc()
            if self._logged:
                logs.say("request", request=request, method=scope["method"], path=scope["path"][:200], status=status,
                         owner=scope["state"].get("owner"), job=scope["state"].get("job"),
                         seconds=round(time.perf_counter() - begun, 4))  # fmt: skip

    def _check(self, scope: Scope, headers: dict[bytes, str]) -> None:
        if self._open > self._settings.connections:
            raise busy(f"more than {self._settings.connections} requests are open", 1, "too_many_connections")
        length = headers.get(b"content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self._settings.body:
            raise _too_long(self._settings.body)
        if self._keys.open:
            host = urlsplit(f"//{headers.get(b'host', '')}").hostname if _plain(headers.get(b"host", "")) else None
            if host not in LOCAL:
                raise Refused(421, "wrong_host", "without keys the server is for this machine: ask it as localhost")
            origin = headers.get(b"origin")
            if origin is not None and origin != f"{scope.get('scheme', 'http')}://{headers.get(b'host')}":
                raise Refused(403, "wrong_origin", "without keys no page of another origin may ask")
        if self._keys.open and scope["method"] == "POST" and scope["path"] in JOBS and (why := self._full()):
            raise why  # where there are keys, who asks is found out first


SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
)


class _Body:
    """A request's body as it comes: as much of it as is allowed, and as slowly."""

    def __init__(self, receive: Receive, most: int):
        self._receive, self._most, self._seen = receive, most, 0
        self._until: float | None = time.monotonic() + SLOW  # None: it is whole

    async def __call__(self) -> MutableMapping[str, Any]:
        if self._until is None:
            return await self._receive()  # that the client has gone
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._until - time.monotonic()))
        except (TimeoutError, asyncio.TimeoutError):
            raise HTTPException(408, "the request was not sent in time") from None
        self._seen += len(message.get("body", b""))
        if self._seen > self._most:
            raise HTTPException(413, _too_long(self._most).message)
        if not message.get("more_body", False):
            self._until = None
        return message


def _too_long(most: int) -> Refused:
    return Refused(413, "too_long", f"a request has {most:,} bytes at most")


def _plain(host: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z0-9.\-]+(:\d{1,5})?|\[[0-9a-fA-F:]+\](:\d{1,5})?", host))


def _route(scope: Scope) -> str:
    """The pattern of a path, not the path: counts have few names."""
    return getattr(scope.get("route"), "path", "none")


__all__ = ["Guard"]
