"""The routes that the page asks beside those for jobs: trainings to watch, and why a model draws as it does."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from unnoise import run as runs
from unnoise.config import UserError
from unnoise.reading.decode import Limits
from unnoise.run import Run
from unnoise.serve import static, understanding, watching
from unnoise.serve.asking import Owner, service_of
from unnoise.serve.conditions import check_guides, each, told
from unnoise.serve.desk import Desk
from unnoise.serve.order import planned
from unnoise.serve.refusals import Refused, wrong
from unnoise.serve.schema import PICTURE, JobRequest, Name
from unnoise.serve.settings import Settings, version
from unnoise.serve.uploads import encoded, from_base64

T = TypeVar("T")
VIEWS = ("draw", "compare", "keep", "understand", "inpaint", "watch")
LONGEST = 256  # evaluations of a way that is shown

watch, studio = APIRouter(prefix="/v1"), APIRouter(prefix="/v1/studio")


class Item(BaseModel):
    """One thing that a model drew, or might have: a picture in base64, or the numbers of a row in raw units."""

    model_config = ConfigDict(extra="forbid")

    model: Name | None = None
    image: str | None = Field(None, max_length=PICTURE)
    values: list[Annotated[float, Field(allow_inf_nan=False)]] | None = Field(None, max_length=4096)


def attach(app: FastAPI, served: Mapping[str, Path], local: bool, draws: bool = True) -> None:
    """The page and its routes. served: the runs to watch; local: those beside them too, as only this machine asks.

    draws: whether there is a service behind; else the page watches alone.
    """
    app.state.watched = partial(watching.folders, served, local)
    app.state.views = VIEWS if draws else ("watch", "keep")
    static.attach(app)
    app.include_router(watch)
    if draws:
        app.state.desk = Desk()
        app.include_router(studio)


@watch.get("/page", include_in_schema=False)
async def offered(request: Request) -> dict[str, Any]:
    """What there is to see, and whether a key is asked for."""
    state = request.app.state
    return {"version": version(), "keys": not state.keys.open, "views": list(state.views)}


@watch.get("/runs")
async def list_runs(request: Request, owner: Owner) -> dict[str, Any]:
    """Trainings, under way or over: how far each is."""
    found = request.app.state.watched()
    told = await asyncio.gather(*(asyncio.to_thread(watching.summary, *entry) for entry in found.items()))
    return {"object": "list", "data": told}


@watch.get("/runs/{run}")
async def get_run(request: Request, run: str, owner: Owner) -> dict[str, Any]:
    """One of them: its curves, its pictures, what its numbers say."""
    return await asyncio.to_thread(watching.told, run, _folder(request, run))


@watch.get("/runs/{run}/{kind}/{items}.png", response_class=Response)
async def run_picture(
    request: Request, run: str, kind: Literal["samples", "frames"], items: int, owner: Owner
) -> Response:
    """What was drawn after so many items."""
    if not 0 <= items < 10**12:
        raise Refused(404, "no_picture", "nothing was drawn then")
    data = await asyncio.to_thread(watching.shot, _folder(request, run), kind, items)
    return Response(data, media_type="image/png")


def _folder(request: Request, run: str) -> Path:
    found = request.app.state.watched()
    if run not in found:
        raise Refused(404, "run_not_found", "there is no run of this name")
    return found[run]


@studio.get("/models/{model}")
async def surroundings(request: Request, model: str, owner: Owner) -> dict[str, Any]:
    """What a model's numbers mean: names, ranges, real rows."""
    return await _worked(request, lambda: understanding.surroundings(_run(request, model)))


@studio.post("/plan")
async def plan(request: Request, asked: JobRequest, owner: Owner) -> dict[str, Any]:
    """The schedule, and the table that these settings write."""
    run = _run(request, asked.model)
    return await _worked(request, lambda: understanding.planned(run, *planned(run, asked, _limits(request))))


@studio.post("/error")
async def error(request: Request, asked: JobRequest, owner: Owner) -> dict[str, Any]:
    """The exact error that these settings promise, beside other samplers'."""
    run = _run(request, asked.model)
    return await _worked(
        request, lambda: understanding.promised(run, *planned(run, asked, _limits(request)), asked.guidance)
    )


@studio.post("/trajectory")
async def trajectory(request: Request, asked: JobRequest, owner: Owner) -> dict[str, Any]:
    """One sample's way from noise, moment by moment."""
    run = _run(request, asked.model)
    seeds, limits = asked.seeds or [0], _limits(request)
    if asked.guidance is not None:
        check_guides(asked.guidance)
    telling = run.recipe.telling

    def work() -> dict[str, Any]:
        (words,) = each(run, asked, 1)
        said = {"label": words.get("label"), telling.text or "text": words.get("text"), **words.get("tell", {})}
        given = {name: value for name, value in said.items() if value is not None}
        told(run, asked, 1)  # what cannot be told is said as it is of a job
        _, plan = planned(run, asked, limits)
        if plan.rows > LONGEST:
            raise wrong(f"a way is shown of {LONGEST} evaluations at most: take fewer steps", "too_much")
        return understanding.way(run, plan, seeds[0], given, asked.guidance)

    return await _worked(request, work)


@studio.post("/nearest")
async def nearest(request: Request, asked: Item, owner: Owner) -> dict[str, Any]:
    """The training items that come nearest to one item: is it a copy?"""
    run, settings = _run(request, asked.model), service_of(request).settings
    image = None if asked.image is None else from_base64(asked.image, "image")

    def work() -> dict[str, Any]:
        if image is not None:
            x0 = encoded(run, image, run.recipe.shape, Limits(settings.upload, settings.body))
            return understanding.copies(run, run.recipe.modality.quantise(x0))
        if asked.values is None:
            raise wrong("an item is a picture or numbers: give image or values")
        return understanding.copies(run, understanding.raw_of(run, asked.values))

    return await _worked(request, work)


def _run(request: Request, model: str | None) -> Run:
    """The run as it is served; one that is not at hand is opened for this question alone."""
    models = service_of(request).models
    name, run = models.entry(model)
    return run if models.state(name) is not None else runs.open(run.folder, run.device)


def _limits(request: Request) -> Settings:
    return service_of(request).settings


async def _worked(request: Request, work: Callable[[], T]) -> T:
    """When its turn has come; what cannot be made of a request is the request's mistake."""
    desk: Desk = request.app.state.desk
    try:
        return await desk.ask(work)
    except (Refused, UserError):
        raise
    except (ValueError, ArithmeticError, LookupError, TypeError, AssertionError) as error:
        raise wrong(f"these settings make no plan: {' '.join(str(error).split())[:200]}") from None


__all__ = ["attach"]
