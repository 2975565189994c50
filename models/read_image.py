"""Read PNG, JPEG and NIfTI files into Volumes. DICOM has its own room: read_dicom.py."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image

from models.errors import UnusableInput
from models.volume import Header, Volume

MAX_PIXELS = 64_000_000  # one 8000 x 8000 radiograph; declared size is checked before anything is decoded
MAX_VOXELS = 256_000_000
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_raster(data: bytes | Path) -> Volume:
    """Read a PNG or JPEG radiograph as display values 0-255, one slice. Colour is reduced to luminance.

    Raises UnusableInput when the file is not an image, or declares more than MAX_PIXELS.
    """
    source = io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source, formats=("PNG", "JPEG")) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UnusableInput(
                        f"An image may hold {MAX_PIXELS:,} pixels, found {image.width} x {image.height}. "
                        "Send it at its display size.", code="too_many_pixels",
                    )
                deep = image.mode.startswith("I")
                pixels = np.asarray(image if deep else image.convert("L"), dtype=np.float32)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnusableInput("The file must be a whole PNG or JPEG image; it could not be decoded. Send it again, "
                            "or send the DICOM object.", code="not_an_image") from error
    if deep and pixels.max() > 255:
        pixels = pixels * (255.0 / 65535.0)
    return Volume(pixels[None], units="display", header=Header(source="image"))


def read_nifti(path: Path) -> Volume:
    """Read a 3-D NIfTI file (.nii, .nii.gz). Raises UnusableInput when it is not one or too large."""
    try:
        image = nibabel.load(path)
        shape = image.shape
        if len(shape) != 3 or 0 in shape:
            raise UnusableInput(f"A NIfTI file must hold one 3-D volume, found shape {shape}. Send one volume a file.",
                                code="not_3d")
        if int(np.prod(shape, dtype=np.int64)) > MAX_VOXELS:
            raise UnusableInput(f"A volume may hold {MAX_VOXELS:,} voxels, found shape {shape}. Send the crop.",
                                code="too_many_pixels")
        values = np.asarray(image.dataobj, dtype=np.float32)
        affine = np.asarray(image.affine, dtype=np.float64)
    except UnusableInput:
        raise
    except Exception as error:  # nibabel raises a dozen unrelated classes on damaged files
        raise UnusableInput("The file must be a whole NIfTI-1 or NIfTI-2 volume; it could not be read.",
                            code="not_nifti") from error
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise UnusableInput("The NIfTI affine must be invertible. Check sform and qform.", code="bad_geometry")
    return Volume(
        np.ascontiguousarray(values.transpose(2, 1, 0)), _RAS_TO_LPS @ affine, "arbitrary", Header(source="nifti"),
        spacing_known=True,
    )
