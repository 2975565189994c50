"""The independent oracle: a bundle's own inference, run by MONAI with its own parser, transforms, inferer and network."""

from __future__ import annotations

import warnings
from pathlib import Path

import nibabel
import numpy as np
import torch
from monai.bundle import ConfigParser
from numpy.typing import NDArray

from models.volume import Volume


def labels_by_monai(bundle: Path, volume: Volume, folder: Path) -> NDArray[np.uint8]:
    """Return labels (z, y, x) of a volume that is written as NIfTI and read, scored and inverted by MONAI."""
    path = folder / "case.nii.gz"
    nibabel.save(nibabel.Nifti1Image(volume.voxels.transpose(2, 1, 0), np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine), path)
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    parser["imports"] = []
    after = parser["postprocessing"]["transforms"]
    parser["postprocessing"]["transforms"] = [one for one in after if one["_target_"] != "SaveImaged"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI's own, of its versions
        net = parser.get_parsed_content("network_def")
        net.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
        data = parser.get_parsed_content("preprocessing")({"image": str(path)})
        with torch.no_grad():
            data["pred"] = parser.get_parsed_content("inferer")(inputs=data["image"][None], network=net.eval())[0]
        data = parser.get_parsed_content("postprocessing")(data)
    return np.asarray(data["pred"])[0].transpose(2, 1, 0).astype(np.uint8)
