"""The command line: one command, one file. Nothing heavy is imported before a command needs it."""

from unnoise.cli.app import main

__all__ = ["main"]
