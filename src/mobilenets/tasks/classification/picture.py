"""The picture of a classified image: the image as it is, a bar under it with the best labels. Pillow, its own font."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

    from .result import Classification

LINES = 3
MIN_WIDTH_PX = 200
MAX_ENLARGED_PX = 640
INK, PAPER = (240, 242, 245), (24, 27, 31)
SURE, UNSURE, REFUSED, TRACK = (64, 160, 110), (120, 130, 142), (214, 140, 50), (46, 51, 58)


def draw_answer(image: NDArray[np.uint8], answer: "Classification") -> NDArray[np.uint8]:
    """`image` with up to three labels and their probabilities as bars under it.

    A picture narrower than 200 px is enlarged by a whole factor and, where that is not enough, set on a dark ground, so
    that the text can be read; a larger one keeps every pixel and gets larger text.

    Shapes: uint8 (H, W, 3), H and W >= 1 -> uint8 (H', W', 3).
    Raises: UsageError for another shape or dtype.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise UsageError(f"draw wants a uint8 (H, W, 3) picture, not {image.dtype} {image.shape}")
    factor = max(1, min(-(-MIN_WIDTH_PX // image.shape[1]), MAX_ENLARGED_PX // image.shape[0]))
    large = image.repeat(factor, 0).repeat(factor, 1) if factor > 1 else image
    missing = max(0, MIN_WIDTH_PX - large.shape[1])
    if missing:
        sides = ((0, 0), (missing // 2, missing - missing // 2), (0, 0))
        large = np.stack([np.pad(large[..., c], sides[:2], constant_values=PAPER[c]) for c in range(3)], axis=2)
    return np.concatenate([large, _bar(answer, large.shape[1])])


def _bar(answer: "Classification", width: int) -> NDArray[np.uint8]:
    """The bar alone, uint8 (height, width, 3): one line per label, its probability as the length of a stripe."""
    from PIL import Image, ImageDraw, ImageFont

    size = max(14, min(width // 24, 160))
    pad, line = size // 2, round(size * 1.75)
    font = ImageFont.load_default(size)
    lines = [(name, share) for name, (_, share) in zip(answer.names, answer.top, strict=True)][:LINES]
    headline = [] if answer.known else [answer.name]
    bar = Image.new("RGB", (width, (len(lines) + len(headline)) * line + 2 * pad - size // 4), PAPER)
    pen = ImageDraw.Draw(bar)
    y = pad
    for text in headline:
        pen.text((pad, y), _shortened(pen, text, font, width - 2 * pad), REFUSED, font)
        y += line
    for i, (name, share) in enumerate(lines):
        _line(pen, font, name=name, share=share, y=y, width=width, colour=SURE if answer.known and not i else UNSURE)
        y += line
    return np.asarray(bar)


def _line(
    pen: "ImageDraw.ImageDraw",
    font: "ImageFont.FreeTypeFont | ImageFont.ImageFont",
    *,
    name: str,
    share: float,
    y: int,
    width: int,
    colour: tuple[int, int, int],
) -> None:
    size = max(14, min(width // 24, 160))
    pad, thick = size // 2, max(2, size // 6)
    figure = f"{share:.1%}"
    taken = pen.textlength(figure, font)
    pen.text((pad, y), _shortened(pen, name, font, width - 3 * pad - taken), INK, font)
    pen.text((width - pad - taken, y), figure, INK, font)
    low, right = y + round(size * 1.3), width - pad - 1
    pen.rectangle((pad, low, right, low + thick - 1), TRACK)
    if share > 0:
        pen.rectangle((pad, low, pad + round(share * (right - pad)), low + thick - 1), colour)


def _shortened(
    pen: "ImageDraw.ImageDraw", text: str, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont", room: float
) -> str:
    """`text` on one line, cut with an ellipsis where it is wider than `room`."""
    plain = " ".join(text.split())[:400]
    if pen.textlength(plain, font) <= room:
        return plain
    while plain and pen.textlength(plain + "…", font) > room:
        plain = plain[:-1]
    return plain + "…"
