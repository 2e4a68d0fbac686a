"""Networks on the Hugging Face hub: their addresses, fetching them into the hub's own cache, reading what came.

The hub's client does the fetching: its cache (HF_HOME, HF_HUB_CACHE), its offline switch (HF_HUB_OFFLINE), its
resuming. Only the files that are needed are asked for. What the tensors and config.json say is read by models/weights;
what is made of it (a proof, a model file) is importing.py's; the way out is pushing.py's.
"""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .codec import decode, shown
from .errors import BadData, CheckpointMismatch, MissingRuntime, UnknownName, UsageError
from .files import sha256
from .records import Labels, Preprocess
from .specs import Spec

if TYPE_CHECKING:
    from .models.weights.graph import Array
    from .models.weights.read import Read

SCHEME = "hf-hub:"
EXTRA = "hub"
CONFIG = "config.json"
PROCESSOR = "preprocessor_config.json"
CARD = "README.md"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""The first that a repository has; the second is opened as tensors only."""
OWN = "mobilenets"
"""Our key in config.json; other libraries pass over it."""
MOST_JSON_BYTES = 20_000_000
_REPO = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
_REVISION = re.compile(r"[\w./-]{1,200}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FRONT_MATTER = re.compile(r"---\r?\n(.*?)\r?\n---", re.DOTALL)
_LICENCE = re.compile(r"^license: *[\"']?([\w.+-]{1,100})", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Own:
    """What config.json of a repository that was pushed from here says under our key.

    names: whose names the tensors bear. model: the sealed model file beside them.
    """

    names: Literal["timm", "own"] = "timm"
    spec: Spec | None = None
    preprocess: Preprocess | None = None
    labels: Labels | None = None
    model: str | None = None


def is_hub_address(text: str) -> bool:
    """Whether `text` names a repository of the hub rather than a file: "hf-hub:timm/mobilenetv2_100.ra_in1k"."""
    return text.startswith(SCHEME)


def hub_parts(text: str) -> tuple[str, str | None]:
    """(owner/name, revision or None) of "hf-hub:owner/name@revision"; the scheme and the revision may be left out.

    Raises: UsageError for what can't be a repository.
    """
    repo, at, revision = text.removeprefix(SCHEME).partition("@")
    if not _REPO.fullmatch(repo) or ".." in text or (at and not _REVISION.fullmatch(revision)):
        raise UsageError(
            f"{text!r} is no repository of the hub", hint="write hf-hub:OWNER/NAME, or OWNER/NAME@REVISION"
        )
    return repo, revision or None


def fetch(repo: str, *, revision: str | None = None, offline: bool | None = None) -> Path:
    """The folder of the hub's cache with config.json, weights and card of `repo`; what is not there yet is fetched.

    Args:
        repo: "hf-hub:timm/mobilenetv3_small_100.lamb_in1k", or without the scheme; "...@REVISION" as well.
        revision: branch, tag or commit; by default what the address says, else the main branch.
        offline: True looks into the cache alone; by default the hub client's own switch, HF_HUB_OFFLINE, decides.

    Raises: MissingRuntime without the hub's client, and without a network where the cache has nothing; UnknownName for
        a repository, a revision or weights that are not there; UsageError for one that is gated; BadData for weights
        that are not the bytes the hub lists.
    """
    name, named = hub_parts(repo)
    wanted, local = revision or named, bool(offline)
    config = _download(name, CONFIG, wanted, local)
    if config is None:
        raise UnknownName(f"{name}: has no {CONFIG}, so it holds no network", hint="see: mobilenets weights list")
    commit = config.parent.name if _COMMIT.fullmatch(config.parent.name) else wanted  # all files of one state
    model = own_of(read_json(config), where=str(config)).model
    for optional in (PROCESSOR, CARD, *([model] if model else [])):
        _download(name, optional, commit, local, optional=True)
    for file in WEIGHTS:
        if (weights := _download(name, file, commit, local, optional=file != WEIGHTS[-1])) is not None:
            check_blob(weights)
            return config.parent
    raise UnknownName(f"{name}: has neither {' nor '.join(WEIGHTS)}")


def read_hub(folder: Path) -> "Read":
    """The network in a fetched folder: spec, weights under our names, preprocessing, labels; `metadata` says the
    repository, the revision and the licence where they are told.

    Raises: BadData for a config.json or weights that can't be read; CheckpointMismatch where they do not fit.
    """
    from .models.weights.checkpoint import open_checkpoint
    from .models.weights.layout import slots
    from .models.weights.state_dict import read_state_dict

    weights = weights_in(folder)
    config = read_json(folder / CONFIG)
    own = own_of(config, where=str(folder / CONFIG))
    arrays = open_checkpoint(weights).arrays
    if own.names == "own" and own.spec is not None:
        read = _under_own_names(own.spec, arrays, where=str(weights))
    else:
        processor = read_json(folder / PROCESSOR) if (folder / PROCESSOR).is_file() else {}
        read = read_state_dict(arrays, where=str(weights), config={**processor, **config})
    if own.spec is not None and own.preprocess is not None:
        if slots(own.spec) != slots(read.spec):
            raise CheckpointMismatch(f"{folder / CONFIG}: {OWN}.spec is not the network of the weights")
        read = replace(read, spec=own.spec, preprocess=own.preprocess, assumed=())
    return replace(read, labels=own.labels or read.labels, metadata={**read.metadata, **_facts(folder, config)})


def weights_in(folder: Path) -> Path:
    """The weights of a fetched folder. Raises: BadData where there are none, or they are not what the hub lists."""
    for file in WEIGHTS:
        if (folder / file).is_file():
            check_blob(folder / file)
            return folder / file
    raise BadData(f"{folder}: has neither {' nor '.join(WEIGHTS)}")


def sealed_model(folder: Path) -> Path | None:
    """The model file of ours that a pushed repository carries beside its weights, or None."""
    name = own_of(read_json(folder / CONFIG), where=str(folder / CONFIG)).model
    return folder / name if name is not None and (folder / name).is_file() else None


def read_json(path: Path) -> dict[str, object]:
    """The JSON object in `path`. Raises: BadData for anything else, and for a file of more than 20 MB."""
    try:
        if path.stat().st_size > MOST_JSON_BYTES:
            raise BadData(f"{path}: larger than {MOST_JSON_BYTES // 10**6} MB")
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise BadData(f"{path}: can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BadData(f"{path}: not JSON") from error
    if not isinstance(data, dict):
        raise BadData(f"{path}: must hold a JSON object")
    return data


def own_of(config: Mapping[str, object], *, where: str) -> Own:
    """What stands under our key; the defaults where the repository was not pushed from here."""
    try:
        own = decode(Own, config.get(OWN, {}), where=f"{where}: {OWN}")
    except BadData:
        raise
    except UsageError as error:
        raise BadData(f"{where}: {OWN}: {error.message}") from error
    if own.model is not None and not re.fullmatch(r"[\w-]{1,100}\.zip", own.model):
        raise BadData(f"{where}: {OWN}.model must be the name of a .zip, not {shown(own.model)}")
    return own


def _under_own_names(spec: Spec, arrays: "dict[str, Array]", *, where: str) -> "Read":
    """A network that no other library has: every array of the spec, and no other."""
    from .models.weights.layout import slots
    from .models.weights.read import Read

    wanted = {slot.name: slot.shape for slot in slots(spec)}
    held = {name: array.shape for name, array in arrays.items()}
    if wrong := sorted(name for name in wanted.keys() | held.keys() if wanted.get(name) != held.get(name)):
        first = wrong[0]
        raise CheckpointMismatch(
            f"{where}: {len(wrong)} tensors differ; {first}: want {wanted.get(first)}, file has {held.get(first)}"
        )
    said = (f"names are ours, the network is what {CONFIG} holds, {spec.name}",)
    return Read(spec, {name: arrays[name] for name in wanted}, Preprocess(spec.resolution_px), evidence=said)


def _facts(folder: Path, config: Mapping[str, object]) -> dict[str, str]:
    """Where it comes from, by the cache's layout (models--OWNER--NAME/snapshots/COMMIT), and the licence that the
    card's front matter names, or timm's pretrained_cfg."""
    facts: dict[str, str] = {}
    owner = folder.parent.parent.name
    if folder.parent.name == "snapshots" and owner.startswith("models--"):
        facts = {"repo": owner.removeprefix("models--").replace("--", "/", 1), "revision": folder.name}
    card, pretrained = folder / CARD, config.get("pretrained_cfg")
    licence = pretrained.get("license") if isinstance(pretrained, dict) else None
    if card.is_file() and card.stat().st_size <= MOST_JSON_BYTES:
        front = _FRONT_MATTER.match(card.read_text(encoding="utf-8", errors="replace"))
        told = _LICENCE.search(front[1]) if front else None
        licence = told[1] if told else licence
    if isinstance(licence, str) and 0 < len(licence) <= 100:
        facts["licence"] = licence
    return facts


# --- the hub's client ----------------------------------------------------------------------------------------------


def _download(repo: str, file: str, revision: str | None, offline: bool, *, optional: bool = False) -> Path | None:
    """One file of a repository in the hub's cache; None where the repository has no such file.

    optional: None as well where the cache has no such file and the hub can't be asked.
    """
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ModuleNotFoundError as error:
        raise MissingRuntime.extra("huggingface_hub", EXTRA) from error

    try:
        with _silent():
            return Path(huggingface_hub.hf_hub_download(repo, file, revision=revision, local_files_only=offline))
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        if optional:
            return None
        raise _unreachable(repo, file) from error
    except errors.EntryNotFoundError:
        return None
    except errors.RevisionNotFoundError as error:
        raise UnknownName(f"{repo}: has no revision {revision!r}") from error
    except errors.GatedRepoError as error:
        raise UsageError(
            f"{repo}: is gated: its owner wants to know who takes it",
            hint=f"ask on https://huggingface.co/{repo}, then: hf auth login",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UnknownName(
            f"no repository {repo!r} on the hub (a private one needs: hf auth login)",
            hint="see: mobilenets weights list",
        ) from error
    except errors.HFValidationError as error:
        raise UsageError(f"{repo!r} is no repository of the hub") from error
    except network_errors() as error:
        raise MissingRuntime(
            f"{repo}: {file} did not come whole: {first_line(error)}",
            hint="run the same again; it goes on where it stopped",
        ) from error


def network_errors() -> tuple[type[BaseException], ...]:
    """What the hub's client raises on a connection that fails: its HTTP library's errors and the system's."""
    from huggingface_hub.errors import HfHubHTTPError

    return HfHubHTTPError.__bases__


def first_line(error: BaseException) -> str:
    """The first line of what an error of another library says, or its name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _unreachable(repo: str, file: str) -> MissingRuntime:
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = f"models--{repo.replace('/', '--')}"
    return MissingRuntime(
        f"{repo}: {file} is not in the hub's cache here, and the hub can't be reached (no network, or HF_HUB_OFFLINE)",
        hint=f"where there is a network: hf download {repo}; then copy its cache folder {folder} into {HF_HUB_CACHE}",
    )


def check_blob(path: Path) -> None:
    """Raises BadData where a large file is not the one the hub lists: the cache names it by its SHA-256."""
    blob = path.resolve()
    if _SHA256.fullmatch(blob.name) and sha256(blob) != blob.name:
        raise BadData(
            f"{blob}: is not the file that the hub lists (its bytes were changed)", hint="delete it, fetch again"
        )


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without the client's own progress bars: a library prints nothing."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
