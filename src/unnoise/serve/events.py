"""A job's news as server-sent events: what is newer than a listener has seen, then what comes, until the end."""

from collections.abc import AsyncIterator

from unnoise.serve.answers import PING, event
from unnoise.serve.service import Service
from unnoise.serve.track import Track

QUIET = 15.0  # seconds after which a line is sent that means nothing, so that no proxy hangs up


def last_seen(header: str | None) -> int:
    """The number that Last-Event-ID names; 0 where it names none."""
    return int(header) if header is not None and header.isascii() and header.isdecimal() and len(header) < 20 else 0


async def stream(service: Service, track: Track, last: int) -> AsyncIterator[bytes]:
    """Ends with the job's end, or with the server's: then a listener comes again with the last id it saw."""
    track.listeners += 1  # from the first moment, so that previews are made
    try:
        while True:
            ended = track.ended  # asked before the news: what ends in between is told in the next round
            for news in track.after(last):
                yield event(news.name, {"job": track.job, **news.told}, news.number)
                last = news.number
            if ended or not service.accepting:
                return
            if not await track.changed(QUIET):
                yield PING
    finally:
        track.listeners -= 1


__all__ = ["last_seen", "stream"]
