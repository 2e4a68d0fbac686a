"""One HTML file that shows what a fit did: readable offline, drawn from records, computing none of its numbers."""

from typing import TYPE_CHECKING

from .._lazy import lazy

__all__ = [
    "Beginning",
    "FitReport",
    "MistakePicture",
    "Picture",
    "SamplePictures",
    "html_report",
    "thumbnail",
    "write_report",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Beginning": ".record",
        "FitReport": ".record",
        "MistakePicture": ".record",
        "Picture": ".record",
        "SamplePictures": ".record",
        "html_report": ".page",
        "thumbnail": ".thumbnails",
        "write_report": ".page",
    },
)

if TYPE_CHECKING:
    from .page import html_report as html_report
    from .page import write_report as write_report
    from .record import Beginning as Beginning
    from .record import FitReport as FitReport
    from .record import MistakePicture as MistakePicture
    from .record import Picture as Picture
    from .record import SamplePictures as SamplePictures
    from .thumbnails import thumbnail as thumbnail
