"""The way to the hub, `push`: a model file as a repository that timm loads too, and that says what is in it.

What is uploaded: README.md (the card), config.json in timm's style with a key of ours, model.safetensors in timm's
names where timm has the network, and the sealed model file, zipped, without the user's pictures unless they are asked
for. Everything is laid out in a folder first, so that it can be looked at, and nothing is uploaded unasked.
"""

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .codec import encode
from .errors import CheckpointMismatch, MissingRuntime, UsageError
from .files import replacing_folder
from .hub import CARD, CONFIG, EXTRA, OWN, SCHEME, Own, first_line, hub_parts, network_errors
from .records import Preprocess

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .bundle import ModelFile, ModelRecord
    from .specs import Spec

    Array = NDArray[np.generic]

MODEL = "model.zip"
WEIGHTS = "model.safetensors"
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]{0,60}")


@dataclass(frozen=True, slots=True)
class PushedFile:
    """One file of the repository; `bytes` is its length."""

    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Pushed:
    """What was, or would be, uploaded.

    pictures: whether pictures of the user's data are in it. timm: the name under which timm builds it, or None.
    uploaded: False after a dry run, and where the caller said no. folder: where the files were kept, if they were.
    """

    repo: str
    url: str
    private: bool
    pictures: bool
    timm: str | None
    licence: str | None
    files: tuple[PushedFile, ...]
    notes: tuple[str, ...]
    uploaded: bool = False
    folder: str | None = None


def push(
    model: "ModelFile | str | Path",
    repo: str,
    *,
    private: bool = False,
    with_pictures: bool = False,
    licence: str | None = None,
    dry_run: bool = False,
    out: str | Path | None = None,
    confirm: Callable[[Pushed], bool] | None = None,
) -> Pushed:
    """Upload a model file to the hub as the repository `repo` ("owner/name"), made where there is none.

    Args:
        private: of a repository that is made.
        with_pictures: leave the golden pictures and the report in; without it synthetic pictures take their place,
            which needs torch, and the report stays here.
        licence: the hub's word for it ("apache-2.0"); without it the card names none.
        dry_run: lay everything out and stop. out: a new folder that keeps what was laid out.
        confirm: is shown what will be uploaded, and says whether to go on.

    Raises: BadModelFile; UsageError for a bad name, a folder that is there, a hub that refuses; MissingRuntime without
        the hub's client, a token or a network.
    """
    from .bundle import ModelFile

    opened = model if isinstance(model, ModelFile) else ModelFile.open(model)
    name, revision = hub_parts(repo)
    if revision is not None:
        raise UsageError(f"{repo}: a push goes to the main branch", hint=f"name the repository alone: {name}")
    if licence is not None and not _LICENCE.fullmatch(licence):
        raise UsageError(f"{licence!r} is no licence as the hub writes it", hint="e.g. apache-2.0, mit, cc-by-4.0")
    if out is not None and Path(out).exists():
        raise UsageError(f"{out}: is there already", hint="name a new folder")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "repository" if out is None else Path(out)
        with replacing_folder(folder) as staged:
            made = stage(opened, staged, name, with_pictures=with_pictures, licence=licence)
        made = replace(made, private=private, folder=None if out is None else str(out))
        if dry_run or (confirm is not None and not confirm(made)):
            return made
        _upload(folder, name, private=private)
        return replace(made, uploaded=True)


def stage(
    model: "ModelFile", folder: Path, repo: str, *, with_pictures: bool = False, licence: str | None = None
) -> Pushed:
    """Write the repository's files into `folder`, which is there and empty, and say what they are."""
    from .models.weights.checkpoint import write_checkpoint

    record = model.record
    theirs = in_timm(record.spec, model.weights())
    timm, arrays = (None, model.weights()) if theirs is None else theirs
    licence = licence or _told_licence(record)
    sealed = _sealed(model, folder / MODEL, with_pictures=with_pictures)
    write_checkpoint(folder / WEIGHTS, arrays)
    config = json.dumps(hub_config(record, timm), indent=1, ensure_ascii=False) + "\n"
    (folder / CONFIG).write_text(config, encoding="utf-8")
    (folder / CARD).write_text(hub_card(sealed.record, repo, timm, licence=licence), encoding="utf-8")
    return Pushed(
        repo=repo,
        url=f"https://huggingface.co/{repo}",
        private=False,
        pictures=sealed.record.golden == "photos",
        timm=timm,
        licence=licence,
        files=tuple(PushedFile(file.name, file.stat().st_size) for file in sorted(folder.iterdir())),
        notes=_notes(record, timm, licence),
    )


def hub_config(record: "ModelRecord", timm: str | None) -> dict[str, object]:
    """config.json: timm's keys where it has the network, and under ours the exact spec and preprocess record."""
    labels, spec = record.labels, record.spec
    own = Own("own" if timm is None else "timm", spec, record.preprocess, labels, MODEL)
    named: dict[str, object] = {"label_names": labels.ids}
    if labels.names:
        named["label_descriptions"] = dict(zip(labels.ids, labels.names, strict=True))
    if timm is None:
        return {"library_name": OWN, "num_classes": spec.classes, **named, OWN: encode(own, Own)}
    return {
        "architecture": timm,
        "num_classes": spec.classes,
        "num_features": spec.channels,
        "global_pool": "avg",
        **named,
        **({"model_args": {"in_chans": spec.in_channels}} if spec.in_channels != 3 else {}),
        "pretrained_cfg": _fed(record.preprocess, spec.classes),
        OWN: encode(own, Own),
    }


def hub_card(record: "ModelRecord", repo: str, timm: str | None, *, licence: str | None) -> str:
    """README.md: front matter for the hub, how to load it here and in timm, then the model card's own sections."""
    from .bundle import model_card

    tags = [OWN, "image-classification", "mobilenet", *(["timm"] if timm else [])]
    front = [
        *([f"license: {licence}"] if licence else []),
        f"library_name: {'timm' if timm else OWN}",
        "pipeline_tag: image-classification",
        "tags:",
        *(f"- {tag}" for tag in tags),
    ]
    code = ["import mobilenets", "", f'print(mobilenets.load("{SCHEME}{repo}").predict("picture.jpg"))']
    if timm is not None:
        code += ["", "import timm", "", f'network = timm.create_model("{SCHEME}{repo}", pretrained=True)']
    sections = model_card(record).partition("\n## ")[2]
    return (
        "---\n" + "\n".join(front) + f"\n---\n\n# {record.name}\n\n"
        f"A {record.spec.name} for {record.task} with {len(record.labels)} labels. {MODEL} is the sealed model file "
        f"with its exported files and their proof; {WEIGHTS} holds the weights in "
        f"{'timm' if timm else OWN}'s names.\n\n"
        "```python\n" + "\n".join(code) + f"\n```\n\n## {sections}"
    )


def _sealed(model: "ModelFile", path: Path, *, with_pictures: bool) -> "ModelFile":
    """The model file as a zip at `path`; without pictures of the user's where these are not asked for."""
    from .bundle import add_files, copy_model, create_model_file, model_card
    from .bundle.manifest import CARD as MODEL_CARD
    from .bundle.manifest import REPORT
    from .deploy import golden_vectors, trained_network

    record = model.record
    if with_pictures or record.golden == "synthetic":
        return copy_model(model, path)
    golden = golden_vectors(
        trained_network(model),
        record.preprocess,
        task=record.task,
        labels=record.labels,
        calibration=record.calibration,
        samples=(),
        photos=False,
    )
    bare = replace(record, golden="synthetic")
    files = {export.file: model.read(export.file) for export in record.exports}
    made = create_model_file(path, bare, weights=model.weights(), golden=golden, files=files)
    return add_files(made, {MODEL_CARD: model_card(bare).replace(f" {REPORT} has curves and mistakes.", "")})


def in_timm(spec: "Spec", arrays: "Mapping[str, Array]") -> "tuple[str, Mapping[str, Array]] | None":
    """timm's name of the network that computes what `spec` does, and its arrays under timm's names; None where timm
    has no such network. Raises: CheckpointMismatch where the arrays are not those of the spec."""
    from .models.weights.timm import timm_architecture, write_timm

    try:
        name = timm_architecture(spec)
        return (name, write_timm(spec, arrays)) if name else None
    except CheckpointMismatch:
        raise
    except UsageError:
        return None


def _told_licence(record: "ModelRecord") -> str | None:
    """The licence of the weights that the network was imported from, as the hub writes it."""
    imported = record.provenance.imported
    licence = "" if imported is None else imported.licence.lower()
    return licence if _LICENCE.fullmatch(licence) else None


def _fed(record: Preprocess, classes: int) -> dict[str, object]:
    """timm's pretrained_cfg."""
    return {
        "custom_load": False,
        "input_size": (record.channels, *record.size_px),
        "fixed_input_size": False,
        "interpolation": record.interpolation,
        "crop_pct": 1.0 if record.fit == "stretch" else record.crop_ratio,
        "crop_mode": "squash" if record.fit == "stretch" else "center",
        "mean": record.mean,
        "std": record.std,
        "num_classes": classes,
        "first_conv": "conv_stem",
        "classifier": "classifier",
    }


def _notes(record: "ModelRecord", timm: str | None, licence: str | None) -> tuple[str, ...]:
    """What the owner should know before it is seen by others."""
    fed = record.preprocess
    notes = []
    if timm is None:
        notes.append(f"timm has no network like this {record.spec.name}; the weights bear our own names")
    elif fed.fit == "central_then_stretch" or fed.colour == "bgr" or not fed.antialias:
        notes.append(f"timm can't feed it exactly as we do ({fed.fit}, {fed.colour}, antialias {fed.antialias})")
    if licence is None:
        notes.append("no licence is named; --licence apache-2.0 would put one into the card")
    return tuple(notes)


def _upload(folder: Path, repo: str, *, private: bool) -> None:
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ModuleNotFoundError as error:
        raise MissingRuntime.extra("huggingface_hub", EXTRA) from error

    if huggingface_hub.get_token() is None:
        raise MissingRuntime(f"{repo}: uploading needs a token of the hub", hint="hf auth login")
    api = huggingface_hub.HfApi()
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Upload a model file of mobilenets")
    except errors.HFValidationError as error:
        raise UsageError(f"{repo!r} is no name that the hub takes: {first_line(error)}") from error
    except errors.OfflineModeIsEnabled as error:
        raise MissingRuntime(f"{repo}: HF_HUB_OFFLINE forbids to ask the hub", hint="unset HF_HUB_OFFLINE") from error
    except errors.HfHubHTTPError as error:
        raise UsageError(f"{repo}: the hub refused: {first_line(error)}", hint="hf auth whoami") from error
    except network_errors() as error:
        raise MissingRuntime(f"{repo}: the hub can't be reached: {first_line(error)}") from error
