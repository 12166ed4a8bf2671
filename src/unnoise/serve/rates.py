"""How often one may ask: a bucket of tokens for each key, filled at a steady rate."""

import time
from collections import OrderedDict
from collections.abc import Callable

MANY = 10_000  # buckets kept: the one least recently used is forgotten, and was full long ago


class Rates:
    """rate: tokens a second; burst: as many as a bucket holds."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic):
        self._rate, self._burst, self._clock = rate, max(1.0, burst), clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, who: str) -> float:
        """Takes a token: 0, or the seconds until there is one."""
        now = self._clock()
        tokens, then = self._buckets.pop(who, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        self._buckets[who] = (tokens - 1 if tokens >= 1 else tokens, now)
        if len(self._buckets) > MANY:
            self._buckets.popitem(last=False)
        return 0.0 if tokens >= 1 else (1 - tokens) / self._rate


__all__ = ["Rates"]
