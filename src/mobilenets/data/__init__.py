"""Images and data sets: reading pictures, preprocessing them, opening and checking labelled collections. No torch."""

from typing import TYPE_CHECKING

from .._lazy import lazy

__all__ = [
    "Dataset",
    "Pictures",
    "Sample",
    "check_data",
    "fit_picture",
    "imagenet_labels",
    "load_pictures",
    "normalise",
    "open_dataset",
    "preprocess",
    "preprocess_batch",
    "read_image",
    "read_split",
    "with_labels",
    "without_files",
    "write_split",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Dataset": ".dataset",
        "Pictures": ".pictures",
        "Sample": ".dataset",
        "check_data": ".health",
        "fit_picture": ".preprocessing",
        "imagenet_labels": ".imagenet",
        "load_pictures": ".pictures",
        "normalise": ".preprocessing",
        "open_dataset": ".sources.opening",
        "preprocess": ".preprocessing",
        "preprocess_batch": ".preprocessing",
        "read_image": ".image",
        "read_split": ".splitfile",
        "with_labels": ".dataset",
        "without_files": ".dataset",
        "write_split": ".splitfile",
    },
)

if TYPE_CHECKING:
    from .dataset import Dataset as Dataset
    from .dataset import Sample as Sample
    from .dataset import with_labels as with_labels
    from .dataset import without_files as without_files
    from .health import check_data as check_data
    from .image import read_image as read_image
    from .imagenet import imagenet_labels as imagenet_labels
    from .pictures import Pictures as Pictures
    from .pictures import load_pictures as load_pictures
    from .preprocessing import fit_picture as fit_picture
    from .preprocessing import normalise as normalise
    from .preprocessing import preprocess as preprocess
    from .preprocessing import preprocess_batch as preprocess_batch
    from .sources.opening import open_dataset as open_dataset
    from .splitfile import read_split as read_split
    from .splitfile import write_split as write_split
