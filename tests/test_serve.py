"""The server keeps its word: the same bits whoever else asks, nothing lost, nothing beyond its limits."""

import base64
import io
import json
import re
import sys
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from serving import copied, served, trained

import unnoise as un
from unnoise.cli import main
from unnoise.config import UserError
from unnoise.distill import Tuned
from unnoise.distill.race import Untuned
from unnoise.distill.shelf import Shelf
from unnoise.loop import Engine
from unnoise.report import grids
from unnoise.serve import keys as key_files
from unnoise.serve import models
from unnoise.serve.again import made_again
from unnoise.serve.settings import check_host
from unnoise.train import checkpoint


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("runs") / "digits")


@pytest.fixture(scope="module")
def client(run, tmp_path_factory):
    with served(tmp_path_factory.mktemp("data"), run.folder) as client:
        yield client


def drawn(client, **asked):
    """The archive of a job: name → bytes."""
    job = client.post("/v1/jobs?wait=true", json=asked)
    assert job.status_code == 200, job.text
    assert job.json()["status"] == "done", job.text
    data = client.get(f"/v1/jobs/{job.json()['id']}/result?format=zip").content
    with zipfile.ZipFile(io.BytesIO(data)) as whole:
        return {name: whole.read(name) for name in whole.namelist()}


def png(size=(8, 8), mode="L", colour=128):
    file = io.BytesIO()
    PIL.Image.new(mode, size, colour).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def events(text):
    """(id, name, data) of each server-sent event."""
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in block.splitlines())
        if "event" in fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


# What is drawn


def test_what_is_served_is_what_the_run_draws(client, run):
    """Label, sampler, steps, options and guidance arrive: to rounding the numbers of `run.sample`."""
    asked = {"sampler": "ddim", "steps": 4, "options": {"eta": 0.5}, "label": [3, "7"], "seeds": [5, 2**63]}
    made = drawn(client, guidance=2.5, **asked)
    wanted = run.recipe.modality.quantise(
        run.sample(sampler="ddim", steps=4, eta=0.5, label=[3, 7], seeds=[5, 2**63], guidance=2.5, raw=False)
    )
    assert np.array_equal(np.load(io.BytesIO(made["samples.npy"])), wanted)
    picture = PIL.Image.open(io.BytesIO(made["0001.png"]))
    assert np.array_equal(np.asarray(picture), np.asarray(run.recipe.modality.decode(torch.from_numpy(
        wanted[1:] / 8.0 - 1).float())[0]))  # fmt: skip


def test_bits_do_not_depend_on_who_else_asks(client):
    """One job alone, and amid others of other samplers, steps, weights and guides: the same bytes."""
    mine = {"sampler": "dpmpp_2m_sde", "steps": 6, "label": 4, "seeds": [11, 12], "guidance": 3}
    alone = drawn(client, **mine)
    others = [
        {"sampler": name, "steps": steps, "samples": 3, "guidance": weight}
        for name in ("ddim", "heun", "ddpm")
        for steps in (3, 9)
        for weight in (1, 2, "apg weight=4")
    ]
    jobs = [client.post("/v1/jobs", json=asked).json()["id"] for asked in others]
    assert drawn(client, **mine) == alone
    for job in jobs:
        while client.get(f"/v1/jobs/{job}").json()["status"] in ("queued", "running"):
            time.sleep(0.01)
        assert client.get(f"/v1/jobs/{job}").json()["status"] == "done"


def test_every_picture_says_how_it_was_made(client, run):
    made = drawn(client, label="3", seeds=[7, 8], steps=2)
    told = grids.settings(made["0001.png"])
    assert told["seed"] == 8
    assert told["label"] == "3"
    assert told["weights"] == run.weights
    assert told["plan"] == run.plan(steps=2).digest[:16]
    assert told["bits"]["torch"] == torch.__version__
    sizes = told["bits"]["sizes"]
    plain = run.guided({"kind": "cfg"})
    cond = {**run.labels("3", 1), "guidance": torch.ones(1)}
    again = Engine(plain, sizes=sizes).run(un.Job(run.plan(steps=2), run.recipe.shape, [8], cond))
    assert grids.png(run.recipe.modality.show(again)[0], told) == made["0001.png"]


def test_an_image_is_begun_with_and_its_masked_part_kept(client):
    """Strength 0.2 stays near the image; a mask keeps its black half to the pixel and draws the white one."""
    near = np.load(io.BytesIO(drawn(client, image=png(), strength=0.34, seeds=[1])["samples.npy"]))
    far = np.load(io.BytesIO(drawn(client, seeds=[1])["samples.npy"]))
    assert np.abs(near.astype(int) - 8).mean() < np.abs(far.astype(int) - 8).mean()
    half = PIL.Image.new("L", (8, 8), 0)
    half.paste(255, (4, 0, 8, 8))
    file = io.BytesIO()
    half.save(file, "PNG")
    mask = base64.b64encode(file.getvalue()).decode()
    kept = np.load(io.BytesIO(drawn(client, image=png(), mask=mask, seeds=[1])["samples.npy"]))[0, 0]
    assert (kept[:, :4] == 8).all()
    assert (kept[:, 4:] != 8).any()
    clear = PIL.Image.new("RGBA", (16, 16), (255, 255, 255, 255))  # an opaque white part is no part to draw
    clear.paste((0, 0, 0, 0), (8, 0, 16, 16))
    file = io.BytesIO()
    clear.save(file, "PNG")
    by_alpha = drawn(client, image=png(), mask=base64.b64encode(file.getvalue()).decode(), seeds=[1])
    assert np.array_equal(np.load(io.BytesIO(by_alpha["samples.npy"]))[0, 0], kept)


# Watching


def test_events_tell_the_way_and_can_be_taken_up_again(client):
    job = client.post("/v1/jobs", json={"steps": 40, "samples": 2}).json()["id"]
    told = events(client.get(f"/v1/jobs/{job}/events").text)
    numbers = [number for number, _, _ in told]
    assert numbers == sorted(set(numbers))
    assert told[0][1] == "queued"
    assert told[-1][1] == "done"
    assert told[-1][2] == {"job": job, "samples": 2}
    steps = [data["done"] for _, name, data in told if name == "step"]
    assert steps == sorted(steps)
    previews = [data for _, name, data in told if name == "preview"]
    assert {data["sample"] for data in previews} == {0, 1}
    assert PIL.Image.open(io.BytesIO(base64.b64decode(previews[0]["png"]))).size == (8, 8)
    again = client.get(f"/v1/jobs/{job}/events", headers={"last-event-id": str(numbers[-2])})
    assert events(again.text) == told[-1:]
    assert events(client.get(f"/v1/jobs/{job}/events", headers={"last-event-id": str(numbers[-1])}).text) == []


def test_a_cancelled_job_leaves_its_place(client):
    job = client.post("/v1/jobs", json={"steps": 1000, "samples": 8}).json()["id"]
    assert client.delete(f"/v1/jobs/{job}").json()["status"] == "cancelled"
    assert client.get(f"/v1/jobs/{job}").json()["status"] == "cancelled"
    assert client.get(f"/v1/jobs/{job}/result").status_code == 409
    service = client.app.state.service
    deadline = time.monotonic() + 5
    while service.worker.under_way and time.monotonic() < deadline:
        time.sleep(0.01)
    assert service.worker.under_way == service.worker.waiting == 0
    assert client.delete(f"/v1/jobs/{job}").json()["status"] == "cancelled"


def test_a_deadline_that_passes_is_a_504(client):
    late = client.post("/v1/jobs?wait=true", json={"steps": 1000, "samples": 32, "deadline": 0.3})
    assert late.status_code == 504
    assert late.json()["status"] == "expired"
    assert client.get(f"/v1/jobs/{late.json()['id']}/result").status_code == 504


def test_a_failing_sample_fails_alone(client, monkeypatch):
    """Numbers that are not finite end their own sample; the others of the job are as ever."""
    service = client.app.state.service
    net = service.models.state("digits").run.denoiser.net
    whole = net.forward

    def faulty(x, level, cond):
        answer = whole(x, level, cond)
        answer[cond["label"] == 9] = torch.nan
        return answer

    fine = drawn(client, label=[1, 2], seeds=[1, 2])
    monkeypatch.setattr(net, "forward", faulty)
    job = client.post("/v1/jobs?wait=true", json={"label": [1, 9, 2], "seeds": [1, 5, 2], "format": "zip"}).json()
    assert job["status"] == "done"
    assert job["failures"] == {"1": "the sample is not finite"}
    with zipfile.ZipFile(io.BytesIO(client.get(f"/v1/jobs/{job['id']}/result").content)) as made:
        assert made.read("0000.png") == fine["0000.png"]
        assert made.read("0002.png") == fine["0001.png"]
        assert "0001.png" not in made.namelist()
    failed = client.post("/v1/jobs?wait=true", json={"label": 9}).json()
    assert failed["status"] == "failed"
    assert client.get(f"/v1/jobs/{failed['id']}/result").status_code == 422


# Limits


@pytest.mark.parametrize(
    ("asked", "status", "says"),
    [
        ({"sampler": "huen"}, 400, "did you mean 'heun'"),
        ({"label": "cat"}, 400, "there is no label 'cat'"),
        ({"label": 10}, 400, "there is no label 10"),
        ({"steps": 1001}, 400, "1000 are allowed"),
        ({"samples": 65}, 400, "64 are allowed"),
        ({"sampler": "restart", "steps": 500, "options": {"repeats": 64}}, 400, "more than 8,000 evaluations"),
        ({"sampler": "restart", "steps": 999, "options": {"repeats": 8, "low": 0.001, "high": 900}}, 400, "8,000 are"),
        ({"samples": 2, "seeds": [1, 2, 3]}, 400, "2 samples of 3 seeds"),
        ({"options": {"eta": 0.5}}, 400, "has no field 'eta'"),
        ({"guidance": "autoguidance run=/etc/passwd"}, 422, "guidance"),
        ({"guidance": "autoguidance items=64"}, 400, "not guided by 'autoguidance'"),
        ({"guidance": "cfg weight=[&a"}, 422, "guidance is none of what it may be: A weight, 1: none; or guides"),
        ({"model": "../digits"}, 422, "model"),
        ({"model": "digit"}, 404, "did you mean 'digits'"),
        ({"mask": png()}, 400, "of an image"),
        ({"image": "AAAA"}, 400, "no picture that can be read"),
        ({"image": "?"}, 400, "not base64"),
        ({"sampler": "adaptive"}, 400, "there is no sampler 'adaptive'"),
        ({"unknown": 1}, 422, "unknown"),
        ({"seeds": [-1]}, 422, "seeds"),
        ({"strength": 0.5}, 400, "of an image"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(client, asked, status, says):
    answer = client.post("/v1/jobs", json=asked)
    assert answer.status_code == status, answer.text
    assert says in answer.json()["error"]["message"]


def test_a_picture_that_breaks_amid_its_pixels_is_refused(client):
    """Pillow forgives a PNG that it met broken once, when it looked for its EXIF: such a mask was a 500."""
    whole = io.BytesIO()
    PIL.Image.effect_noise((40, 40), 90).save(whole, "PNG")
    data = bytearray(whole.getvalue())
    at = data.index(b"IDAT") + 4
    data[at : at + 2] = b"\xff\xff"
    data[at - 8 : at - 4] = (len(data) - at - 16).to_bytes(4, "big")
    end = len(data) - 16
    data[end : end + 4] = zlib.crc32(data[at - 4 : end]).to_bytes(4, "big")
    broken = base64.b64encode(data).decode()
    for asked in ({"image": broken}, {"image": png(), "mask": broken}):
        answer = client.post("/v1/jobs", json=asked)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["code"] == "unreadable_image"


def test_what_is_no_json_is_refused_too(client):
    for body in (b"", b"{", b"[1]", b'{"seeds": [' + b"9" * 5000 + b"]}", b'{"label": "\\ud800"}', b"[" * 100_000,
                 b'{"guidance": NaN}', "{\"model\": \"é\"}".encode("latin-1")):  # fmt: skip
        answer = client.post("/v1/jobs", content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 422), body[:20]
        assert answer.json()["error"]["message"]


def test_a_full_queue_says_when_to_come_again(run, tmp_path):
    with served(tmp_path, run.folder, queue=2) as client:
        jobs = [client.post("/v1/jobs", json={"steps": 1000, "samples": 16}) for _ in range(3)]
        assert [job.status_code for job in jobs] == [202, 202, 429]
        assert int(jobs[2].headers["retry-after"]) >= 1
        for job in jobs[:2]:
            client.delete(f"/v1/jobs/{job.json()['id']}")
        assert client.post("/v1/jobs?wait=true", json={}).status_code == 200


def test_bodies_hosts_and_origins_are_limited(client):
    assert client.post("/v1/jobs", content=b"x" * (17 << 20)).status_code == 413

    def parts():
        for _ in range(17):
            yield b"x" * (1 << 20)

    assert client.post("/v1/jobs", content=parts()).status_code == 413
    assert client.get("/v1/models", headers={"host": "evil.example"}).status_code == 421
    assert client.get("/v1/models", headers={"origin": "http://evil.example"}).status_code == 403
    assert client.get("/v1/models", headers={"origin": "http://localhost"}).status_code == 200
    assert client.get("/v1/models", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"


def test_keys_let_in_and_keep_apart(run, tmp_path):
    path = tmp_path / "keys"
    mine, other = (key_files.make(path, name) for name in ("mine", "other"))
    assert mine not in path.read_text()
    with served(tmp_path / "data", run.folder, keys=path, rate=1000.0, burst=6.0) as client:
        assert client.get("/v1/models").status_code == 401
        assert client.get("/v1/models", headers={"authorization": f"Bearer {mine}x"}).status_code == 401
        assert client.get("/healthz").status_code == 200
        me, them = ({"authorization": f"Bearer {key}"} for key in (mine, other))
        job = client.post("/v1/jobs", json={}, headers=me).json()["id"]
        assert client.get(f"/v1/jobs/{job}", headers=them).status_code == 404
        assert client.delete(f"/v1/jobs/{job}", headers=them).status_code == 404
        assert client.get(f"/v1/jobs/{job}", headers=me).status_code == 200
        assert client.get("/v1/jobs", headers=them).json()["data"] == []
        client.app.state.rates._rate = 0.01
        codes = [client.get("/v1/models", headers=me).status_code for _ in range(8)]
        assert codes.count(429) >= 2
        assert client.get("/v1/models", headers=them).status_code == 200


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "a server needs a run"),
        (["a/digits", "b/digits"], "two runs are called 'digits'"),
        (["nowhere"], "is no run"),
        (["x y=nowhere"], "letters, digits"),
        (["nowhere", "--host", "0.0.0.0"], "opens the server to other machines"),
    ],
)
def test_the_command_says_what_is_missing(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["serve", "--data", str(tmp_path / "data"), "--device", "cpu", *words]) == 2
    assert says in capsys.readouterr().err


def test_the_command_makes_keys_and_names_the_extra(tmp_path, monkeypatch, capsys):
    path = tmp_path / "keys.txt"
    assert main(["serve", "--new-key", "alice", "--keys", str(path)]) == 0
    key = capsys.readouterr().out.strip()
    assert key_files.Keys(path).owner(f"Bearer {key}") == "alice"
    monkeypatch.delitem(sys.modules, "unnoise.serve.process", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", "somewhere"]) == 2
    assert "pip install 'unnoise[serve]'" in capsys.readouterr().err


def test_an_open_host_needs_keys(tmp_path):
    with pytest.raises(UserError, match="opens the server to other machines"):
        check_host("0.0.0.0", None)
    check_host("127.0.0.1", None)
    check_host("0.0.0.0", tmp_path)


# Once, and not lost


def test_an_idempotency_key_makes_one_job(client):
    sent = {"headers": {"idempotency-key": "once"}, "json": {"steps": 3}}
    first, second = client.post("/v1/jobs", **sent), client.post("/v1/jobs", **sent)
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json()["id"] == second.json()["id"]
    other = client.post("/v1/jobs", headers=sent["headers"], json={"steps": 4})
    assert other.status_code == 409


def test_what_a_stop_leaves_undone_is_done_after_the_next_start(run, tmp_path):
    """Half done at the stop or still waiting: the bytes are those of an undisturbed server."""
    asked = [{"steps": 25, "seeds": [n, n + 1], "sampler": "ddpm", "label": n} for n in range(3)]
    asked[1] |= {"image": png(), "strength": 0.5}
    with served(tmp_path / "a", run.folder) as client:
        wanted = [drawn(client, **job) for job in asked]
    with served(tmp_path / "b", run.folder, patience=0.0, places=2) as client:
        jobs = [client.post("/v1/jobs", json=job).json()["id"] for job in asked]
    with served(tmp_path / "b", run.folder) as client:
        for job, made in zip(jobs, wanted, strict=True):
            text = client.get(f"/v1/jobs/{job}/events").text
            assert events(text)[-1][1] == "done"
            data = client.get(f"/v1/jobs/{job}/result?format=zip").content
            with zipfile.ZipFile(io.BytesIO(data)) as whole:
                assert {name: whole.read(name) for name in whole.namelist()} == made


def test_one_folder_of_jobs_has_one_server(run, tmp_path, client):
    data = client.app.state.service.settings.data
    with pytest.raises(UserError, match="another server keeps its jobs in"), served(data, run.folder):
        pass


# Models


def test_models_say_what_they_can_be_told(client):
    (found,) = client.get("/v1/models").json()["data"]
    assert found["id"] == "digits"
    assert found["controls"]["label"]["names"] == list("0123456789")
    assert found["controls"]["steps"]["default"] == 3
    assert client.get("/v1/models/digits").json()["shape"] == [1, 8, 8]
    assert client.get("/v1/models/none").status_code == 404
    assert client.get("/readyz").status_code == 200


def test_a_new_checkpoint_is_taken_and_nothing_is_dropped(run, tmp_path):
    """What is under way goes on by the weights it began with; what comes later is drawn by the new ones."""
    folder = copied(run.folder, tmp_path / "digits")
    with served(tmp_path / "data", folder, places=4) as client:
        old = client.post("/v1/jobs", json={"sampler": "ddim", "steps": 150, "seeds": [1, 2]}).json()["id"]
        later = _trained_on(folder)
        deadline = time.monotonic() + 20
        while client.get("/v1/models").json()["data"][0].get("weights") != later.weights:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        new = client.post("/v1/jobs?wait=true", json={"seeds": [1]}).json()["id"]
        assert events(client.get(f"/v1/jobs/{old}/events").text)[-1][1] == "done"
        weights = [client.get(f"/v1/jobs/{job}/result").headers["x-unnoise-weights"] for job in (old, new)]
    assert weights == [run.weights, later.weights]
    assert later.weights != run.weights


def _trained_on(folder):
    """Another checkpoint, of other weights."""
    place = folder / "checkpoints"
    last = checkpoint.newest(place)
    names = [name.removesuffix(".safetensors") for name in last.state["files"]]
    tensors = {name: {key: value * 1.01 for key, value in last.tensors(name).items()} for name in names}
    checkpoint.write(
        place, last.items + 1, tensors, {k: v for k, v in last.state.items() if k not in ("files", "items")}
    )
    return un.open(folder)


def test_models_take_turns_within_a_budget(run, tmp_path, monkeypatch):
    """Two models where the memory holds one: both are served, and no more than one is at hand."""
    monkeypatch.setattr(models, "HOLD", 0.1)
    other = copied(run.folder, tmp_path / "other")
    with served(tmp_path / "data", run.folder, other, memory=1) as client:
        names = ["digits", "other"] * 2
        jobs = [client.post("/v1/jobs", json={"model": name, "steps": 30}).json()["id"] for name in names]
        at_hand = 0
        for job in jobs:
            while client.get(f"/v1/jobs/{job}").json()["status"] in ("queued", "running"):
                at_hand = max(at_hand, sum(m["loaded"] for m in client.get("/v1/models").json()["data"]))
                time.sleep(0.02)
            assert client.get(f"/v1/jobs/{job}").json()["status"] == "done"
        assert at_hand == 1


def test_counts_are_told(client):
    drawn(client, steps=2, samples=3)
    text = client.get("/metrics").text
    for name in ("unnoise_waiting_samples", "unnoise_step_seconds_count", "unnoise_first_belief_seconds_count",
                 'unnoise_outcomes_total{outcome="done"}', 'route="/v1/jobs"'):  # fmt: skip
        assert name in text


def test_the_dashboard_and_the_unit_name_what_there_is(client):
    text = client.get("/metrics").text
    deploy = Path(__file__).parents[1] / "deploy"
    for name in set(re.findall(r"\bunnoise_[a-z_]+", (deploy / "grafana.json").read_text())):
        assert f"# TYPE {name.removesuffix('_bucket').removesuffix('_sum')} " in text, name
    texts = [(deploy / name).read_text() for name in ("unnoise.service", "Dockerfile")]
    options = {
        option for text in texts for option in re.findall(r"(--(?:host|port|data|keys|patience|new-key))\b", text)
    }
    help_text = (Path(__file__).parents[1] / "src/unnoise/cli/serve.py").read_text()
    assert options
    assert all(f"{option.removeprefix('--').replace('-', '_')}:" in help_text for option in options)


@pytest.fixture(scope="module")
def tuned(run, tmp_path_factory):
    """A run with a plan of four evaluations on its shelf, as `unnoise tune` leaves it: for a guidance of 1 to 3."""
    folder = copied(run.folder, tmp_path_factory.mktemp("tuned") / "digits")
    plan, weights = un.open(folder).plan("dpmpp_2m", 4), un.open(folder).weights
    known = Untuned("dpmpp_2m", "karras", 4, plan, 1.0)
    Shelf(folder, weights).put(Tuned(plan, known, 0.25, 1.0, (1.0, 0.25), (1.0, 3.0), 64))
    return un.open(folder)


def test_a_tuned_plan_is_told_of_drawn_by_and_made_again(tuned, tmp_path):
    with served(tmp_path, tuned.folder) as client:
        while not client.get("/v1/models/digits").json()["loaded"]:
            time.sleep(0.05)
        plans = client.get("/v1/models/digits").json()["controls"]["tuned"]["plans"]
        assert plans == [{"evaluations": 4, "guidance": [1.0, 3.0], "share": 0.25, "untuned": "dpmpp_2m"}]
        asked = {"sampler": "tuned", "options": {"evaluations": 4}, "guidance": 2, "seeds": [5], "label": 3}
        made = drawn(client, **asked)
        picture = un.open(tuned.folder).sample(sampler="tuned", evaluations=4, guidance=2, seeds=[5], label=3)[0]
        drawing = PIL.Image.open(io.BytesIO(made["0000.png"]))
        assert np.array_equal(np.asarray(drawing), np.asarray(picture.convert("L")))
        told = json.loads(made["job.json"])["samples"][0]
        assert (told["sampler"], told["steps"], told["evaluations"]) == ("tuned", 4, 8)  # guided: two answers each
        again = made_again(made["0000.png"], told, [tuned.folder], "cpu")
        assert again.same
        for route in ("plan", "error", "trajectory"):
            answer = client.post(f"/v1/studio/{route}", json=asked)
            assert answer.status_code == 200, answer.text
        shown = client.post("/v1/studio/error", json=asked).json()
        assert shown["curves"]["tuned"] == [[4.0, shown["here"]["error"]]]
        bad = ({"evaluations": 5}, "plans of 4"), ({}, "such as 6"), ({"eta": 1}, "no option 'eta'")
        for options, says in bad:
            answer = client.post("/v1/jobs", json={**asked, "options": options})
            assert answer.status_code == 400
            assert says in answer.json()["error"]["message"]
        alone = client.post("/v1/jobs", json={**asked, "guidance": 7})
        assert "tuned for guidance 1 to 3" in alone.json()["error"]["message"]
        assert client.post("/v1/jobs", json={**asked, "steps": 4}).status_code == 400
