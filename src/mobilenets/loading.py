"""A model by whatever names it: a model file, an exported file, or an address of the hub. Floor 6.

What an address of the hub leads to is imported once, into the cache; after that nothing is fetched or converted.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from .files import cache_dir

if TYPE_CHECKING:
    from .deploy import Model


def load(
    path: str | Path, *, target: str | None = None, precision: str | None = None, threads: int | None = None
) -> "Model":
    """The model at `path`, ready to predict: a model file (folder or zip), an exported file of this library (.onnx,
    .tflite, .xml, .pte), or "hf-hub:USER/NAME".

    Args:
        target, precision: which exported file to run; by default the first verified one whose runtime is here.
        threads: of the runtime within one batch; by default every core that this process may use.

    Raises: BadModelFile for a damaged or foreign file; VerifyFailed where its export was never proved;
        MissingRuntime where no runtime for it is installed, or where the hub can't be reached.
    """
    from . import deploy

    return deploy.load(local_model(path), target=target, precision=precision, threads=threads)


def local_model(path: str | Path) -> Path:
    """Where the model lies: the path itself, or for an address of the hub the model file in the cache."""
    from . import hub

    if not hub.is_hub_address(str(path)):
        return Path(path)
    repo, revision = hub.hub_parts(str(path))
    folder = hub.fetch(repo, revision=revision)
    sealed = hub.sealed_model(folder)
    if sealed is not None:
        return sealed
    place = cache_dir() / "imported" / f"{repo.replace('/', '--')}--{folder.name}"
    if not place.is_dir():
        from .importing import import_model

        import_model(str(path), out=place)
    return place
