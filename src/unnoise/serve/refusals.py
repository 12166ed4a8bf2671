"""Why a request is not served: a status, a short code for machines and a sentence for people."""

import math


class Refused(Exception):
    """Answered as it says; `retry` is when to come again, in seconds."""

    def __init__(self, status: int, code: str, message: str, retry: float | None = None):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.retry = None if retry is None else max(1, math.ceil(retry))


def wrong(message: str, code: str = "invalid_request") -> Refused:
    """What is asked cannot be done."""
    return Refused(400, code, message)


def busy(message: str, retry: float, code: str = "queue_full") -> Refused:
    """Too much is asked just now."""
    return Refused(429, code, message, retry)


__all__ = ["Refused", "busy", "wrong"]
