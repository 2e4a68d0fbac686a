"""The command line. Each command is one file: its options, one call of the library, one record printed."""

from .app import main

__all__ = ["main"]
