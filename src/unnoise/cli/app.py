"""The commands put together, and what becomes of errors: one line, and an exit status that says whose they are."""

import os
import sys
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from unnoise.cli.adapt import adapt
from unnoise.cli.advise import advise
from unnoise.cli.compare import compare
from unnoise.cli.conformance import conformance
from unnoise.cli.doctor import doctor
from unnoise.cli.evaluate import evaluate
from unnoise.cli.invert import invert
from unnoise.cli.look import look
from unnoise.cli.measure import measure
from unnoise.cli.nets import nets
from unnoise.cli.plot import plots
from unnoise.cli.recipes import recipes
from unnoise.cli.redo import redo
from unnoise.cli.sample import sample
from unnoise.cli.serve import serve
from unnoise.cli.statistics import statistics
from unnoise.cli.train import train
from unnoise.cli.tune import tune

MISTAKE, FAULT, STOPPED = 2, 1, 130  # exit statuses: the user's mistake, ours or the machine's, Ctrl-C

app = typer.Typer(
    help="Diffusion models end to end: train one, draw from it, measure it.",
    epilog="Start with: unnoise train digits",
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (train, sample, evaluate, compare, look, advise, doctor):
    app.command()(command)
app.add_typer(plots, name="plot")
app.command()(redo)
app.command()(serve)
app.command()(tune)
app.add_typer(adapt, name="adapt")
app.command()(invert)
app.command()(recipes)
app.command()(nets)
app.command()(measure)
app.command()(statistics)
app.command()(conformance)


def _version(asked: bool) -> bool:
    if asked:
        from unnoise import __version__

        typer.echo(f"unnoise {__version__}")
        raise typer.Exit
    return asked


@app.callback()
def start(
    version: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """What stands before any command."""


start.__doc__ = app.info.help


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line (sys.argv if None) and gives its exit status; raises only with UNNOISE_DEBUG=1."""
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if words == ["plot"]:
        words.append("--help")
    try:
        with _warnings_in_a_line():
            status: Any = typer.main.get_command(app).main(words, prog_name="unnoise", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except (BrokenPipeError, SystemExit):  # whoever read us has seen enough (typer makes an exit of it)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, typer.Abort):
        print("\nunnoise: stopped", file=sys.stderr)
        return STOPPED
    except Exception as error:
        if os.environ.get("UNNOISE_DEBUG") == "1":
            raise
        sentence, status = _told(error)
        print(f"unnoise: {sentence}", file=sys.stderr)
        return status


def _told(error: Exception) -> tuple[str, int]:
    """The sentence that an error makes, and its exit status."""
    from unnoise.config import UserError, nearest

    text = " ".join(str(error).split())
    if isinstance(error, UserError):
        return text, MISTAKE
    if hasattr(error, "format_message"):  # of the command line's own reading
        text = str(getattr(error, "format_message")())  # noqa: B009 (no type of it is public in all versions)
        context = getattr(error, "ctx", None)
        if text.startswith("No such command") and context is not None:
            name = text.split("'")[1]
            return f"there is no command '{name}'; {nearest(name, list(context.command.commands))}", MISTAKE
        name = getattr(error, "option_name", None)
        if name and context is not None:
            options = [word for option in context.command.params for word in option.opts if word.startswith("--")]
            return f"{context.info_name} has no option '{name}'; {nearest(name, options)}", MISTAKE
        return f"{text[:1].lower()}{text[1:].rstrip('.')}; see {_help(context)}", MISTAKE
    if type(error).__str__ is OSError.__str__ and isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror[:1].lower()}{error.strerror[1:]}", FAULT
    if isinstance(error, (FloatingPointError, OSError)):
        return text, FAULT
    return f"{type(error).__name__}: {text} (UNNOISE_DEBUG=1 shows where)", FAULT


def _help(context: Any) -> str:
    return f"{context.command_path if context is not None else 'unnoise'} --help"


@contextmanager
def _warnings_in_a_line() -> Generator[None]:
    """Warnings are for people too: their sentence, without the place in the code."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"unnoise: note: {' '.join(str(message).split())}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = show
        yield


__all__ = ["app", "main"]
