"""`mobilenets import`: a published network as a model file, proved against its original."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options
from .shell import Shell
from .text import facts, some, table

if TYPE_CHECKING:
    from ..importing import ImportResult

FITS = {"short": "short_then_crop", "slim": "central_then_stretch", "squash": "stretch"}
SHOWN = 12


class Numbers(click.ParamType[tuple[float, ...]]):
    """One number, or one per channel: `0.5`, `0.485,0.456,0.406`."""

    name = "numbers"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        try:
            return tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a number, nor numbers with commas between them", param, ctx)


@options.command(
    "import",
    example="mobilenets import theirs.onnx -o runs/imported",
    python="mobilenets.import_model('theirs.onnx', out='runs/imported-too')",
)
@click.argument("source")
@click.option("-o", "--out", type=options.PATH, help="Where the model file goes, new.  [runs/NAME]")
@click.option("--network", type=options.NETWORK, help="Which network it is, where the file holds weights alone.")
@click.option("--backbone", is_flag=True, help="Take the MobileNet out of a larger network, without classifier.")
@click.option("--data", help="Pictures to prove it on; labelled ones also decide an activation that is not stored.")
@click.option("--fit", type=click.Choice(tuple(FITS)), help="How pictures are brought to size.  [as its source does]")
@click.option("--mean", type=Numbers(), help="Of pixels in 0..1, one or one per channel.  [from the file]")
@click.option("--std", type=Numbers(), help="Of pixels in 0..1, one or one per channel.  [from the file]")
@click.option("--colour", type=click.Choice(("rgb", "bgr", "grey")), help="Order of the channels.  [rgb]")
@options.resolution
@click.option("--labels", type=options.PATH, help="A text file with one class a line, in the order of the logits.")
@click.option("--overwrite", is_flag=True, help="Replace what is at --out.")
def import_command(
    shell: Shell,
    source: str,
    out: Path | None,
    network: str | None,
    backbone: bool,
    data: str | None,
    fit: str | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    colour: str | None,
    resolution_px: tuple[int, int] | None,
    labels: Path | None,
    overwrite: bool,
) -> None:
    """Read SOURCE (.tflite, .onnx, .xml, .h5, .keras, .pth, .safetensors, .npz, a TensorFlow checkpoint, or
    hf-hub:USER/NAME), prove that the network answers as the original does, and seal it as a model file.

    Ends with 1 when the import answers otherwise than the original, with the cause where one is found.
    """
    from ..data.labels import read_labels
    from ..importing import Changes, import_model

    changes = Changes(
        fit=None if fit is None else FITS[fit],
        mean=mean,
        std=std,
        colour=colour,
        resolution_px=resolution_px,
        labels=None if labels is None else read_labels(labels),
    )
    result = import_model(
        source, out=out, network=network, backbone=backbone, data=data, changes=changes, overwrite=overwrite,
        on_step=shell.note,
    )  # fmt: skip
    shell.answer(result, _lines(result))


def _lines(result: "ImportResult") -> list[str]:
    from ..report import figures

    proof = result.proof
    told = f"none: {result.unproved}"
    if proof is not None:
        what = (
            f"{proof.tensors} inner tensors"
            if proof.tensors
            else f"{figures.percent(proof.top1_agreement)} equal answers"
        )
        told = (
            f"{proof.runtime} on {figures.plural(proof.images, 'image')}: {what}, largest difference "
            f"{figures.decimal(proof.max_relative_error)} of the largest output"
        )
    lines = []
    if result.activations:
        rows = [
            (a.activation, figures.percent(a.top1), f"{a.correct} of {a.images}", a.verdict) for a in result.activations
        ]
        lines = [*table(("activation", "top-1", "right", ""), rows), ""]
    size = f"{figures.short(result.params)} parameters"
    h, w = result.resolution_px
    return [
        *lines,
        *facts(
            (
                ("network", f"{result.network} alpha {result.alpha:g} at {h}x{w} px, {result.classes} classes, {size}"),
                *(("found", line) for line in result.evidence),
                *((("assumed", ", ".join(result.assumed)),) if result.assumed else ()),
                ("proof", told),
                ("model", result.model),
            )
        ),
        *some([f"left out: {name}" for name in result.left_out], SHOWN),
    ]
