"""The group of commands, and how a run of one ends: exit codes 0, 1, 2, 3, 70, 130 and the one-line errors.

Commands load on first use: `mobilenets --help` reads no file of another room.
"""

import difflib
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from .. import __version__
from ..errors import MobilenetsError
from .shell import Interrupted, Shell

# Command -> (file and name of the click command, what `mobilenets --help` says of it). Their order is the help's.
COMMANDS: dict[str, tuple[str, str]] = {
    "list": (".list:list_command", "The networks: parameters, multiply-adds, size; those that fit a device."),
    "show": (".show:show_command", "One network layer by layer: cost, memory, flash."),
    "weights": (".weights:weights_command", "Published weights: weights list."),
    "data": (".data:data_command", "Look at a data set: data check, data show."),
    "fit": (".fit:fit_command", "From a folder of images to a verified model file and a report."),
    "import": (".import_:import_command", "A published network as a model file, proved against its original."),
    "train": (".train:train_command", "Only the training of fit: a run folder with weights."),
    "eval": (".eval:eval_command", "A model on labelled images: top-1, top-5, per class."),
    "predict": (".predict:predict_command", "Name what is in images, with a model file."),
    "export": (".export:export_command", "The file that a device runs, proved: onnx, litert, openvino, ..."),
    "verify": (".verify:verify_command", "Prove a model file: hashes, golden vectors, exported file against weights."),
    "push": (".push:push_command", "A model file as a repository of the Hugging Face hub."),
    "bench": (".bench:bench_command", "Time networks or model files on this machine, on every target."),
    "profile": (".profile:profile_command", "Where a network's milliseconds go, operator by operator, and why."),
    "advise": (".advise:advise_command", "Networks that fit a latency, a size, a memory: measured, best first."),
    "doctor": (".doctor:doctor_command", "What is installed here and what works."),
    "completion": (".completion:completion_command", "The completion script for bash, zsh, fish or PowerShell."),
}

BEGINNER = """\
mobilenets: a folder of images in, the fastest MobileNet your device can run out.

  mobilenets fit photos/                        train, export, verify and report (try it: mobilenets fit digits)
  mobilenets predict runs/photos/model cat.jpg  name what is in an image
  mobilenets data check photos/                 look for broken files, duplicates and leaks
  mobilenets list                               the networks and what they cost
  mobilenets doctor                             what is installed here and what works

All commands: mobilenets --help
"""

COMPLETING = "_MOBILENETS_COMPLETE"

# Refusals of the machine rather than bugs of ours: they end as wrong input does, with the system's own words.
REFUSALS = {errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.ENAMETOOLONG, errno.EMFILE}


class Commands(click.Group):
    """A group whose commands are imported when they are called, and that answers a misspelt one with the closest."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stopped:
            raise Interrupted("interrupted") from stopped

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(module, __package__), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=2)
            known = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(COMMANDS)}"
            raise click.UsageError(f"no command called {args[0]!r}; {known}", ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=Commands,
    invoke_without_command=True,
    epilog="Each command has its own --help, which opens with an example.",
)
@click.version_option(__version__, message="mobilenets %(version)s")
@click.pass_context
def commands(ctx: click.Context) -> None:
    """Turn a folder of images into the fastest MobileNet that a device can run, with proof."""
    if ctx.invoked_subcommand is None:
        click.echo(BEGINNER, nl=False)


def main(args: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's own) and return its exit code.

    0 done; 1 a check said no; 2 wrong usage or input; 3 a runtime or device is missing; 70 a bug of ours, with a
    crash file to attach; 130 interrupted.
    """
    shell = Shell()
    if COMPLETING in os.environ:
        importlib.import_module(".completion", __package__)  # teaches click the shell that it does not know
    try:
        code = commands.main(args=list(args) if args is not None else None, prog_name="mobilenets",
                             standalone_mode=False, obj=shell)  # fmt: skip
        return _flushed(code if isinstance(code, int) else 0)
    except MobilenetsError as error:
        shell.show_traceback()
        shell.complain(error.message, error.hint)
        return error.exit_code
    except click.ClickException as error:
        where = getattr(error, "ctx", None)
        shell.show_traceback()
        shell.complain(_one_line(error), f"see: {where.command_path if where else 'mobilenets'} --help")
        return 2
    except (KeyboardInterrupt, click.Abort):
        shell.show_traceback()
        shell.complain("interrupted")
        return 130
    except OSError as error:
        if error.errno not in REFUSALS:
            return _crashed(shell, error)
        shell.show_traceback()
        shell.complain(f"{error.filename or 'output'}: {error.strerror}")
        return 2
    except Exception as error:  # the outermost frame: what gets here is a bug, and ends the run
        return _crashed(shell, error)


def _one_line(error: click.ClickException) -> str:
    """click's message without capital and full stop, as all of ours are written."""
    text = " ".join(error.format_message().split()).rstrip(".")
    return text[:1].lower() + text[1:]


def _flushed(code: int) -> int:
    """`code`, once stdout has taken every byte; a reader who left early (`| head`) is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        Shell.drop_stdout()
    return code


def _crashed(shell: Shell, error: Exception) -> int:
    from .crash import write_crash

    shell.show_traceback()
    file = write_crash(error, sys.argv)
    shell.complain(f"this is a bug in mobilenets: {type(error).__name__}: {error}", f"please attach: {file}")
    return 70
