"""The page's own files, and the rules that a browser holds it to."""

from collections.abc import Mapping
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import Response

from unnoise.serve.refusals import Refused

HERE = Path(__file__).parent / "page"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
RULES = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


def files() -> Mapping[str, Path]:
    """What there is, by the name it is asked for: no request's text is ever a path."""
    return {path.relative_to(HERE).as_posix(): path for path in HERE.rglob("*") if path.suffix in TYPES}


def attach(app: FastAPI) -> None:
    """/ is the page, /page/... its parts. Nothing here is secret, so no key is asked for."""
    known = files()

    def answer(name: str) -> Response:
        if name not in known:
            raise Refused(404, "not_found", "the page has no such part")
        path = known[name]
        kind = f"{TYPES[path.suffix]}; charset=utf-8"
        return Response(path.read_bytes(), headers=RULES, media_type=kind)

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return answer("index.html")

    @app.get("/favicon.ico", include_in_schema=False)
    async def favicon() -> Response:
        return answer("mark.svg")

    @app.get("/page/{name:path}", include_in_schema=False)
    async def part(name: str) -> Response:
        return answer(name)


__all__ = ["RULES", "attach", "files"]
