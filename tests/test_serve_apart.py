"""Steps in a process of their own: the same bytes, and a process that dies takes no job along but a deadly one."""

import io
import os
import signal
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from serving import served, trained

import unnoise as un
from unnoise.distill.head import Law
from unnoise.serve.apart import Apart
from unnoise.serve.messages import Begin, Cancel, GaveUp, Look, Open, Opened, Submit, Turn
from unnoise.serve.steps import Here

LINUX = pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="the process is found by Linux' means")
LONG = {"steps": 300, "sampler": "ddpm", "seeds": [3, 4], "label": 5, "format": "npy", "deadline": 100}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("runs") / "digits")


@pytest.fixture(scope="module")
def client(run, tmp_path_factory):
    with served(tmp_path_factory.mktemp("data"), run.folder, apart=True) as client:
        yield client


def drawn(client, **asked):
    """The numbers of a job that is done."""
    job = client.post("/v1/jobs?wait=true", json=asked).json()
    assert job["status"] == "done", job
    with zipfile.ZipFile(io.BytesIO(client.get(f"/v1/jobs/{job['id']}/result?format=zip").content)) as whole:
        return np.load(io.BytesIO(whole.read("samples.npy")), allow_pickle=False)


def ended(client, job):
    """Where a job stands that neither waits nor is under way any more."""
    while (told := client.get(f"/v1/jobs/{job}").json())["status"] in ("queued", "running"):
        time.sleep(0.02)
    return told


def bits(client):
    return client.get("/v1/models").json()["data"][0]["bits"]


def strike(client):
    """Kills the process that takes the steps, once it takes some."""
    service, end = client.app.state.service, time.monotonic() + 60
    while not any(track.steps[0] for track in list(service._tracks.values())):
        assert time.monotonic() < end
        time.sleep(0.005)
    tasks = Path("/proc/self/task").iterdir()
    children = [child for task in tasks for child in (task / "children").read_text().split()]
    [pid] = [child for child in children if "serve.apart" in Path(f"/proc/{child}/cmdline").read_text()]
    os.kill(int(pid), signal.SIGKILL)


def test_the_same_request_gives_the_same_bytes_wherever_the_steps_are_taken(client, run, tmp_path):
    """Noise, several guides, a plan of many rows: to the bit, as the class of bits is the same."""
    drawn(client)
    data = tmp_path / "data"
    data.mkdir()
    (data / "bits.json").write_bytes((client.app.state.service.settings.data / "bits.json").read_bytes())
    asked = [{"sampler": sampler, "steps": 7, "label": [1, 2, 9], "seeds": [5, 6, 2**63], "guidance": guidance}
             for sampler, guidance in (("ddpm", 1), ("dpmpp_2m_sde", 2.5), ("heun", "apg weight=3"))]  # fmt: skip
    with served(data, run.folder) as here:
        for one in asked:
            assert np.array_equal(drawn(client, **one), drawn(here, **one))
        assert bits(here) == bits(client)


def test_previews_come_from_there(client):
    """Every step's belief is told to who listens."""
    job = client.post("/v1/jobs", json={"steps": 40, "sampler": "ddim", "seeds": [1]}).json()["id"]
    text = client.get(f"/v1/jobs/{job}/events").text
    assert text.count("event: preview") >= 2
    assert "event: done" in text


@LINUX
def test_a_process_that_dies_takes_no_job_along(client):
    """All that was under way is drawn anew, to the same bytes."""
    calm = drawn(client, **LONG)
    job = client.post("/v1/jobs", json=LONG).json()["id"]
    strike(client)
    assert ended(client, job)["status"] == "done"
    again = np.load(io.BytesIO(client.get(f"/v1/jobs/{job}/result").content), allow_pickle=False)
    assert np.array_equal(again, calm)


@LINUX
@pytest.mark.slow
def test_a_job_under_which_it_dies_twice_has_failed(client):
    """Others go on."""
    calm = drawn(client, **LONG)
    job = client.post("/v1/jobs", json={**LONG, "steps": 1000}).json()["id"]
    strike(client)
    while client.get(f"/v1/jobs/{job}").json()["status"] == "running":  # until the end is heard of
        time.sleep(0.002)
    strike(client)
    told = ended(client, job)
    assert told["status"] == "failed"
    assert "has ended by itself (signal SIGKILL)" in str(told)
    assert np.array_equal(drawn(client, **LONG), calm)


class Told:
    """What a loop tells, and a wait for what is looked for."""

    def __init__(self, run, kind, tmp_path):
        self.news = []
        self.loop = kind(self.news.append)
        self.loop.start()
        self.loop.send(Open(1, run.folder, "cpu", tmp_path / "bits.json", 8))
        assert self.until(Opened).bits is not None
        self.loop.send(Begin(1, 1, "", 4, (4,)))

    def until(self, kind, fits=lambda news: True):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for news in list(self.news):
                if isinstance(news, kind) and fits(news):
                    return news
            time.sleep(0.002)
        raise AssertionError(self.news)


@pytest.mark.parametrize("kind", [Here, lambda tell: Apart(tell, 1)], ids=["here", "apart"])
def test_the_loop_keeps_its_word(run, kind, tmp_path):
    """First rows are seen and later ones where looked for; what is cancelled goes; what cannot be begun is told."""
    told = Told(run, kind, tmp_path)
    label = {"label": torch.tensor([3, 4]), "guidance": torch.ones(2, dtype=torch.float64)}
    job = un.Job(run.plan("ddim", 12), run.recipe.shape, [1, 2], label)
    told.loop.send(Submit(1, 7, job))
    done = told.until(Turn, lambda turn: turn.found)
    turns = [news for news in told.news if isinstance(news, Turn)]
    assert [turn.rows for turn in turns] == [{(7, 0): row, (7, 1): row} for row in range(1, 13)]
    assert [sorted(turn.beliefs) for turn in turns] == [[(7, 0), (7, 1)], *[[]] * 11]
    alone = un.loop.Engine(run.guided({"kind": "cfg"}), sizes=(4,)).run(job)
    assert torch.equal(torch.stack([done.found[7, 0], done.found[7, 1]]), alone)
    told.news.clear()
    told.loop.send(Submit(1, 8, un.Job(run.plan("ddim", 999), run.recipe.shape, [1, 2], label)))
    told.until(Turn)
    told.loop.send(Look(1, 8))
    told.until(Turn, lambda turn: turn.beliefs and max(turn.rows.values()) > 1)
    told.loop.send(Cancel(1, 8))
    told.loop.send(Begin(2, 1, "autoguidance items=64", 4, (4,)))
    assert "no weights were kept after 64 items" in told.until(GaveUp).reason
    told.news.clear()
    told.loop.send(Submit(1, 9, un.Job(run.plan("ddim", 1), (2, 3), [1], {})))
    assert told.until(Turn, lambda turn: turn.failed).failed.keys() == {(9, 0)}
    assert not any((8, 0) in turn.rows for turn in told.news)
    told.loop.stop()


def test_a_plan_and_a_law_go_to_another_process_whole(run):
    import pickle

    plan = run.plan("dpmpp_2m_sde", 5)
    plan.specialise()
    copy = pickle.loads(pickle.dumps(plan))
    assert copy == plan
    assert copy.digest == plan.digest
    law = Law.of(torch.randn(40, 3, 2, generator=torch.Generator().manual_seed(0)))
    law.on(torch.zeros(1))
    assert pickle.loads(pickle.dumps(law)).digest == law.digest
