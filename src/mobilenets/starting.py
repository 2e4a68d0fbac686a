"""What a training begins with: published weights or a model file, opened, checked, and put into the network to train.

Floor 6, called by planning.py (which network it is) and fitting.py (its weights). How it is then trained, by the
number of pictures, is train/transfer.py's.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .bundle import ModelFile
from .bundle.record import Origin
from .codec import from_json
from .data import Dataset
from .errors import BadData, MissingRuntime, UnknownName, UsageError
from .files import sha256
from .records import Labels, Preprocess
from .specs import ALIASES, Checkpoint, Network, Spec, folded, published_weights, resolve, with_activation
from .specs.checkpoints import HUBS
from .specs.spec import Norm

if TYPE_CHECKING:
    from torch import nn

    from .models.weights.graph import Array
    from .models.weights.read import Read

PRETRAINED = "pretrained"
USUAL = "mobilenetv3_large"
"""The network of `pretrained` where nobody names one."""
BACKBONE = "backbone.safetensors"
MOST_HEADER_BYTES = 20_000_000
CLASSIFIER = frozenset({"classifier.weight", "classifier.bias"})
STEM = "backbone.stem.conv.conv.weight"
STATISTICS_PICTURES = 256
"""Training pictures that norms which are put back get their statistics from."""


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """Weights to begin with. source: as the caller named it; labels: of its classifier, None where nobody tells them.

    arrays: float32 under our names, those of `spec`.
    """

    spec: Spec
    arrays: "dict[str, Array]"
    preprocess: Preprocess
    source: str
    origin: Origin
    labels: Labels | None = None


def open_start(weights: str | Path, *, network: Network, alpha: float | None) -> Start:
    """The weights that `weights` names.

    Args:
        weights: a model file of ours (folder or zip), a backbone.safetensors that `import --backbone` wrote, any file
            that `import` reads, "hf-hub:OWNER/NAME", or "pretrained": the published weights of `network` with the
            highest accuracy quoted that the hub's cache has, else that the hub has.
        network, alpha: what the caller asked for; "auto" takes what the weights are.

    Raises: UsageError where the weights are of another network than asked; BadData, CheckpointMismatch, UnknownName for
        a file that does not fit; MissingRuntime for a package or a network connection that is not here.
    """
    source = str(weights)
    if source == PRETRAINED:
        return _checked(_pretrained(USUAL if network == "auto" else network, alpha), network, alpha)
    if source.startswith("hf-hub:"):
        return _checked(_from_hub(source, source), network, alpha)
    path = Path(weights)
    if path.is_dir() and (path / BACKBONE).is_file():
        path = path / BACKBONE
    if path.is_dir() or path.suffix == ".zip":
        start = _from_model(path, source)
    elif path.suffix == ".safetensors" and (told := _own_metadata(path)):
        start = _from_backbone(path, told, source)
    else:
        start = _from_file(path, source, network)
    return _checked(start, network, alpha)


def spec_of_start(
    start: Start, *, classes: int, resolution_px: tuple[int, int] | None, in_channels: int | None
) -> Spec:
    """The network to train: the weights' own with another classifier, size and number of channels, and with norms
    where they were folded into biases."""
    from .train import unfolded_spec

    return unfolded_spec(resolve(start.spec, classes=classes, resolution_px=resolution_px, in_channels=in_channels))


def require_same_network(start: Start, spec: Spec, *, where: str) -> None:
    """Raises UsageError where `spec`, which `where` holds, is another network than the weights'."""
    if not _same_network(start.spec, spec):
        raise UsageError(f"{start.source}: its weights are of {start.spec.name}, {where} is about {spec.name}")


def fed_as_start(start: Start, spec: Spec) -> Preprocess:
    """The weights' own preprocessing at the size and with the channels of `spec`."""
    record = replace(start.preprocess, size_px=spec.resolution_px, layout="nchw", dtype="float32")
    if spec.in_channels == record.channels:
        return record
    if spec.in_channels not in (1, 3):
        raise UsageError(f"pictures give 1 or 3 channels, not {spec.in_channels}")
    mean, std = (sum(values) / len(values) for values in (record.mean, record.std))
    count = spec.in_channels
    return replace(record, mean=(mean,) * count, std=(std,) * count, colour="grey" if count == 1 else "rgb")


def keeps_classifier(start: Start, labels: Labels) -> bool:
    """Whether the weights' classifier already answers these labels, in this order."""
    return start.labels is not None and start.labels.ids == labels.ids


def changes(start: Start, spec: Spec, labels: Labels) -> tuple[str, ...]:
    """What is replaced or adapted to make `spec` of the weights, one sentence each."""
    (old_h, old_w), (h, w) = start.spec.resolution_px, spec.resolution_px
    if keeps_classifier(start, labels):
        head = f"the classifier of {spec.classes} classes is kept: its labels are those of the data"
    elif start.spec.classes:
        head = f"the classifier of {start.spec.classes} classes is replaced by one of {spec.classes}"
    else:
        head = f"a classifier of {spec.classes} classes is added"
    said = [head]
    if (old := start.spec.in_channels) != spec.in_channels:
        said.append(f"the stem's filters for {old} channels are summed up for {spec.in_channels}")
    if (old_h, old_w) != (h, w):
        said.append(f"pictures of {h}x{w} px are fed instead of {old_h}x{old_w}")
    if _with_own_norms(start, spec) != spec:
        said.append("its norms were folded into biases: they are put back, with statistics of the training pictures")
    return tuple(said)


def _with_own_norms(start: Start, spec: Spec) -> Spec:
    """`spec` with biases where the weights have them in the place of norms."""
    return replace(spec, stem=start.spec.stem, rows=start.spec.rows)


def started_network(start: Start, spec: Spec, dataset: Dataset, preprocess: Preprocess, *, seed: int) -> "nn.Module":
    """The network to train with the weights in it. What they do not hold is drawn from the seed."""
    import torch

    from .models import Network as Built
    from .models import adapt_stem, load_exact
    from .tasks import task
    from .train import training_batches, unfold

    own = _with_own_norms(start, spec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = task("classification").build(own, dataset.labels)
    assert isinstance(network, Built)
    arrays = dict(start.arrays)
    if spec.in_channels != start.spec.in_channels:
        arrays[STEM] = adapt_stem(arrays[STEM], spec.in_channels).astype("float32")
    load_exact(network, arrays, skip=frozenset() if keeps_classifier(start, dataset.labels) else CLASSIFIER)
    if own == spec:
        return network
    batches = training_batches(dataset.train, preprocess, most=STATISTICS_PICTURES, seed=seed)
    return unfold(network, batches)


# --- where weights come from ----------------------------------------------------------------------------------------


def _from_model(path: Path, source: str) -> Start:
    """A model file of ours: its network, its weights, its labels."""
    model = ModelFile.open(path)
    record, seal = model.record, model.seal
    before = record.provenance.imported
    origin = Origin(path.name, seal, "mobilenets", evidence=("a model file of ours",))
    if before is not None:
        origin = replace(origin, licence=before.licence, quoted=before.quoted, evidence=before.evidence,
                         assumed=before.assumed)  # fmt: skip
    arrays = {name: array.astype("float32") for name, array in model.weights().items()}
    return Start(record.spec, arrays, record.preprocess, source, origin, record.labels)


def _own_metadata(path: Path) -> dict[str, str] | None:
    """The metadata of a .safetensors file that this library wrote; None for any other file."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if 0 < length <= MOST_HEADER_BYTES else {}
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from error
    except (ValueError, RecursionError):
        return None  # whatever it is, the readers of published files name what is wrong
    told = header.get("__metadata__") if isinstance(header, dict) else None
    return told if isinstance(told, dict) and told.get("format") == "mobilenets" else None


def _from_backbone(path: Path, told: dict[str, str], source: str) -> Start:
    from .bundle.model_file import load_arrays

    lacking = [key for key in ("spec", "preprocess", "origin") if not isinstance(told.get(key), str)]
    if lacking:
        raise BadData(f"{path}: its header has no {lacking[0]}", hint="mobilenets import FILE --backbone -o FOLDER")
    spec, preprocess, origin = (
        from_json(Spec, told["spec"], where=f"{path}: spec"),
        from_json(Preprocess, told["preprocess"], where=f"{path}: preprocess"),
        from_json(Origin, told["origin"], where=f"{path}: origin"),
    )
    arrays = {name: array.astype("float32") for name, array in load_arrays(path.read_bytes(), where=str(path)).items()}
    return Start(spec, arrays, preprocess, source, origin)


def _from_file(path: Path, source: str, network: Network) -> Start:
    from .models.weights.formats import format_of, read_file

    name = network if isinstance(network, str) and network != "auto" and not network.endswith(".json") else None
    read = read_file(path, name=name)
    return _from_read(read, source, file=path, kind=format_of(path).name)


def _from_hub(address: str, source: str, *, quoted: str = "", offline: bool | None = None) -> Start:
    from .hub import fetch, hub_parts, read_hub, weights_in

    folder = fetch(address, offline=offline)
    start = _from_read(read_hub(folder), source, file=weights_in(folder), kind="hub")
    repo, _ = hub_parts(address)
    return replace(start, origin=replace(start.origin, file=f"{repo}: {start.origin.file}", quoted=quoted))


def _from_read(read: "Read", source: str, *, file: Path, kind: str) -> Start:
    from .data import imagenet_labels

    origin = Origin(
        file=file.name, sha256=sha256(file), format=kind, licence=read.metadata.get("licence", ""),
        evidence=read.evidence, assumed=read.assumed, left_out=len(read.left_out),
    )  # fmt: skip
    classes = read.spec.classes
    labels = imagenet_labels(classes) if classes in (1000, 1001) else read.labels
    return Start(read.spec, read.arrays, read.preprocess, source, origin, labels)


def _pretrained(network: Network, alpha: float | None) -> Start:
    """The published weights of `network` with the highest accuracy quoted: of those in the hub's cache, else of all."""
    wanted = resolve(network, alpha=alpha)
    rows = sorted(_published(wanted), key=lambda row: -(row.quoted.top1 if row.quoted else 0.0))
    if not rows:
        raise UnknownName(
            f"no published weights of {wanted.name} at alpha {wanted.alpha:g} are known",
            hint="mobilenets weights list has those there are; --weights FILE takes one of your own",
        )
    for row in rows:
        try:
            return _from_hub(row.id, PRETRAINED, quoted=_quoted(row), offline=True)
        except MissingRuntime as error:
            if error.hint is not None and "pip install" in error.hint:
                raise
    return _from_hub(rows[0].id, PRETRAINED, quoted=_quoted(rows[0]))


def _published(wanted: Spec) -> list[Checkpoint]:
    """The float32 weights on the hub of the network whose spec is `wanted`, whatever its source's details."""
    return [
        row
        for row in published_weights(alpha=wanted.alpha)
        if row.source in HUBS
        and row.precision == "float32"
        and row.classes >= 1000  # classifiers, no parts of larger networks
        and _same_network(resolve(row.network, alpha=row.alpha), wanted)
    ]


def _quoted(row: Checkpoint) -> str:
    return "" if row.quoted is None else f"top-1 {100 * row.quoted.top1:.2f} % by {row.quoted.where}"


# --- whether they are of the network that was asked for --------------------------------------------------------------


def _checked(start: Start, network: Network, alpha: float | None) -> Start:
    """`start`, if it is of `network` at `alpha` as far as those are said."""
    own = start.spec
    if network != "auto":
        asked = resolve(network, alpha=alpha)
        if not _same_network(asked, own):
            raise UsageError(
                f"{start.source}: its weights are of {own.name} at alpha {own.alpha:g}, not of {asked.name} at alpha "
                f"{asked.alpha:g}",
                hint="leave --network and --alpha out: the weights say which network it is",
            )
    elif alpha is not None and alpha != own.alpha:
        raise UsageError(
            f"{start.source}: its weights are of {own.name} at alpha {own.alpha:g}, not {alpha:g}",
            hint="leave --alpha out",
        )
    return start


def _same_network(one: Spec, other: Spec) -> bool:
    """Whether both are one network of the catalogue, whatever their sources' rounding, or have the same rows."""
    names = [ALIASES[spec.name].network if spec.name in ALIASES else spec.name for spec in (one, other)]
    return (names[0] == names[1] and one.alpha == other.alpha) or _bare(one) == _bare(other)


def _bare(spec: Spec) -> Spec:
    """`spec` without what weights of one network differ in: its source's details, input, classes, and how it trains."""
    bare = with_activation(spec, "relu")
    bare = folded(replace(bare, norm=Norm(), padding="symmetric", classes=0, in_channels=3, drop_path=0.0))
    head = replace(bare.head, dropout=0.0)
    return replace(bare, name="any", generation="own", alpha=1.0, resolution_px=(224, 224), head=head)
