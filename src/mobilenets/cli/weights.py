"""`mobilenets weights list`: the catalogue of published weights, with the accuracy that their sources quote."""

from typing import TYPE_CHECKING, Any

import click

from . import options
from .shell import Shell
from .text import table

if TYPE_CHECKING:
    from ..specs import Checkpoint
    from ..specs.checkpoints import Quoted, Source
    from ..specs.spec import Generation

SOURCES = ("timm", "torchvision", "keras", "slim", "huggingface", "opencv")
GENERATIONS = ("v1", "v2", "v3", "edgetpu", "v4", "mnasnet")
QUOTED = "accuracies are quoted from where the weights were published (--json says where), not measured here"


@click.group("weights")
def weights_command() -> None:
    """Look at published weights: which there are, and what is known of them."""


@options.command(
    "list",
    example="mobilenets weights list small --source timm --max-mb 12",
    python="from mobilenets.specs import published_weights; published_weights('small', source='timm', max_mb=12)",
)
@click.argument("text", nargs=-1)
@click.option("--source", type=click.Choice(SOURCES), help="Only what this one publishes.")
@click.option("--generation", type=click.Choice(GENERATIONS), help="Only networks of this generation.")
@options.alpha
@options.resolution
@click.option("--max-params", type=click.IntRange(min=1), help="Only with at most as many parameters.")
@click.option("--max-mb", type=click.FloatRange(min=0), help="Only with at most as many MB of float32 weights.")
def list_command(
    shell: Shell,
    text: tuple[str, ...],
    source: "Source | None",
    generation: "Generation | None",
    alpha: float | None,
    resolution_px: tuple[int, int] | None,
    max_params: int | None,
    max_mb: float | None,
) -> None:
    """List the published weights in which every word of TEXT occurs: id, network, licence, training data.

    Ids that begin with timm/ or google/ are repositories of the Hugging Face hub: hf-hub:ID fetches them. A dash
    stands for what no source tells.
    """
    from ..specs import published_weights

    rows = published_weights(
        " ".join(text),
        source=source,
        generation=generation,
        alpha=alpha,
        resolution_px=resolution_px,
        max_params=max_params,
        max_mb=max_mb,
    )
    shell.answer({"weights": [_keys(row) for row in rows]}, _lines(rows))


def _keys(row: "Checkpoint") -> dict[str, Any]:
    return {
        "id": row.id,
        "network": row.network,
        "generation": row.generation,
        "alpha": row.alpha,
        "resolution_px": row.resolution_px,
        "classes": row.classes,
        "source": row.source,
        "licence": row.licence,
        "precision": row.precision,
        "data": row.data,
        "preprocess": {
            "mean": row.mean,
            "std": row.std,
            "fit": row.fit,
            "crop_ratio": row.crop_ratio,
            "interpolation": row.interpolation,
        },
        "quoted": _quoted(row.quoted),
        "quoted_larger": _quoted(row.larger),
        "params": row.params,
        "size_mb": row.size_mb,
        "note": row.note,
    }


def _quoted(said: "Quoted | None") -> dict[str, Any] | None:
    if said is None:
        return None
    return {"top1": said.top1, "top5": said.top5, "where": said.where, "resolution_px": said.resolution_px}


def _lines(rows: "tuple[Checkpoint, ...]") -> list[str]:
    from ..report import figures

    if not rows:
        return ["no published weights like this"]
    cells = [
        (
            row.id,
            row.network,
            row.licence or "-",
            row.data,
            _fed(row),
            f"{row.alpha:g}",
            "-" if row.resolution_px is None else str(row.resolution_px[0]),
            "-" if row.params is None else figures.short(row.params),
            _size(row),
            "-" if row.quoted is None else figures.percent(row.quoted.top1),
        )
        for row in rows
    ]
    head = ("weights", "network", "licence", "data", "fed", "alpha", "pixels", "params", "size", "quoted top-1")
    return [*table(head, cells, left=5), "", QUOTED]


def _size(row: "Checkpoint") -> str:
    """Megabytes, or the precision of an 8-bit file, whose size is not told."""
    from ..report import figures

    if row.size_mb is not None:
        return figures.megabytes(row.size_mb)
    return "-" if row.precision == "float32" else row.precision


def _fed(row: "Checkpoint") -> str:
    """Mean and std, share that the crop keeps, interpolation."""
    from ..specs.checkpoints import NORMS

    norm = next((name for name, values in NORMS.items() if values == (row.mean, row.std)), "-")
    crop = "-" if row.crop_ratio is None else f"{row.crop_ratio:.3g}"
    return f"{norm} {crop} {row.interpolation or '-'}"


weights_command.add_command(list_command)
