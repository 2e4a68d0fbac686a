"""From what a caller wrote to a spec: a name, a JSON file of rows, or a spec, with the variations laid over it."""

import difflib
from pathlib import Path
from typing import TypeAlias

from ..errors import UnknownName, UsageError
from . import transform
from .catalogue import ALIASES, CATALOGUE, rule_of, spec_of
from .spec import Spec, spec_from_json
from .width import at_alpha

Network: TypeAlias = str | Path | Spec
"""A name of the catalogue or an alias, the path of a spec's JSON file, or a spec."""

MOST_BYTES = 50_000_000


def find(name: str) -> Spec:
    """The network called `name`: canonical, timm's (a tag after a dot is ignored), torchvision's, Keras's, slim's.

    Raises: UnknownName, which names the closest ones.
    """
    return _named(name, None)


def resolve(
    network: Network,
    *,
    alpha: float | None = None,
    resolution_px: tuple[int, int] | None = None,
    classes: int | None = None,
    in_channels: int | None = None,
    output_stride: int | None = None,
    stem_stride: int | None = None,
) -> Spec:
    """The spec that `network` stands for, varied. None leaves what it says.

    alpha: width multiplier of the named network's table, by the rule of the name's source (slim's for canonical
        names); a spec or a file is taken as such a table, by the rule of the name that it bears.
    resolution_px: (h, w). classes: 0 ends the network at the embedding. output_stride: 8, 16 or 32, by dilation.
    stem_stride: 1 suits images of 32 to 96 px.

    Raises: UnknownName, SpecError, BadData (a file that holds no spec), UsageError (a file that can't be read).
    """
    if isinstance(network, Spec):
        spec = network if alpha is None else at_alpha(network, alpha, rule_of(network.name))
    elif isinstance(network, Path) or network.endswith(".json"):
        spec = _read(Path(network))
        spec = spec if alpha is None else at_alpha(spec, alpha, rule_of(spec.name))
    else:
        spec = _named(network, alpha)
    if resolution_px is not None:
        spec = transform.with_resolution(spec, resolution_px)
    if classes is not None:
        spec = transform.with_classes(spec, classes)
    if in_channels is not None:
        spec = transform.with_in_channels(spec, in_channels)
    if stem_stride is not None:
        spec = transform.with_stem_stride(spec, stem_stride)
    if output_stride is not None:
        spec = transform.dilate(spec, output_stride)
    return spec


def _named(name: str, alpha: float | None) -> Spec:
    bare = name.removeprefix("timm/").removeprefix("google/")
    spec = spec_of(bare, alpha) or spec_of(bare.partition(".")[0], alpha)
    if spec is not None:
        return spec
    near = closest(name)
    raise UnknownName(
        f"no network called {name!r}" + (f"; did you mean {', '.join(near)}?" if near else ""),
        hint="see: mobilenets list",
    )


def closest(name: str, *, n: int = 3) -> tuple[str, ...]:
    """The names nearest to `name`, whatever its case and separators, canonical ones first among equals."""
    plain = {known: known.lower().replace("_", "").replace("-", "") for known in (*CATALOGUE, *ALIASES)}
    wanted = name.lower().replace("_", "").replace("-", "")
    near = difflib.get_close_matches(wanted, list(plain.values()), n=3 * n, cutoff=0.6)
    found = [known for want in dict.fromkeys(near) for known, spelled in plain.items() if spelled == want]
    return tuple(found[:n])


def _read(path: Path) -> Spec:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path}: larger than {MOST_BYTES // 10**6} MB; this is no spec")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not a text file") from error
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from error
    return spec_from_json(text, where=str(path))
