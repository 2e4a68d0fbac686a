"""`mobilenets push`: a model file as a repository of the Hugging Face hub; what goes up is said first."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from . import options
from .shell import Shell
from .text import table

if TYPE_CHECKING:
    from ..pushing import Pushed


@options.command(
    "push",
    example="mobilenets push runs/photos/model me/photos --dry-run",
    python="from mobilenets.pushing import push; push('runs/photos/model', 'me/photos', dry_run=True)",
)
@click.argument("model")
@click.argument("repo")
@click.option("--private", is_flag=True, help="Make the repository a private one.")
@click.option("--with-pictures", is_flag=True, help="Leave your pictures in: golden images and the report.")
@click.option("--licence", help="The licence that the card names, as the hub writes it: apache-2.0, mit, cc-by-4.0.")
@click.option("-o", "--out", type=options.PATH, help="Keep the files in this new folder as well.")
@options.dry_run
@click.option("--yes", is_flag=True, help="Do not ask before uploading.")
def push_command(
    shell: Shell,
    model: str,
    repo: str,
    private: bool,
    with_pictures: bool,
    licence: str | None,
    out: Path | None,
    dry_run: bool,
    yes: bool,
) -> int:
    """Upload the model file MODEL to the hub as REPO (owner/name): card, weights that timm loads where it has the
    network, the sealed model file without your pictures.

    Says what will go up, then asks; --dry-run stops there. Ends with 1 when the answer was no.
    """
    from ..pushing import push

    def agreed(made: "Pushed") -> bool:
        if yes:
            return True
        if not sys.stdin.isatty():
            raise UsageError(f"{made.repo}: nothing was uploaded: nobody is here to agree", hint="say --yes")
        click.echo("\n".join(_lines(made)), err=True)
        return click.confirm(f"upload to {made.url}?", err=True)

    done = push(
        model,
        repo,
        private=private,
        with_pictures=with_pictures,
        licence=licence,
        dry_run=dry_run,
        out=out,
        confirm=agreed,
    )
    shell.answer(done, _lines(done))
    return 0 if done.uploaded or dry_run else 1


def _lines(done: "Pushed") -> list[str]:
    from ..report import figures

    files = table(("", ""), [(file.name, figures.megabytes(file.bytes / 1e6)) for file in done.files])
    return [
        f"{'uploaded to' if done.uploaded else 'not uploaded:'} {done.url}{' (private)' if done.private else ''}",
        *(f"  {line}" for line in files),
        "pictures of your data are in it" if done.pictures else "no pictures of your data are in it",
        f"timm loads it as {done.timm}" if done.timm else "timm does not load it",
        *done.notes,
    ]
