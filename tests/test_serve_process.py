"""A server that is stopped, and one that is killed again and again: nothing accepted is lost, every byte is as ever."""

import json
import time

import pytest
from serving import Process, asked, finished, struck, trained


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("runs") / "digits")


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
    found = struck(tmp_path, run.folder, kills=10)
    assert found["identical"] == found["accepted"] > 0
    assert any(kill["running"] + kill["queued"] for kill in found["kills"])  # there was something to lose
