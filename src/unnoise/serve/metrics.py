"""What a server counts, for Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

STEP = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
JOB = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
TICKS = (0, 1, 2, 3, 5, 10, 30, 100, 1000)


class Metrics:
    """One registry a server; every name begins with unnoise_."""

    def __init__(self) -> None:
        all_ = self.registry = CollectorRegistry()
        self.waiting = Gauge("unnoise_waiting_samples", "Samples that wait for a place.", registry=all_)
        self.under_way = Gauge("unnoise_samples_under_way", "Samples that hold a place.", registry=all_)
        self.jobs = Gauge("unnoise_jobs", "Jobs accepted and not ended.", registry=all_)
        self.models = Gauge("unnoise_models_loaded", "Models whose weights are at hand.", registry=all_)
        self.rows = Counter("unnoise_rows", "Evaluations done, one for each sample and step.", registry=all_)
        self.ticks = Counter("unnoise_ticks", "Steps taken, one network call each.", registry=all_)
        self.step = Histogram("unnoise_step_seconds", "Time of one step of a lane.", buckets=STEP, registry=all_)
        self.admission = Histogram("unnoise_admission_ticks", "Steps between a sample's coming and its place.",
                                   buckets=TICKS, registry=all_)  # fmt: skip
        self.preview = Histogram("unnoise_first_belief_seconds", "From acceptance to a job's first belief.",
                                 buckets=JOB, registry=all_)  # fmt: skip
        self.job = Histogram("unnoise_job_seconds", "From acceptance to a job's end, by outcome.", ["outcome"],
                             buckets=JOB, registry=all_)  # fmt: skip
        self.outcomes = Counter("unnoise_outcomes", "Jobs ended, by outcome.", ["outcome"], registry=all_)
        self.answers = Counter(
            "unnoise_http_answers", "Answers to requests, by route and status.", ["route", "status"], registry=all_
        )
        self.answer = Histogram("unnoise_http_seconds", "Time to an answer's first byte, by route.", ["route"],
                                buckets=JOB, registry=all_)  # fmt: skip
        self.refused = Counter("unnoise_refused", "Requests refused, by reason.", ["reason"], registry=all_)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)

    def ask(self, gauge: Gauge, number: Callable[[], float]) -> None:
        """A gauge that is read when it is asked for."""
        gauge.set_function(number)


__all__ = ["Metrics"]
