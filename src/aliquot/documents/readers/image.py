"""Images, by Pillow: their size, and a copy fit for a model without the original's metadata (places, names, cameras)."""

import io
import warnings
from dataclasses import dataclass
from typing import IO, Any

from PIL import Image, ImageOps

from aliquot.documents.contracts import Bounds
from aliquot.documents.readers.refusal import Refused

SHOWN_EDGE = 1_568
"""Pixels of the longer side; larger ones are scaled down by the providers anyway."""
_FORMATS = {"png": "PNG", "jpeg": "JPEG", "gif": "GIF", "webp": "WEBP"}


@dataclass(frozen=True, slots=True)
class Picture:
    width: int
    height: int
    shown: bytes
    shown_type: str
    shown_size: tuple[int, int]


def read_image(file: IO[bytes], kind: str, bounds: Bounds) -> Picture:
    """Raises Refused for too many pixels; anything else Pillow raises is a broken file."""
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    Image.MAX_IMAGE_PIXELS = bounds.pixels
    file.seek(0)
    try:
        image: Any = Image.open(file, formats=[_FORMATS[kind]])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Refused("image_too_large", f"An image may have {bounds.pixels:,} pixels.") from None
    width, height = image.size
    if width * height > bounds.pixels:
        raise Refused("image_too_large", f"The image has {width:,} × {height:,} pixels; at most {bounds.pixels:,} in all are accepted.")
    image.draft("RGB", (SHOWN_EDGE, SHOWN_EDGE))  # JPEG: decode only as much as is shown
    image.load()
    image = ImageOps.exif_transpose(image)
    image.thumbnail((SHOWN_EDGE, SHOWN_EDGE))
    opaque = image.mode in ("L", "RGB") or (image.mode != "P" and "A" not in image.mode)
    data = io.BytesIO()
    clean = Image.frombytes("RGB" if opaque else "RGBA", image.size, image.convert("RGB" if opaque else "RGBA").tobytes())
    if opaque and kind == "jpeg":
        clean.save(data, "JPEG", quality=88)
    else:
        clean.save(data, "PNG")
    return Picture(width, height, data.getvalue(), "image/jpeg" if opaque and kind == "jpeg" else "image/png", image.size)
