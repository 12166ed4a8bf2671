"""OpenAI's image routes, over the same jobs: generations, and edits of a picture with a mask."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.datastructures import UploadFile

from unnoise.reading.decode import Limits
from unnoise.run import Run
from unnoise.serve.answers import PING, STREAM, Json, event
from unnoise.serve.asking import Owner, service_of
from unnoise.serve.conditions import prompted
from unnoise.serve.events import QUIET
from unnoise.serve.refusals import Refused, wrong
from unnoise.serve.results import name, part
from unnoise.serve.schema import Guidance, JobRequest, Name, Seed
from unnoise.serve.service import Service
from unnoise.serve.track import Track
from unnoise.serve.uploads import clear_parts
from unnoise.serve.waiting import until_ended

router = APIRouter()


class Generation(BaseModel):
    """What images.generate of OpenAI's clients sends, and beside it (extra_body) what unnoise can be told."""

    model_config = ConfigDict(extra="forbid")

    prompt: Annotated[str, StringConstraints(max_length=4000)] = Field(description="A label, or nothing: '' or '*'.")
    model: Name | None = None
    n: int = Field(1, ge=1, le=4096)
    size: Annotated[str, StringConstraints(pattern=r"^(auto|[0-9]{1,4}x[0-9]{1,4})$")] = Field(
        "auto", description="WIDTHxHEIGHT; auto: the model's own."
    )
    response_format: Literal["b64_json"] = "b64_json"
    output_format: Literal["png"] = "png"
    stream: bool = False
    partial_images: int = Field(0, ge=0, le=3)
    user: Annotated[str, StringConstraints(max_length=200)] | None = None
    quality: Literal["auto"] = "auto"
    background: Literal["auto", "opaque"] = "auto"
    seeds: list[Seed] | None = Field(None, max_length=4096)
    sampler: Name | None = None
    steps: int | None = Field(None, ge=1, le=100_000)
    guidance: Guidance | None = None
    strength: float | None = Field(None, gt=0, le=1)
    deadline: float | None = Field(None, gt=0, le=86400)

    def job(self, run: Run) -> JobRequest:
        """The job that it asks for."""
        width, _, height = ("", "", "") if self.size == "auto" else self.size.partition("x")
        return JobRequest(
            model=self.model, samples=None if self.seeds and self.n == 1 else self.n, seeds=self.seeds or None,
            size=f"{height}x{width}" if width else None, sampler=self.sampler,
            steps=self.steps, guidance=self.guidance, strength=self.strength, deadline=self.deadline,
            **prompted(run, self.prompt),
        )  # type: ignore[arg-type]  # fmt: skip


@router.post("/v1/images/generations")
async def generations(request: Request, asked: Generation, owner: Owner) -> Response:
    """Pictures of a prompt, in base64; with stream, as events with partial pictures before them."""
    if asked.strength is not None:
        raise wrong("a strength is of an image, and none was given")
    return await _answer(request, asked, owner, "image_generation")


WORDS = ("prompt", "model", "n", "size", "stream", "partial_images", "steps", "strength")
FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image", "prompt"],
                    "properties": {
                        "image": {"type": "string", "format": "binary"},
                        "mask": {"type": "string", "format": "binary"},
                        **{
                            name: {"type": "string"}
                            for name in (
                                "prompt",
                                "model",
                                "n",
                                "size",
                                "stream",
                                "partial_images",
                                "steps",
                                "strength",
                            )
                        },
                    },
                }
            }
        },
    }
}


@router.post("/v1/images/edits", openapi_extra=FORM)
async def edits(request: Request, owner: Owner) -> Response:
    """A picture drawn anew where its mask (or it itself) is transparent; without a mask all of it, by `strength`."""
    image = mask = None
    fields: dict[str, Any] = {}
    async with request.form(max_files=2, max_fields=32, max_part_size=1 << 16) as form:
        for key, value in form.multi_items():
            if isinstance(value, UploadFile):
                if key in ("image", "image[]") and image is None:
                    image = await value.read()
                elif key == "mask" and mask is None:
                    mask = await value.read()
                else:
                    raise wrong("one image is edited, with one mask")
            else:
                fields[key] = value
    if image is None:
        raise wrong("an edit is of an image: send one as the form's file 'image'")
    if "seeds" in fields:
        fields["seeds"] = [seed.strip() for seed in fields["seeds"].split(",")]
    try:
        asked = Generation(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))[:100]
        raise Refused(422, "invalid_request", f"{where}: {first['msg']}"[:300]) from None
    if mask is None:
        limits = service_of(request).settings
        mask = await asyncio.to_thread(clear_parts, image, "image", Limits(limits.upload, limits.body))
    return await _answer(request, asked, owner, "image_edit", image, mask)


async def _answer(
    request: Request, asked: Generation, owner: str, kind: str, image: bytes | None = None, mask: bytes | None = None
) -> Response:
    service = service_of(request)
    _, run = service.models.entry(asked.model)
    if run.recipe.modality.name != "image":
        raise wrong(f"{run.recipe.name} draws no pictures: ask POST /v1/jobs for its numbers")
    try:
        job = asked.job(run)
    except ValidationError as error:
        raise Refused(422, "invalid_request", f"prompt: {error.errors()[0]['msg']}") from None
    track, _ = await service.accept(job, owner, None, image, mask)
    request.state.job = track.job
    if asked.stream:
        made = _stream(request, service, track, kind, asked.partial_images)
        return StreamingResponse(made, headers=STREAM)
    await until_ended(request, service, track, cancel=True)
    pictures = await _pictures(service, track)
    return Json({"created": int(track.created), "output_format": "png", "data": [{"b64_json": p} for p in pictures]})


async def _pictures(service: Service, track: Track) -> list[str]:
    """The pictures of a job that has ended, in base64. Raises Refused where it has none."""
    if track.state == "cancelled":
        raise Refused(409, "cancelled", "the job was cancelled")
    record, data = await service.result(track.job, track.owner)
    if record.failures:
        sample, reason = next(iter(record.failures.items()))
        raise Refused(422, "failed", f"sample {sample}: {reason}")
    return [base64.b64encode(part(data, name(sample)) or b"").decode() for sample in range(track.samples)]


async def _stream(request: Request, service: Service, track: Track, kind: str, partial: int) -> AsyncIterator[bytes]:
    """Partial pictures of the first sample at equal shares of its way, then every picture."""
    last = sent = 0
    common = {"created_at": int(time.time()), "output_format": "png"}
    track.listeners += 1
    try:
        while True:
            ended = track.ended
            for news in track.after(last):
                last = news.number
                told = news.told
                if news.name != "preview" or told["sample"] != 0 or sent >= partial:
                    continue
                if told["step"] * (partial + 1) >= told["of"] * (sent + 1):
                    named = f"{kind}.partial_image"
                    yield event(named, {"type": named, "b64_json": told["png"], "partial_image_index": sent, **common})
                    sent += 1
            if ended:
                break
            if time.monotonic() > service.until:
                raise Refused(503, "stopping", "the server is stopping", 5)
            if not await track.changed(QUIET):
                yield PING
        for picture in await _pictures(service, track):
            named = f"{kind}.completed"
            yield event(named, {"type": named, "b64_json": picture, **common})
    except Refused as error:
        yield event("error", {"type": "error", "error": {"message": error.message, "code": error.code}})
    finally:
        track.listeners -= 1
        if not track.ended:  # the client has hung up
            service.worker.cancel(track.job)


__all__ = ["router"]
