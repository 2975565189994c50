"""Bundles in the form of MONAI's model zoo, made here: MONAI's own nets with random weights, and the configs as they are written."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from monai.networks import nets

METADATA: dict[str, Any] = {
    "version": "0.5.9", "monai_version": "1.4.0", "pytorch_version": "2.4.0", "name": "Spleen CT segmentation",
    "task": "Spleen segmentation in CT", "description": "Outlines the spleen in abdominal CT.",
    "authors": "Makers of an invented bundle", "copyright": "None", "data_source": "Random weights, from nothing",
    "intended_use": "An example for tests, not to be used on a patient", "references": ["Nobody et al. Nothing. 2026"],
    "network_data_format": {
        "inputs": {"image": {"type": "image", "format": "hounsfield", "modality": "CT", "num_channels": 1,
                             "spatial_shape": [96, 96, 96], "dtype": "float32", "value_range": [0, 1],
                             "is_patch_data": True, "channel_def": {"0": "image"}}},
        "outputs": {"pred": {"type": "image", "format": "segmentation", "num_channels": 2, "spatial_shape": [96, 96, 96],
                             "dtype": "float32", "value_range": [0, 1], "is_patch_data": True,
                             "channel_def": {"0": "background", "1": "spleen"}}},
    },
}

# As spleen_ct_segmentation of the model zoo writes it, with a smaller network and window.
SPLEEN: dict[str, Any] = {
    "imports": ["$import glob", "$import os"],
    "bundle_root": ".",
    "output_dir": "$@bundle_root + '/eval'",
    "dataset_dir": "/data",
    "datalist": "$list(sorted(glob.glob(@dataset_dir + '/imagesTs/*.nii.gz')))",
    "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    "network_def": {"_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [4, 8, 8],
                    "strides": [2, 2], "num_res_units": 1, "norm": "batch"},
    "network": "$@network_def.to(@device)",
    "preprocessing": {"_target_": "Compose", "transforms": [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
        {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"},
        {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -57, "a_max": 164, "b_min": 0, "b_max": 1, "clip": True},
        {"_target_": "EnsureTyped", "keys": "image"},
    ]},
    "dataset": {"_target_": "Dataset", "data": "$[{'image': i} for i in @datalist]", "transform": "@preprocessing"},
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [24, 32, 16], "sw_batch_size": 4, "overlap": 0.5, "mode": "gaussian"},
    "postprocessing": {"_target_": "Compose", "transforms": [
        {"_target_": "Activationsd", "keys": "pred", "softmax": True},
        {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image", "nearest_interp": False,
         "to_tensor": True},
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir"},
    ]},
    "evaluator": {"_target_": "SupervisedEvaluator", "device": "@device", "network": "@network", "inferer": "@inferer"},
}


def make_bundle(folder: Path, *, config: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None, seed: int = 3) -> Path:
    """Write a bundle with random weights of its ``network_def`` and return its folder."""
    config = SPLEEN if config is None else config
    for part in ("configs", "models"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "configs" / "inference.json").write_text(json.dumps(config, indent=1))
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata or METADATA, indent=1))
    torch.manual_seed(seed)
    given = {key: value for key, value in config["network_def"].items() if not key.startswith("_")}
    net = getattr(nets, config["network_def"]["_target_"])(**given)
    for part in net.modules():  # statistics and offsets as a trained net has them, not the zeros and ones of a new one
        if isinstance(part, torch.nn.BatchNorm3d):
            part.running_mean.normal_(0, 0.2)
            part.running_var.uniform_(0.3, 1.5)
    torch.save(net.state_dict(), folder / "models" / "model.pt")
    return folder


def changed(**parts: Any) -> dict[str, Any]:
    """Return the spleen config with other entries."""
    return {**deepcopy(SPLEEN), **parts}


def before(*changes: dict[str, Any], drop: str = "") -> dict[str, Any]:
    """Return the spleen's transforms before the network, without one, with others before the last."""
    kept = [one for one in deepcopy(SPLEEN["preprocessing"]["transforms"]) if one["_target_"] != drop]
    return {"_target_": "Compose", "transforms": [*kept[:-1], *changes, kept[-1]]}
