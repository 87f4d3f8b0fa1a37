"""Writing TIFF files as programs and scanners do, and what is said of those that are refused."""

import numpy as np
import pytest
import tifffile

from pixelcam.errors import ImageError
from pixelcam.slides import open_slide


def write_pyramid(path, levels, **options):
    options = {"tile": (32, 32), "compression": "zlib", **options}
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(levels[0], subifds=len(levels) - 1, **options)
        for level in levels[1:]:
            writer.write(level, subfiletype=1, **options)


def write_svs(path, tissue):
    """Write a slide as Aperio's scanners do, the macro being larger than the slide."""
    macro = np.zeros((400, 400, 3), np.uint8)
    text = "Aperio Image Library v11.2.1\n150x130 |AppMag = 40|MPP = 0.2525|Left = 3"
    with tifffile.TiffWriter(path) as writer:
        options = {"photometric": "rgb", "metadata": None, "software": False}
        writer.write(tissue, tile=(32, 32), description=text, **options)
        writer.write(tissue[::8, ::8], description="Aperio thumbnail", **options)
        writer.write(tissue[::2, ::2], tile=(32, 32), description="Aperio level", **options)
        writer.write(tissue[:50, :50], subfiletype=1, description="Aperio\nlabel 50x50", **options)
        writer.write(macro, subfiletype=9, description="Aperio\nmacro 400x400", **options)


def refusal(path):
    """Return the message with which a file is refused, having checked that it is one sentence about it."""
    with pytest.raises(ImageError) as caught:
        open_slide(path).read()
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.endswith(".")
    assert "\n" not in message
    return message
