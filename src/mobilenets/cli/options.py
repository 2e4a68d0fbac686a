"""How a command is declared: an example first in its help, the Python line last, and options that mean the same
everywhere. Values are read here; what they mean is decided by the library."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .shell import Shell

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])


class Command(click.Command):
    """A command whose help opens with an example that works and ends with the same as a line of Python."""

    example: str = ""
    python: str = ""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write("Example:\n")
        for line in self.example.splitlines():
            formatter.write(f"  {line}\n")
        formatter.write("\n")
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        self.format_options(ctx, formatter)
        formatter.write("\nIn Python:\n")
        for line in self.python.splitlines():
            formatter.write(f"  {line}\n")


def command(name: str, *, example: str, python: str) -> Callable[[F], Command]:
    """Declare a command, with --json, -q, -v and --debug; its function gets the Shell first."""

    def declare(function: F) -> Command:
        for option in reversed(SHELL_OPTIONS):
            function = option(function)
        made = click.command(name, cls=Command)(click.pass_obj(function))
        made.example, made.python = example, python
        return made

    return declare


def _switch(*names: str, field: str, text: str, count: bool = False) -> Callable[[F], F]:
    """An option that sets a field of the Shell and that no command sees."""

    def store(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        shell = ctx.find_object(Shell)
        assert shell is not None
        setattr(shell, field, value)
        shell.start()

    return click.option(
        *names, is_flag=not count, count=count, is_eager=True, expose_value=False, callback=store, help=text
    )


SHELL_OPTIONS = (
    _switch("--json", field="json", text="Print the answer as one JSON object."),
    _switch("-q", "--quiet", field="quiet", text="Nothing on stderr but errors."),
    _switch("-v", "--verbose", field="verbose", count=True, text="Say what is being done; -vv says everything."),
    _switch("--debug", field="debug", text="Show the stack trace of an error."),
)


class Size(click.ParamType[tuple[int, int]]):
    """A picture's size in pixels: `192`, or `160x224` for height x width; the value is (h, w)."""

    name = "size"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "N|HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        parts = str(value).lower().split("x")
        if len(parts) > 2 or not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is not a size; write 192, or 160x224 for height x width", param, ctx)
        return int(parts[0]), int(parts[-1])


class Network(click.ParamType[str]):
    """A network's name, an alias, or the path of a .json file with its rows. Completes names; checks nothing."""

    name = "network"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        from ..specs import CATALOGUE

        return [CompletionItem(name) for name in CATALOGUE if name.startswith(incomplete)]


SIZE = Size()
NETWORK = Network()
PATH: click.ParamType[Path] = click.Path(path_type=Path)

alpha = click.option("--alpha", type=click.FloatRange(min=0, min_open=True), help="Width multiplier, e.g. 0.75.")
resolution = click.option("--resolution", "resolution_px", type=SIZE, help="Input size: 192, or 160x224 (h x w).")
classes = click.option("--classes", type=click.IntRange(min=0), help="Number of classes; 0 ends at the embedding.")
in_channels = click.option("--in-channels", type=click.IntRange(min=1), help="Input channels; 1 for grey pictures.")
seed = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all chance.")
device = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and stop.")
