"""The model card: README.md of a model file, drawn from its record, for the person who finds the folder later."""

from ..records import Calibration
from .manifest import REPORT
from .record import ExportRecord, ModelRecord, Provenance

SHOWN_LABELS = 20


def model_card(record: ModelRecord) -> str:
    """The card as Markdown: what the network is for, how well it does, how it was made, how to run and check it."""
    sections = [
        _what(record),
        _figures(record),
        _input(record),
        _exports(record.exports),
        _training(record.provenance),
        _limits(record),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _what(record: ModelRecord) -> str:
    labels = [record.labels.name(i) for i in range(min(len(record.labels), SHOWN_LABELS))]
    report = f" {REPORT} has curves and mistakes." if record.metrics else ""
    more = f" and {len(record.labels) - SHOWN_LABELS} more" if len(record.labels) > SHOWN_LABELS else ""
    return (
        f"# {record.name}\n\n"
        f"A {record.spec.name} for {record.task}: {len(record.labels)} labels ({', '.join(labels)}{more}).\n\n"
        "```python\n"
        "import mobilenets\n\n"
        'model = mobilenets.load("PATH OF THIS FOLDER")\n'
        'print(model.predict("picture.jpg"))\n'
        "```\n\n"
        "`mobilenets verify PATH` proves that the exported files answer as the trained network does. The layout of\n"
        f"this folder is described in the library's docs/model-file.md.{report}"
    )


def _figures(record: ModelRecord) -> str:
    rows = []
    for split, figures in record.metrics.items():
        shown = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        rows.append(f"- {split}: {shown}")
    return "## Figures\n\n" + "\n".join(rows) if rows else ""


def _input(record: ModelRecord) -> str:
    p = record.preprocess
    fits = {
        "short_then_crop": f"shorter side resized to 1/{p.crop_ratio:g} of the size, centre cropped",
        "central_then_stretch": f"central {p.crop_ratio:g} of height and width, stretched to the size",
        "stretch": "the whole picture stretched to the size",
    }
    return (
        "## Input\n\n"
        f"{p.size_px[0]} x {p.size_px[1]} px (height x width), {p.colour}: {fits[p.fit]}; {p.interpolation}"
        f"{', antialiased' if p.antialias else ''}; mean {_numbers(p.mean)}, std {_numbers(p.std)} of pixels in 0..1; "
        f"{p.layout}, {p.dtype}. All of it stands in model.json."
    )


def _exports(exports: tuple[ExportRecord, ...]) -> str:
    lines = [
        "## Exported files",
        "",
        "| target | precision | file | largest logit error | top-1 agreement | verified |",
    ]
    lines.append("|---|---|---|---|---|---|")
    for export in exports:
        proof = export.verification
        error, same = (f"{proof.max_relative_error:.1e}", f"{proof.top1_agreement:.2%}") if proof else ("", "")
        verified = "yes" if export.verified else "no"
        lines.append(f"| {export.target} | {export.precision} | {export.file} | {error} | {same} | {verified} |")
    return "\n".join(lines) if exports else ""


def _training(provenance: Provenance) -> str:
    images = ", ".join(f"{count} {split}" for split, count in provenance.images.items())
    lines = [
        "## Provenance",
        "",
        f"- data: {provenance.data} ({images}); split: {provenance.split_origin}",
        f"- data hash (SHA-256): {provenance.data_sha256}",
        f"- trained {provenance.created} with {provenance.revision}, seed {provenance.seed}",
    ]
    if provenance.origin:
        lines.append(f"- started from {provenance.origin}{_licence(provenance)}")
    if provenance.training is not None:
        run = provenance.training
        lines.append(f"- {run.epochs} epochs, {run.steps} steps of {run.batch} images, {run.seconds:.0f} s")
    if provenance.machine is not None:
        lines.append(f"- on {provenance.machine.cpu}, {provenance.machine.cores} cores")
    if provenance.versions:
        lines.append("- with " + ", ".join(f"{name} {version}" for name, version in provenance.versions.items()))
    return "\n".join(lines)


def _licence(provenance: Provenance) -> str:
    """File, hash and licence of the published weights."""
    if (origin := provenance.imported) is None:
        return ""
    licence = f", licence {origin.licence}" if origin.licence else ""
    return f" ({origin.file}, SHA-256 {origin.sha256}{licence})"


def _limits(record: ModelRecord) -> str:
    golden = (
        "The pictures under golden/ are from the validation data."
        if record.golden == "photos"
        else "The pictures under golden/ are synthetic; none of the training data is in this folder."
    )
    scope = "The figures hold for pictures like those of the data above."
    return f"## Limits\n\n{_refusal(record.calibration)} {scope} {golden}"


def _refusal(calibration: Calibration) -> str:
    if calibration.energy_threshold is None:
        return "It names one of its labels for any picture, also for one that shows none of them."
    return (
        f'It answers "none of these" where the free energy is above {calibration.energy_threshold:.4g}, '
        f"which keeps {calibration.known_kept:.0%} of the validation pictures."
    )


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"
