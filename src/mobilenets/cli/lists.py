"""Options that take several values: repeated, or with commas between them (`--threads 1,2`)."""

import click


def words(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """The values, without empty and doubled ones."""
    return tuple(dict.fromkeys(part for text in value for word in text.split(",") if (part := word.strip())))


def numbers(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[int, ...]:
    """The values as whole numbers from 1."""
    found = words(ctx, param, value)
    for text in found:
        if not (text.isascii() and text.isdigit() and int(text) > 0):
            raise click.BadParameter(f"{text!r} is not a whole number from 1", ctx, param)
    return tuple(int(text) for text in found)
