"""The routes: jobs, models, health. What they do is the service's."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response, StreamingResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from unnoise.config import UserError
from unnoise.serve import openai, studio
from unnoise.serve.answers import STREAM, Json, refusal
from unnoise.serve.asking import Owner, service_of
from unnoise.serve.catalogue import described
from unnoise.serve.events import last_seen, stream
from unnoise.serve.guard import Guard
from unnoise.serve.keys import Keys
from unnoise.serve.rates import Rates
from unnoise.serve.refusals import Refused, wrong
from unnoise.serve.results import NUMBERS, name, part
from unnoise.serve.schema import Format, JobRequest
from unnoise.serve.service import Service
from unnoise.serve.settings import Settings, version
from unnoise.serve.track import EXPIRED, FAILED, Track
from unnoise.serve.waiting import until_ended

TYPES = {"png": "image/png", "npy": "application/octet-stream", "zip": "application/zip"}


def create(folders: Mapping[str, Path], settings: Settings) -> FastAPI:
    """The application; its service is at app.state.service, and lives from startup to shutdown."""
    service, keys = Service(folders, settings), Keys(settings.keys)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        service.start()
        yield
        await asyncio.to_thread(app.state.desk.close)
        await service.stop()

    app = FastAPI(title="unnoise", version=version(), lifespan=lifespan, default_response_class=Json,
                  docs_url=None, redoc_url=None, redirect_slashes=False)  # fmt: skip
    app.state.service, app.state.keys = service, keys
    app.state.rates = Rates(settings.rate, settings.burst)
    app.add_middleware(Guard, settings=settings, keys=keys, metrics=service.metrics, full=service.full)
    answer_errors(app)
    _jobs(app)
    _others(app)
    app.include_router(openai.router)
    studio.attach(app, folders, local=keys.open)
    return app


def answer_errors(app: FastAPI) -> None:
    """What is wrong with a request is told in one shape, whoever finds it."""
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(UserError, _mistaken)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


def _jobs(app: FastAPI) -> None:
    @app.post("/v1/jobs", status_code=202, dependencies=[Depends(HTTPBearer(auto_error=False))])
    async def create_job(
        request: Request,
        asked: JobRequest,
        owner: Owner,
        idempotency_key: Annotated[str | None, Header(max_length=200, pattern=r"^[!-~]+$")] = None,
        wait: Annotated[bool, Query(description="Answer when the job has ended.")] = False,
    ) -> Response:
        """Begins a job: 202, and where to look for it."""
        service = service_of(request)
        track, new = await service.accept(asked, owner, idempotency_key)
        request.state.job = track.job
        headers = {"location": f"/v1/jobs/{track.job}"}
        if not wait:
            return Json(told(track), 202 if new else 200, headers)
        await until_ended(request, service, track, cancel=new)
        return Json(told(track), 504 if track.state == EXPIRED else 200, headers)

    @app.get("/v1/jobs")
    async def list_jobs(
        request: Request, owner: Owner, limit: Annotated[int, Query(ge=1, le=200)] = 50
    ) -> dict[str, Any]:
        """The last jobs of a key, the newest first."""
        return {"object": "list", "data": [told(track) for track in await service_of(request).newest(owner, limit)]}

    @app.get("/v1/jobs/{job}")
    async def get_job(request: Request, job: str, owner: Owner) -> dict[str, Any]:
        """Where a job stands."""
        return told(await service_of(request).track(job, owner))

    @app.delete("/v1/jobs/{job}")
    async def cancel_job(request: Request, job: str, owner: Owner) -> dict[str, Any]:
        """Ends a job before its next step; one that has ended stays as it is."""
        return told(await service_of(request).cancel(job, owner))

    @app.get("/v1/jobs/{job}/events")
    async def events(
        request: Request, job: str, owner: Owner, last_event_id: Annotated[str | None, Header()] = None
    ) -> Response:
        """News as server-sent events: queued, step, preview; then done, failed, cancelled or expired."""
        service = service_of(request)
        track = await service.track(job, owner)
        return StreamingResponse(stream(service, track, last_seen(last_event_id)), headers=STREAM)

    @app.get("/v1/jobs/{job}/result")
    async def result(
        request: Request,
        job: str,
        owner: Owner,
        format: Annotated[Format | None, Query(description="What the job asked for, if silent.")] = None,
        sample: Annotated[int, Query(ge=0, le=4096, description="Which one, of png.")] = 0,
    ) -> Response:
        """What a job has drawn: one picture, the numbers of all, or an archive of both."""
        record, data = await service_of(request).result(job, owner)
        kind = format or record.request["format"]
        file = {"png": name(sample), "npy": NUMBERS, "zip": ""}[kind]
        body = data if kind == "zip" else await asyncio.to_thread(part, data, file)
        if body is None and kind == "png":
            raise Refused(404, "no_picture", f"sample {sample} of this job is no picture; see format=npy and failures")
        assert body is not None
        given = file or f"{record.id}.zip"
        headers = {"content-disposition": f'inline; filename="{given}"', "x-unnoise-weights": record.weights}
        return Response(body, media_type=TYPES[kind], headers=headers)


def _others(app: FastAPI) -> None:
    @app.get("/v1/models")
    async def models(request: Request, owner: Owner) -> dict[str, Any]:
        """What can be drawn from, and what each can be told."""
        service = service_of(request)
        return {"object": "list", "data": [described(service, model) for model in service.models.names]}

    @app.get("/v1/models/{model}")
    async def model(request: Request, model: str, owner: Owner) -> dict[str, Any]:
        """One of them."""
        service = service_of(request)
        return described(service, service.models.entry(model)[0])

    @app.get("/metrics")
    async def metrics(request: Request, owner: Owner) -> Response:
        """Counts and times for Prometheus."""
        return Response(service_of(request).metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        """That the process answers."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def ready(request: Request) -> Response:
        """Whether jobs would be done now: 200, or 503."""
        fine = service_of(request).ready
        return Json({"status": "ready" if fine else "not ready"}, 200 if fine else 503)


def told(track: Track) -> dict[str, Any]:
    """A job as it is shown."""
    found: dict[str, Any] = {
        "id": track.job,
        "object": "job",
        "model": track.model,
        "status": track.state,
        "samples": track.samples,
        "created": round(track.created, 3),
    }
    if track.state == "running":
        found["progress"] = {"done": track.steps[0], "of": track.steps[1]}
    if track.state == "queued":
        found["place"] = track.place
    if track.failures:
        found["failures"] = {str(sample): reason for sample, reason in track.failures.items()}
    if track.state == FAILED:
        found["error"] = track.error
    links = {"events": f"/v1/jobs/{track.job}/events", "result": f"/v1/jobs/{track.job}/result"}
    return {**found, "links": links}


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return refusal(error)


async def _mistaken(_: Request, error: Exception) -> Response:
    return refusal(wrong(str(error)))


async def _invalid(_: Request, error: Exception) -> Response:
    """The first thing that is wrong with a request; what was given is not repeated."""
    assert isinstance(error, RequestValidationError)
    first, *others = error.errors()
    where = ".".join(str(part)[:50] for part in first["loc"] if part not in ("body", "query", "header", "path"))
    said = f"{where}: {first['msg']}" if where else str(first["msg"])
    field = JobRequest.model_fields.get(str(first["loc"][1]) if len(first["loc"]) > 1 else "")
    if field is not None and field.description and any(other["loc"][:2] == first["loc"][:2] for other in others):
        said = f"{first['loc'][1]} is none of what it may be: {field.description}"  # it may be of several kinds
    return refusal(Refused(422, "invalid_request", said[:300]), where or None)


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    made = refusal(Refused(error.status_code, "http_error", str(error.detail)))
    made.headers.update(error.headers or {})
    return made


__all__ = ["answer_errors", "create", "told"]
