"""`unnoise serve`: runs as a service, over HTTP."""

from pathlib import Path
from typing import Annotated

import typer

from unnoise.cli.options import Device
from unnoise.cli.speak import say
from unnoise.config import UserError

NEEDED = ("fastapi", "starlette", "uvicorn", "prometheus_client", "python_multipart")


def serve(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN...", help="Folders of runs, each as FOLDER or NAME=FOLDER.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen at; others than this machine's need --keys.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="0: any that is free.", min=0, max=65535)] = 8000,
    data: Annotated[Path, typer.Option(help="Where jobs and results are kept.")] = Path("serve-data"),
    keys: Annotated[Path | None, typer.Option(help="A file of hashed keys: who brings none is not let in.")] = None,
    new_key: Annotated[
        str | None, typer.Option("--new-key", metavar="NAME", help="Make a key for a name, show it once, and stop.")
    ] = None,
    device: Device = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads.", min=1)] = None,
    places: Annotated[
        int | None, typer.Option(help="Samples under way at a time, if not as many as are quickest.", min=1)
    ] = None,
    memory: Annotated[float, typer.Option(help="For the weights of all models, in GB.")] = 8.0,
    queue: Annotated[int, typer.Option(help="Jobs at a time; the next is told to come again.", min=1)] = 256,
    deadline: Annotated[float, typer.Option(help="Seconds for a job that names none.")] = 60.0,
    rate: Annotated[float, typer.Option(help="Requests a second and key.")] = 100.0,
    keep: Annotated[float, typer.Option(help="Days that results are kept.")] = 7.0,
    patience: Annotated[float, typer.Option(help="Seconds at a stop for what is under way.")] = 30.0,
    apart: Annotated[
        bool, typer.Option("--apart/--together", help="Take the steps in a process of their own, or in this one.")
    ] = True,
) -> None:
    """Serve runs over HTTP: jobs with previews, and OpenAI's image routes. See docs/serving.md."""
    if new_key is not None:
        from unnoise.serve.keys import make

        path = keys or Path("keys.txt")
        say(make(path, new_key))
        say(f"Its hash is in {path}; the key is not shown again. Next: unnoise serve RUN --keys {path}", beside=True)
        return
    named = _named(runs or [])
    try:
        from unnoise.serve.process import serve as start
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in NEEDED:
            raise
        raise UserError(f"serving needs {error.name}: pip install 'unnoise[serve]'") from None
    import torch

    from unnoise.cli import asking
    from unnoise.serve.settings import Settings, check_host

    check_host(host, keys)
    if threads is not None:
        torch.set_num_threads(threads)
    settings = Settings(
        data=data, keys=keys, device=asking.device(device), places=places, memory=round(memory * 1e9), queue=queue,
        deadline=deadline, longest=max(deadline, Settings.longest), rate=rate, burst=2 * rate, keep=keep * 86400.0,
        patience=patience, apart=apart,
    )  # fmt: skip
    start(named, settings, host, port, say)


def _named(runs: list[str]) -> dict[str, Path]:
    """The folders by the names that requests know them by."""
    if not runs:
        raise UserError("a server needs a run: unnoise serve runs/digits")
    found: dict[str, Path] = {}
    for word in runs:
        name, equals, folder = word.partition("=")
        path = Path(folder if equals else word)
        name = name if equals else path.resolve().name
        if not name or not all(letter.isalnum() or letter in "_.:-" for letter in name) or not name.isascii():
            raise UserError(f"a model's name has letters, digits and _ . : - alone, got '{name}': give NAME={path}")
        if name in found:
            raise UserError(f"two runs are called '{name}': give one of them as NAME={path}")
        found[name] = path
    return found


__all__ = ["serve"]
