"""A server that is stopped, and one that is killed again and again: nothing accepted is lost, every byte is as ever."""

import json
import random
import time

import pytest
from serving import Process, trained

KILLS = 10


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("runs") / "digits")


def finished(server, job, patience=120.0):
    """The archive of a job, when it is done."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        status, body = server.ask("GET", f"/v1/jobs/{job}")
        assert status in (0, 200), body
        if status and json.loads(body)["status"] not in ("queued", "running"):
            assert json.loads(body)["status"] == "done", body
            status, data = server.ask("GET", f"/v1/jobs/{job}/result?format=zip")
            assert status == 200
            return data
        time.sleep(0.05)
    raise AssertionError(f"job {job} is not done after {patience} s")


def asked(number):
    """The request of a number: every one another, in what it asks and in how long it takes."""
    sampler = ("ddim", "heun", "ddpm", "dpmpp_2m_sde")[number % 4]
    return {"sampler": sampler, "steps": 5 + 7 * (number % 9), "seeds": [number, number + 1000], "label": number % 10,
            "guidance": (1, 3, "apg weight=4")[number % 3], "deadline": 3000}  # fmt: skip


@pytest.mark.slow
def test_a_stopped_server_ends_by_itself(run, tmp_path):
    """SIGTERM amid work: within its patience it is gone, with status 0, and what it left is done by the next."""
    server = Process(tmp_path / "data", run.folder, options=("--patience", "0.1"))
    jobs = [json.loads(server.ask("POST", "/v1/jobs", {**asked(n), "steps": 300})[1])["id"] for n in range(3)]
    begun = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begun < 15
    server = Process(tmp_path / "data", run.folder)
    assert all(finished(server, job) for job in jobs)
    server.stop()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_ten_times_under_load_it_loses_nothing(run, tmp_path):
    chance, accepted, kills = random.Random(0), {}, 0
    number = 0
    while kills < KILLS:
        server = Process(tmp_path / "data", run.folder)
        end = time.monotonic() + chance.uniform(0.5, 4.0)
        while time.monotonic() < end:
            status, body = server.ask("POST", "/v1/jobs", asked(number))
            if status == 202:
                accepted[json.loads(body)["id"]] = number
            assert status in (202, 429), body
            number += 1
            time.sleep(chance.expovariate(20))
        server.kill()
        kills += 1
    server = Process(tmp_path / "data", run.folder)
    made = {number: finished(server, job, 600) for job, number in accepted.items()}
    server.stop()
    (tmp_path / "calm").mkdir()  # the class of bits that was found there, whatever a busy moment would find
    (tmp_path / "calm" / "bits.json").write_bytes((tmp_path / "data" / "bits.json").read_bytes())
    calm = Process(tmp_path / "calm", run.folder)
    for number, data in made.items():
        status, body = calm.ask("POST", "/v1/jobs?wait=true", asked(number))
        assert status == 200, body
        assert finished(calm, json.loads(body)["id"]) == data, number
    calm.stop()
    print(f"{kills} kills, {len(accepted)} accepted jobs, all done, all the same")
