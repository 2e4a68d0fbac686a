"""What every command shares while it runs: where the answer goes (stdout), where all else goes (stderr)."""

import io
import json
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import click

from ..codec import encode
from ..errors import MobilenetsError

SCHEMA = 1


class Interrupted(MobilenetsError):
    """Ctrl-C during a command that can be taken up again; the hint says how."""

    exit_code = 130


@dataclass(slots=True)
class Shell:
    """The switches that mean the same in every command, and the two ways out.

    json: the answer is one JSON object. quiet: nothing on stderr but errors. verbose: how often -v was given.
    debug: errors show their stack trace.
    """

    json: bool = False
    quiet: bool = False
    verbose: int = 0
    debug: bool = False

    def start(self) -> None:
        """Point the library's log to stderr: warnings, with -v what it does, with -vv everything."""
        level = logging.ERROR if self.quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(self.verbose, 2)]
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s" if self.verbose < 2 else "%(name)s: %(message)s"))
        logger = logging.getLogger("mobilenets")
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
        if not self.verbose and not sys.warnoptions:
            warnings.simplefilter("ignore")  # other libraries' advice to programmers; -v shows it

    def answer(self, keys: object, lines: Iterable[str]) -> None:
        """Print the answer: with --json the object `{"schema": 1, **keys}`, else `lines`.

        keys: a record, or a dict whose values have a JSON form.
        """
        encoded = encode(keys)
        text = (
            json.dumps({"schema": SCHEMA, **encoded}, ensure_ascii=False)
            if self.json
            else "\n".join(lines).replace("\u00a0", " ")
        )
        try:
            click.echo(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
            sys.stdout.flush()
        except BrokenPipeError:
            self.drop_stdout()

    def note(self, text: str) -> None:
        """One line on stderr, for the eye."""
        if not self.quiet:
            click.echo(text, err=True)

    def complain(self, problem: str, hint: str = "") -> None:
        """An error: one line with the problem, where there is a next step a second one with it."""
        colour = "red" if sys.stderr.isatty() and "NO_COLOR" not in os.environ else None
        click.echo(click.style(problem, fg=colour) if colour else problem, err=True)
        if hint:
            click.echo(hint, err=True)

    def show_traceback(self) -> None:
        if self.debug:
            click.echo(traceback.format_exc(), err=True, nl=False)

    @property
    def live(self) -> bool:
        """Progress is drawn only for someone who looks: on a terminal, and not with -q."""
        return not self.quiet and sys.stderr.isatty()

    @staticmethod
    def drop_stdout() -> None:
        """After the reader left: nothing more is written there, not even by Python at exit."""
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except (OSError, io.UnsupportedOperation):
            sys.stdout = io.StringIO()
