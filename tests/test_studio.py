"""What the page is told is what the library computes: plans, errors, ways, neighbours, trainings."""

import base64
import io
import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata

import numpy as np
import PIL.Image
import pytest
from serving import copied, served, trained
from starlette.testclient import TestClient

from unnoise.conformance import judge
from unnoise.metrics.neighbours import match
from unnoise.report import grids
from unnoise.serve import beside, desk, understanding, watching


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("runs") / "digits")


@pytest.fixture(scope="module")
def client(run, tmp_path_factory):
    with served(tmp_path_factory.mktemp("data"), run.folder) as client:
        yield client


def asked(client, route, **body):
    answer = client.post(f"/v1/studio/{route}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_plan_told_is_the_plan_walked(client, run):
    told = asked(client, "plan", sampler="dpmpp_2m_sde", steps=7, grid="logsnr")
    plan = run.plan("dpmpp_2m_sde", 7, "logsnr")
    assert told["digest"] == plan.digest[:16]
    assert told["evaluations"] == plan.rows
    assert told["stochastic"]
    assert np.allclose(told["rows"]["t"], [*plan.t, plan.end], atol=1e-5)
    base = next(group for group in told["groups"] if group["name"].startswith("new base"))
    used = [name == "base" or name == "noise" or name.startswith("m") for name in base["columns"]]
    assert all(used)
    whole = np.asarray(plan.base)
    assert np.allclose(base["values"], whole[:, (whole != 0).any(axis=0)], rtol=1e-5)


def test_the_error_promised_is_that_of_algebra(client, run):
    """judge.distance on the training data's own spectrum, as a share of their deviation."""
    told = asked(client, "error", sampler="heun", steps=5)
    items = run.recipe.source.split("train")
    x = run.recipe.modality.encode(items.take(np.arange(min(2000, len(items))))[0]).flatten(1).double().numpy()
    mean, variance = judge.spectrum_of(x)
    wanted = judge.distance(run.plan("heun", 5), run.recipe.process.schedule, mean, variance)
    assert told["on"] == "training data"
    assert np.isclose(told["here"]["error"], wanted / np.sqrt(variance.mean()), rtol=1e-9)
    assert told["here"]["evaluations"] == run.plan("heun", 5).rows
    assert set(told["curves"]) == {"heun", "ddim", "dpmpp_2m"}


def test_a_way_ends_in_the_sample_and_begins_in_noise(client, run):
    told = asked(client, "trajectory", sampler="ddim", steps=6, seeds=[11], label=4, guidance=2)
    sample = run.sample(seeds=[11], sampler="ddim", steps=6, label=4, guidance=2)[0]
    last = PIL.Image.open(io.BytesIO(base64.b64decode(told["states"][-1]["png"])))
    assert (
        np.abs(np.asarray(last).astype(int) - np.asarray(sample).astype(int)).max() <= 16
    )  # a level, if rounding tips
    assert told["times"] == sorted(told["times"], reverse=True)
    assert len(told["states"]) == len(told["beliefs"]) == len(told["logsnr"]) == 7


def test_neighbours_are_the_nearest_and_a_copy_is_called_one(client, run):
    train = run.recipe.source.split("train").items
    picture = grids.png(run.recipe.modality.show(run.recipe.modality.encode(train[3:4]))[0])
    told = asked(client, "nearest", image=base64.b64encode(picture).decode())
    assert told["copy"]
    assert told["items"][0]["distance"] == 0
    far = np.zeros((8, 8), np.uint8)
    far[::2] = 255
    told = asked(client, "nearest", image=base64.b64encode(grids.png(far)).decode())
    raw = run.recipe.modality.quantise(
        run.recipe.modality.encode(run.recipe.modality.batch([PIL.Image.fromarray(far)]))
    )
    _, distance = match(raw, train)
    assert not told["copy"]
    assert np.isclose(told["items"][0]["distance"], distance[0], atol=1e-3)
    distances = [one["distance"] for one in told["items"]]
    assert distances == sorted(distances)
    for one in told["items"]:  # each is as far as it is said to be
        assert np.isclose(np.linalg.norm(train[one["index"]].astype(float) - raw[0]), one["distance"], atol=1e-3)
    assert len({one["index"] for one in told["items"]}) == len(distances)


@pytest.mark.parametrize(
    ("route", "body", "says"),
    [
        ("plan", {"sampler": "hein"}, "heun"),
        ("plan", {"steps": 5000}, "1000 are allowed"),
        ("error", {"sampler": "tuned"}, "first: unnoise tune digits"),
        ("trajectory", {"steps": 900}, "256"),
        ("trajectory", {"steps": 3, "label": "eleven"}, "eleven"),
        ("nearest", {"image": "%%%"}, "base64"),
        ("nearest", {"image": "AAAA"}, "no picture"),
        ("nearest", {"values": [1.0, 2.0]}, "shape"),
        ("nearest", {}, "image or values"),
        ("plan", {"model": "nobody"}, "no model"),
    ],
)
def test_what_cannot_be_told_is_the_requests_mistake(client, route, body, says):
    answer = client.post(f"/v1/studio/{route}", json=body)
    assert answer.status_code in (400, 404, 422), answer.text
    assert says in answer.json()["error"]["message"]


def test_the_page_and_its_parts_are_served_under_strict_rules(client):
    page = client.get("/")
    assert page.status_code == 200
    rules = page.headers["content-security-policy"]
    assert "default-src 'none'" in rules
    assert "unsafe" not in rules
    assert client.get("/page/js/main.js").headers["content-type"].startswith("text/javascript")
    for name in ("../app.py", "..%2fapp.py", "js/../../app.py", "/etc/passwd", "js"):
        assert client.get(f"/page/{name}").status_code == 404, name


def test_trainings_are_told_as_their_folders_have_them(run, tmp_path):
    folder = copied(run.folder, tmp_path / "runs" / "one")
    other = copied(run.folder, tmp_path / "runs" / "two words")  # no name that a path of the page could have
    assert other.exists()
    broken = tmp_path / "runs" / "broken"
    broken.mkdir()
    (broken / "recipe.yaml").write_text("- nothing\n")
    picture = grids.png(np.zeros((4, 4), np.uint8))
    for items in (128, 256):
        (folder / "samples" / "frames").mkdir(parents=True, exist_ok=True)
        (folder / "samples" / "frames" / f"{items:012d}.png").write_bytes(picture)
    (folder / "metrics.json").write_text(json.dumps({"verdict": "Fine.", "items": 256}))
    with served(tmp_path / "data", folder) as client:
        listed = {one["name"]: one for one in client.get("/v1/runs").json()["data"]}
        assert set(listed) == {"one", "broken"}
        assert listed["broken"]["state"] == "damaged"
        assert "damaged" in listed["broken"]["trouble"]
        told = client.get("/v1/runs/one").json()
        assert told["state"] == "finished"
        assert told["items"] == run.history[-1]["items"]
        assert told["loss_curve"] == [[row["items"], row["loss"]] for row in run.history if "loss" in row]
        assert told["verdict"] == {"sentence": "Fine.", "items": 256}
        assert told["advice"]
        assert told["film"] == [128, 256]
        assert client.get("/v1/runs/one/frames/128.png").content == picture
        assert client.get("/v1/runs/one/frames/129.png").status_code == 404
        assert client.get("/v1/runs/one/secrets/128.png").status_code == 422
        assert client.get("/v1/runs/..%2fone").status_code == 404
        assert client.get("/v1/runs/broken").json()["state"] == "damaged"


def test_a_training_goes_on_until_it_is_quiet(run, tmp_path, monkeypatch):
    folder = copied(run.folder, tmp_path / "one")
    rows = (folder / "metrics.jsonl").read_text().splitlines()
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("items: 256", "items: 512"))
    (folder / "metrics.jsonl").write_text("\n".join(rows) + "\n")
    told = watching.told("one", folder)
    assert told["state"] == "training"
    assert "unfinished" not in {one["name"] for one in told["advice"]}
    now = watching.time.time
    monkeypatch.setattr(watching.time, "time", lambda: now() + 1e4)
    told = watching.told("one", folder)
    assert told["state"] == "stopped"
    assert "unfinished" in {one["name"] for one in told["advice"]}


def test_the_page_is_told_a_version_where_the_package_is_not_installed(client, monkeypatch):
    assert client.get("/v1/page").json()["version"] == metadata.version("unnoise")
    monkeypatch.setattr(metadata, "version", lambda _: (_ for _ in ()).throw(metadata.PackageNotFoundError))
    assert client.get("/v1/page").json()["version"] == "0"


def test_beside_a_training_the_page_watches_and_draws_nothing(run):
    with TestClient(beside.create(run.folder), base_url="http://localhost") as client:
        assert client.get("/v1/page").json()["views"] == ["watch", "keep"]
        assert client.get("/v1/runs").json()["data"][0]["name"] == run.folder.name
        assert client.post("/v1/jobs", json={}).status_code == 404
        assert client.get("/v1/runs", headers={"host": "elsewhere.example"}).status_code == 421
    with beside.watched(run.folder) as address, urllib.request.urlopen(address.partition("#")[0]) as page:
        assert b"unnoise" in page.read()


def test_questions_take_turns_and_drawing_goes_on_beside_them(run, tmp_path, monkeypatch):
    """However many ways are asked about at once, one is worked out at a time; jobs do not wait for them."""
    at_once, most, gate = 0, 0, threading.Event()

    def slow(*_):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        gate.wait(20)
        at_once -= 1
        return {"done": True}

    monkeypatch.setattr(understanding, "way", slow)
    monkeypatch.setattr(desk, "WAITING", 4)
    with served(tmp_path, run.folder) as client, ThreadPoolExecutor(6) as many:
        asking = [many.submit(client.post, "/v1/studio/trajectory", json={"steps": 2}) for _ in range(6)]
        job = client.post("/v1/jobs?wait=true", json={"steps": 2, "seeds": [1]})
        assert job.json()["status"] == "done"
        while sum(one.done() for one in asking) < 2:
            time.sleep(0.01)
        gate.set()
        statuses = sorted(one.result().status_code for one in asking)
    assert statuses == [200] * 4 + [429] * 2
    assert most == 1


@pytest.mark.slow
def test_a_training_says_where_it_is_watched(tmp_path):
    """`unnoise train --page`: an address at its start, which knows the run while it is trained, and ends with it."""
    words = [sys.executable, "-m", "unnoise", "train", "digits", "--page", "--out", str(tmp_path / "seen"),
             "net.widths=[8,16]", "train.items=1000000", "train.sample_every=0"]  # fmt: skip
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        try:
            line = next(line for line in child.stdout if "Watch it at" in line)
            address = re.search(r"http://127\.0\.0\.1:\d+/", line)[0]
            assert line.strip().endswith("#watch/seen")
            end = time.monotonic() + 120
            told = {}
            while told.get("state") != "training" and time.monotonic() < end:
                with urllib.request.urlopen(f"{address}v1/runs", timeout=60) as answer:
                    (told,) = json.load(answer)["data"]
                time.sleep(0.2)
            assert (told["name"], told["state"]) == ("seen", "training")
        finally:
            child.send_signal(signal.SIGINT)
            child.communicate(timeout=120)
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(address, timeout=5)
