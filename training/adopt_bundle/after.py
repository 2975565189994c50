"""What a bundle does with its network and after it, as a Window: inferer, activation, way back, labels; or why not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.errors import BrokenModel
from models.manifest import Step, Window
from training.adopt_bundle.asked import Asked
from training.adopt_bundle.before import asked_of
from training.adopt_bundle.config import arguments, target_of

PREDICTED = "pred"
MOVES = ("reorient", "respace", "resize", "crop_foreground", "pad_to", "pad_to_multiples")  # steps that change the grid
MOST_AT_ONCE = 4  # windows; more only takes memory where there is no GPU, and changes no number
_OF_THE_MACHINE = ("sw_device", "device", "progress", "cache_roi_weight_map", "cpu_thresh", "buffer_steps", "buffer_dim")


@dataclass(frozen=True)
class _Found:
    """What the transforms so far have made of the network's output."""

    scores: str = "none"
    back: str = ""  # empty: not yet on the source's grid
    discrete: bool = False
    threshold: float | None = None
    largest: tuple[int, ...] = ()
    connectivity: int = 3


def window_of(
    inferer: Any, after: Sequence[Any], before: Any, steps: Sequence[Step], classes: int
) -> tuple[Window, list[tuple[str, str]]]:
    """Return the window of an inferer and of the transforms after it, and (transform, what became of it) for the card.

    ``before`` is the component that ``steps`` were made from: only that may be gone back over. Raises BrokenModel for an
    inferer or transform without an exact counterpart, and for classes that may overlap.
    """
    told: list[tuple[str, str]] = []
    found = _Found()
    for component in after:
        if component is None:  # disabled in the config
            continue
        asked = asked_of(component, PREDICTED, AFTER)
        if asked is None:
            told.append((target_of(component), "not for the prediction"))
            continue
        if asked.name not in AFTER:
            raise BrokenModel(f"The bundle's {asked.name} has no counterpart after the network; known: {', '.join(AFTER)}. "
                              "Ask its makers for a bundle without it, or serve it where it was made.")
        if asked.name == "Invert" and asked.take("transform", None) != before:
            raise asked.refuse("it must go back over the transforms before the network, all of them")
        found, became = AFTER[asked.name](asked, found, classes)
        asked.done()
        told.append((asked.name, became))
    if not found.discrete:
        raise BrokenModel("The bundle must say how its scores become labels (AsDiscreted), found nothing. "
                          "Add it to its postprocessing.")
    if classes == 1 and found.threshold is None:
        raise BrokenModel("A network with one channel needs a threshold in AsDiscreted, found none.")
    window = Window.model_validate({
        **_windows(inferer, steps), "scores": found.scores, "threshold": found.threshold, "back": found.back or "labels",
        "largest_part": list(found.largest), "connectivity": found.connectivity,
    })
    return window, [(target_of(inferer), f"window of {' x '.join(map(str, window.roi))} voxels (z, y, x)"), *told]


def region_of(inferer: Any, steps: Sequence[Step]) -> tuple[int, int, int]:
    """Return the size of a window (z, y, x). Raises BrokenModel as ``window_of`` does."""
    z, y, x = _windows(inferer, steps)["roi"]
    return z, y, x


def _windows(inferer: Any, steps: Sequence[Step]) -> dict[str, Any]:
    name = target_of(inferer)
    if name == "SimpleInferer":
        moves = [step for step in steps if step.name in MOVES]
        if not moves or moves[-1].name != "resize":
            raise BrokenModel("A SimpleInferer takes volumes of any size, and a released graph has one: it needs Resized as the last "
                              "change of the grid, or a SlidingWindowInferer.")
        return {"roi": moves[-1].params["size"], "overlap": (0.0, 0.0, 0.0), "mode": "constant"}
    if name not in ("SlidingWindowInferer", "SlidingWindowInfererAdapt"):
        raise BrokenModel(f"The bundle's inferer must be SlidingWindowInferer or SimpleInferer, found {name or 'none'}. "
                          "Serve it where it was made.")
    asked = Asked(name, arguments(inferer))
    roi = asked.three("roi_size")
    if min(roi) < 1:
        raise asked.refuse(f"roi_size must be positive on every axis, found {roi[::-1]}")
    mode = str(asked.take("mode", "constant"))
    if mode not in ("constant", "gaussian"):
        raise asked.refuse(f"mode must be constant or gaussian, found {mode[:20]}")
    found = {
        "roi": roi, "mode": mode, "overlap": asked.three("overlap", 0.25, whole=False),
        "batch": min(int(asked.take("sw_batch_size", 1)), MOST_AT_ONCE), "sigma_scale": asked.number("sigma_scale", 0.125),
        "pad_value": asked.number("cval", 0.0),
    }
    asked.only("padding_mode", "constant")
    asked.only("with_coord", False)
    asked.only("roi_weight_map", None)
    for harmless in _OF_THE_MACHINE:
        asked.take(harmless, None)
    asked.done()
    return found


def _activated(asked: Asked, found: _Found, classes: int) -> tuple[_Found, str]:
    softmax, sigmoid = bool(asked.one("softmax", False)), bool(asked.one("sigmoid", False))
    asked.only("other", None, why="a function of the bundle is a program")
    asked.take("dim", None)
    if found.discrete or found.scores != "none" or (softmax and sigmoid):
        raise asked.refuse("it must come once, before AsDiscreted")
    if sigmoid and classes > 1:
        raise asked.refuse(f"{classes} channels with a sigmoid each may overlap, and a label map cannot hold that")
    if found.back and sigmoid:
        raise asked.refuse("a sigmoid must come before Invertd")
    if found.back or not (softmax or sigmoid):  # the largest score stays the largest
        return found, "changes no label"
    return replace(found, scores="softmax" if softmax else "sigmoid"), "softmax over the classes" if softmax else "sigmoid"


def _inverted(asked: Asked, found: _Found, _classes: int) -> tuple[_Found, str]:
    for harmless in ("orig_keys", "orig_meta_keys", "to_tensor"):
        asked.take(harmless, None)
    asked.only("post_func", None, why="a function of the bundle is a program")
    nearest = bool(asked.one("nearest_interp", True))
    if found.back:
        raise asked.refuse("it must come once")
    if found.discrete and not nearest:
        raise asked.refuse("labels cannot be interpolated linearly: nearest_interp must be true after AsDiscreted")
    if nearest:  # the nearest voxel's largest score is the label of the nearest voxel
        return replace(found, back="labels"), (
            "labels go back to the slices sent, by the nearest voxel; of two as near the even one (MONAI's choice is rounding noise)"
        )
    return replace(found, back="shares"), "class shares go back to the slices sent, linearly"


def _discrete(asked: Asked, found: _Found, classes: int) -> tuple[_Found, str]:
    argmax, threshold = bool(asked.one("argmax", False)), asked.one("threshold", None)
    asked.only("to_onehot", None, why="one channel a class is no label map")
    asked.only("rounding", None)
    for harmless in ("dim", "keepdim", "dtype"):
        asked.take(harmless, None)
    if found.discrete:
        raise asked.refuse("it must come once")
    if argmax and threshold is None and classes > 1:
        return replace(found, discrete=True), "the class with the largest share"
    if classes == 1 and isinstance(threshold, int | float) and not isinstance(threshold, bool) and not argmax:
        return replace(found, discrete=True, threshold=float(threshold)), f"label 1 from {threshold:g}"
    raise asked.refuse(f"{classes} channels need argmax, and one channel a threshold")


def _largest(asked: Asked, found: _Found, classes: int) -> tuple[_Found, str]:
    labels = asked.take("applied_labels", None)
    labels = list(range(1, max(classes, 2))) if labels is None else labels if isinstance(labels, list) else [labels]
    asked.only("is_onehot", None, False)
    asked.only("num_components", 1)
    independent = bool(asked.take("independent", True))
    connectivity = asked.take("connectivity", None) or 3
    if not found.discrete or found.largest:
        raise asked.refuse("it must come once, after AsDiscreted")
    if not independent and len(labels) > 1:
        raise asked.refuse("labels are looked at one by one: independent must be true")
    if found.back == "labels":
        raise asked.refuse("after labels have gone back by the nearest voxel it is not taken: it must come before Invertd")
    if not all(isinstance(one, int) and 0 < one < max(classes, 2) for one in labels):
        raise asked.refuse(f"applied_labels must be labels of the network, found {str(labels)[:40]}")
    return replace(found, largest=tuple(labels), connectivity=int(connectivity)), f"largest part of {', '.join(map(str, labels))}"


def _nothing(what: str, *harmless: str) -> Callable[[Asked, _Found, int], tuple[_Found, str]]:
    def taken(asked: Asked, found: _Found, _classes: int) -> tuple[_Found, str]:
        for name in harmless:
            asked.take(name, None)
        return found, what

    return taken


_SAVED = (
    "output_dir", "output_postfix", "output_ext", "output_dtype", "output_name_formatter", "resample", "mode", "padding_mode",
    "scale", "dtype", "align_corners", "separate_folder", "print_log", "squeeze_end_dims", "data_root_dir", "writer",
    "folder_layout", "savepath_in_metadict",
)
AFTER: dict[str, Callable[[Asked, _Found, int], tuple[_Found, str]]] = {
    "Activations": _activated,
    "Invert": _inverted,
    "AsDiscrete": _discrete,
    "KeepLargestConnectedComponent": _largest,
    "EnsureType": _nothing("nothing to do", "data_type", "track_meta", "wrap_sequence", "dtype"),
    "ToTensor": _nothing("nothing to do", "track_meta", "wrap_sequence", "dtype"),
    "SaveImage": _nothing("not taken: labels are written as DICOM SEG", *_SAVED),
}
