"""The service without its transport: jobs are accepted, watched, cancelled, and their results handed out."""

import asyncio
import base64
import hashlib
import json
import math
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from unnoise.config import UserError
from unnoise.run import Run
from unnoise.serve import logs
from unnoise.serve.apart import Apart
from unnoise.serve.conditions import check_guides
from unnoise.serve.messages import News, Stepper
from unnoise.serve.metrics import Metrics
from unnoise.serve.models import Models
from unnoise.serve.order import Order, order
from unnoise.serve.refusals import Refused, busy, wrong
from unnoise.serve.results import archive, picture
from unnoise.serve.schema import LAST_SEED, JobRequest
from unnoise.serve.settings import Settings
from unnoise.serve.steps import Here
from unnoise.serve.store import Record, Store
from unnoise.serve.task import Task
from unnoise.serve.track import DONE, ENDS, FAILED, QUEUED, Bells, Track
from unnoise.serve.uploads import from_base64
from unnoise.serve.worker import Worker
from unnoise.tensor import Tensor

T = TypeVar("T")


class Service:
    """Everything behind the routes. Coroutines are for the event loop that `start` was called on."""

    def __init__(self, folders: Mapping[str, Path], settings: Settings):
        self.settings, self.metrics, self._bells = settings, Metrics(), Bells()
        self.steps: Stepper = Apart(self._heard, torch.get_num_threads()) if settings.apart else Here(self._heard)
        self.models = Models(folders, settings, self.steps.send)
        self._store = Store(settings.data)
        self._drawing = ThreadPoolExecutor(2, thread_name_prefix="pictures")
        self.worker = Worker(self.models, self.steps, settings, self.metrics, self._bells, self._ended, self._seen)
        self._tracks: dict[str, Track] = {}
        self.accepting, self.until = False, math.inf  # until: when a stop's patience ends
        self._pruned = 0.0
        for gauge, number in (
            (self.metrics.waiting, lambda: self.worker.waiting),
            (self.metrics.under_way, lambda: self.worker.under_way),
            (self.metrics.jobs, lambda: len(self._tracks)),
            (self.metrics.models, lambda: sum(self.models.state(name) is not None for name in self.models.names)),
        ):
            gauge.set_function(number)

    def start(self) -> None:
        """Begins, and goes on with what was left undone."""
        self._bells.hang(asyncio.get_running_loop())
        for record, image, mask in self._store.unfinished():
            self._again(record, image, mask)
        self.steps.start()
        self.models.get(self.models.names[0])  # is at hand when it is asked for
        self.worker.start()
        self.accepting = True

    def drain(self) -> None:
        """Accepts nothing more, and ends the streams of those who listen; from any thread."""
        if self.accepting:
            self.accepting, self.until = False, time.monotonic() + self.settings.patience
            self._bells.ring(list(self._tracks.values()))

    async def stop(self) -> None:
        """Ends what is under way if it can within the patience; what is not done is done after the next start."""
        self.drain()
        await asyncio.to_thread(self.worker.stop, max(0.0, self.until - time.monotonic()))
        await asyncio.to_thread(self.steps.stop)
        await asyncio.to_thread(self._drawing.shutdown)
        await asyncio.to_thread(self._store.close)
        self._bells.hang(None)

    @property
    def ready(self) -> bool:
        """Whether the first model is at hand and steps are taken."""
        late = time.monotonic() - self.worker.beat > max(60.0, 2 * self.settings.watch)
        first = self.models.state(self.models.names[0])
        return self.accepting and self.worker.is_alive() and self.steps.is_alive() and first is not None and not late

    async def accept(
        self,
        asked: JobRequest,
        owner: str,
        idempotency: str | None = None,
        image: bytes | None = None,
        mask: bytes | None = None,
    ) -> tuple[Track, bool]:
        """A new job under way, or the one that the same request has made before, and which of the two it is.

        image, mask: as they are, where they are not in the request in base64. Raises Refused.
        """
        if not self.accepting:
            raise Refused(503, "stopping", "the server is stopping", 5)
        deadline = min(asked.deadline or self.settings.deadline, self.settings.longest)
        self._check_room(deadline)
        image = from_base64(asked.image, "image") if asked.image is not None else image
        mask = from_base64(asked.mask, "mask") if asked.mask is not None else mask
        model, run = self.models.entry(asked.model)
        count = self._count(asked)
        digest = _digest(asked, image, mask)
        seeds = asked.seeds or [secrets.randbelow(LAST_SEED) for _ in range(count)]
        asked = asked.model_copy(update={"image": None, "mask": None, "seeds": seeds, "model": model})
        made = await asyncio.to_thread(self._order, run, asked, image, mask)
        self._check_room(deadline, made.rows * count)
        record = Record(secrets.token_hex(12), owner, model, asked.model_dump(mode="json"), QUEUED, time.time(),
                        idempotency=idempotency, digest=digest)  # fmt: skip
        track = Track(record.id, owner, model, count, record.created)
        track.tell("queued", {"place": None})
        self._tracks[record.id] = track
        try:
            kept = await asyncio.wrap_future(self._store.add(record, image, mask))
        except BaseException:
            del self._tracks[record.id]
            raise
        if kept.id != record.id:
            del self._tracks[record.id]
            if kept.digest != digest:
                raise Refused(409, "idempotency_conflict", "this Idempotency-Key came with another request before")
            return await self.track(kept.id, owner), False
        self.worker.submit(Task(track, made, time.monotonic() + deadline))
        await self._prune()
        return track, True

    def full(self) -> Refused | None:
        """Why no job at all is taken now, if none is."""
        if len(self._tracks) < self.settings.queue:
            return None
        wait = self.worker.left / (self.worker.rate or math.inf)
        return busy(f"{len(self._tracks)} jobs are under way or wait, which is as many as are taken", wait)

    def _check_room(self, deadline: float, rows: int = 0) -> None:
        """Raises where so many wait that this would wait in vain."""
        if why := self.full():
            raise why
        rate = self.worker.rate or math.inf
        wait, own = self.worker.left / rate, rows / rate
        if wait > 0 and wait + own > deadline:
            raise busy(f"what is before it takes {wait:.1f} s, and its deadline is {deadline:g} s",
                       min(wait, wait + own - deadline))  # fmt: skip

    def _count(self, asked: JobRequest) -> int:
        count = asked.samples or (len(asked.seeds) if asked.seeds else 1)
        if asked.seeds and len(asked.seeds) != count:
            raise wrong(f"{count} samples of {len(asked.seeds)} seeds: give one of the two, or one seed a sample")
        if count > self.settings.samples:
            raise wrong(f"{count} samples are asked for, and {self.settings.samples} are allowed", "too_much")
        return count

    def _order(self, run: Run, asked: JobRequest, image: bytes | None, mask: bytes | None) -> Order:
        try:
            if asked.guidance is not None:
                check_guides(asked.guidance)
            return order(run, asked, asked.seeds or [], image, mask, self.settings)
        except UserError as error:
            raise wrong(str(error)) from None
        except (ValueError, ArithmeticError, LookupError, TypeError, AssertionError) as error:
            # an option of the right type that its rule cannot be written out with
            raise wrong(f"these settings make no plan: {' '.join(str(error).split())[:200]}") from None

    def _again(self, record: Record, image: bytes | None, mask: bytes | None) -> None:
        """A job that the last process left undone, by the same seeds; its deadline counts anew."""
        track = Track(record.id, record.owner, record.model, len(record.request["seeds"]), record.created)
        track.tell("queued", {"place": None})
        try:
            asked = JobRequest(**record.request)
            model, run = self.models.entry(record.model)
            made = self._order(run, asked, image, mask)
        except (ValueError, Refused) as error:
            self._over(track, FAILED, str(error))
            return
        track.model = model
        self._tracks[record.id] = track
        deadline = min(asked.deadline or self.settings.deadline, self.settings.longest)
        self.worker.submit(Task(track, made, time.monotonic() + deadline))

    async def track(self, job: str, owner: str) -> Track:
        """Where a job of an owner stands. Raises Refused where there is none of that name."""
        found = self._tracks.get(job)
        if found is None:
            record = await self._record(job, owner)
            found = Track(job, owner, record.model, len(record.request["seeds"]), record.created)
            found.error, found.failures = record.error, {int(k): v for k, v in (record.failures or {}).items()}
            found.end(record.state, self._last(found), record.number) if record.state in ENDS else None
        if found.owner != owner:
            raise _nobody(job)
        return found

    async def newest(self, owner: str, count: int) -> list[Track]:
        """The last jobs of an owner, the newest first."""
        records = await asyncio.wrap_future(self._store.newest(owner, count))
        return [await self.track(record.id, owner) for record in records]

    async def cancel(self, job: str, owner: str) -> Track:
        """Ends a job before its next step, if it has not ended."""
        track = await self.track(job, owner)
        self.worker.cancel(job)
        while not track.ended and job in self._tracks:
            await self.listen(track, 1.0)
        return track

    async def listen(self, track: Track, patience: float) -> bool:
        """Waits for news of a job; whether there were any."""
        track.listeners += 1
        try:
            return await track.changed(patience)
        finally:
            track.listeners -= 1

    async def result(self, job: str, owner: str) -> tuple[Record, bytes]:
        """A finished job and the archive of what it has drawn. Raises Refused where there is none (yet)."""
        track = self._tracks.get(job)
        if track is not None and track.owner == owner:
            raise Refused(409, "not_done", f"the job is {track.state}", 1)
        record = await self._record(job, owner)
        if record.state == "expired":
            raise Refused(504, "deadline", "the job's deadline has passed")
        if record.state == FAILED:
            raise Refused(422, "failed", record.error or "every sample has failed")
        if record.state != DONE:
            raise Refused(409, "not_done", f"the job is {record.state}")
        data = await asyncio.to_thread(self._store.result, record)
        if data is None:
            raise Refused(410, "gone", "the result is not kept any more: send the request again with its seeds")
        return record, data

    async def _record(self, job: str, owner: str) -> Record:
        record = await asyncio.wrap_future(self._store.get(job))
        if record is None or record.owner != owner:
            raise _nobody(job)
        return record

    def _heard(self, news: News) -> None:
        self.worker.hear(news)

    # From the thread that gives places

    def _ended(self, task: Task, state: str) -> None:
        self._drawing.submit(self._guarded, partial(self._keep, task, state), task)

    def _seen(self, task: Task, beliefs: dict[int, tuple[int, Tensor]]) -> None:
        self._drawing.submit(self._guarded, partial(self._preview, task, beliefs), None)

    # In threads of their own

    def _guarded(self, work: Callable[[], None], task: Task | None) -> None:
        """An error here must leave no job without an end."""
        try:
            work()
        except Exception as error:
            logs.error("pictures", error)
            if task is not None and not task.track.ended:
                self._over(task.track, FAILED, f"{type(error).__name__}: {error}")

    def _preview(self, task: Task, beliefs: dict[int, tuple[int, Tensor]]) -> None:
        if task.track.ended:
            return
        modality = self.models.entry(task.track.model)[1].recipe.modality
        for sample, (row, x0) in beliefs.items():
            made = picture(modality, x0.cpu())
            told: dict[str, Any] = {"sample": sample, "step": row, "of": task.order.plan.rows}
            if made is None:
                told["values"] = [round(value, 5) for value in x0.flatten().tolist()]
            else:
                told["png"] = base64.b64encode(made).decode()
            task.track.tell("preview", told, f"preview {sample}")
        self._bells.ring([task.track])

    def _keep(self, task: Task, state: str) -> None:
        track, weights, sha256, size = task.track, "", None, None
        track.failures = dict(sorted(task.failed.items()))
        if state == DONE and task.model is not None:
            model = task.model
            common = {**task.order.settings, "weights": model.weights, "bits": model.bits.told}
            settings = {i: {**common, **task.order.each[i]} for i in task.found}
            data = archive(model.run.recipe.modality, task.found, settings)
            weights, sha256, size = model.weights, self._store.keep(track.job, data), len(data)
        error = next(iter(track.failures.values()), "") if state == FAILED else ""
        self._over(track, state, error, weights, sha256, size)

    def _over(
        self, track: Track, state: str, error: str = "", weights: str = "", sha256: str | None = None,
        size: int | None = None,
    ) -> None:  # fmt: skip
        """Writes down how a job has ended, then tells it."""
        number, track.error = track.next(), error
        written = self._store.end(track.job, state, number, error, track.failures, weights, sha256, size)

        def told(_: Any) -> None:
            self._tracks.pop(track.job, None)
            track.end(state, self._last(track), number)
            self.metrics.outcomes.labels(state).inc()
            self.metrics.job.labels(state).observe(time.monotonic() - track.begun)
            self._bells.ring([track])

        written.add_done_callback(told)

    def _last(self, track: Track) -> dict[str, Any]:
        told: dict[str, Any] = {"samples": track.samples - len(track.failures)}
        if track.failures:
            told["failures"] = {str(k): v for k, v in track.failures.items()}
        return told | ({"error": track.error} if track.error else {})

    async def _prune(self) -> None:
        """Forgets old results, once in a while."""
        if time.monotonic() - self._pruned > 60:
            self._pruned = time.monotonic()
            await asyncio.to_thread(self._store.prune, time.time() - self.settings.keep)


def _nobody(job: str) -> Refused:
    return Refused(404, "job_not_found", "there is no job of this name")


def _digest(asked: JobRequest, image: bytes | None, mask: bytes | None) -> str:
    """What a request is, so that one key never stands for two."""
    said = json.dumps(asked.model_dump(mode="json", exclude={"image", "mask"}), sort_keys=True).encode()
    return hashlib.sha256(b"\0".join([said, image or b"", mask or b""])).hexdigest()


__all__ = ["Service"]
