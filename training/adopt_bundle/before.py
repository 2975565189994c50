"""What a bundle does before its network, as STEPS with the very same numbers; or the transform that has none, by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from models.errors import BrokenModel
from models.manifest import Step
from training.adopt_bundle.asked import Asked
from training.adopt_bundle.config import arguments, target_of

IMAGE = "image"


def steps_before(components: Sequence[Any], *, orientation: str = "") -> tuple[list[Step], list[tuple[str, str]]]:
    """Return the steps of the transforms for the key "image", and (transform, what became of it) for the card.

    ``orientation`` (as "RAS") is told by whoever adopts a bundle that does not turn its volumes itself: without it the
    network saw them as each file stored them, which is not known here. Raises BrokenModel for a transform without an exact
    counterpart.
    """
    steps: list[Step] = []
    told: list[tuple[str, str]] = []
    for component in components:
        if component is None:  # disabled in the config
            continue
        asked = asked_of(component, IMAGE, BEFORE)
        if asked is None:
            told.append((target_of(component), "not for the image"))
            continue
        if asked.name not in BEFORE:
            raise BrokenModel(f"The bundle's {asked.name} has no counterpart among the steps; known: {', '.join(BEFORE)}. "
                              "Ask its makers for a bundle without it, or serve it where it was made.")
        mine = BEFORE[asked.name](asked)
        asked.only("lazy", False, None, why="steps that are put together into one interpolation give other numbers")
        asked.done()
        steps += mine
        told.append((asked.name, ", ".join(step.name for step in mine) or "nothing to do: a volume is read so already"))
    if not any(step.name == "reorient" for step in steps):
        if not orientation:
            raise BrokenModel('The bundle has no Orientationd, so its network saw each volume as its file stored it. '
                              'Say in the description how that was, for example orientation = "RAS".')
        steps.insert(0, Step(name="reorient", params={"axes": orientation}))
        told.insert(0, ("nothing", f"reorient to {orientation}, as the description says"))
    return steps, told


def asked_of(component: Any, key: str, known: Collection[str]) -> Asked | None:
    """Return what a component asks of our key; None when it is for other keys. Raises BrokenModel for no component.

    A dictionary transform has the name of the plain one and a "d" (or "D", "Dict"); SpatialPad is no dictionary transform.
    """
    name = target_of(component)
    if not name:
        raise BrokenModel("A bundle's transforms must be components with _target_, found something else.")
    plain = re.sub(r"(?:d|D|Dict)$", "", name)
    bare = plain if plain in known and name not in known else name
    given = arguments(component)
    keys = given.get("keys", [key])
    keys = [keys] if isinstance(keys, str) else list(keys)
    return Asked(bare, given, keys.index(key)) if key in keys else None


def _loaded(asked: Asked) -> list[Step]:
    for harmless in ("reader", "image_only", "ensure_channel_first", "simple_keys", "prune_meta_pattern", "prune_meta_sep"):
        asked.take(harmless, None)
    asked.floats()
    return []


def _typed(asked: Asked) -> list[Step]:
    for harmless in ("data_type", "track_meta", "wrap_sequence", "channel_dim", "strict_check"):
        asked.take(harmless, None)
    asked.floats()
    return []


def _oriented(asked: Asked) -> list[Step]:
    axes = str(asked.take("axcodes"))
    if not re.fullmatch(r"[LRAPSI]{3}", axes):
        raise asked.refuse(f"axcodes must be three of L R A P S I, found {axes[:8]}")
    asked.only("as_closest_canonical", False, None)
    labels = asked.take("labels", None)
    if labels is not None and [list(pair) for pair in labels] != [["L", "R"], ["P", "A"], ["I", "S"]]:
        raise asked.refuse("labels must be the usual ones")
    return [Step(name="reorient", params={"axes": axes})]


def _spaced(asked: Asked) -> list[Step]:
    spacing = asked.three("pixdim", whole=False)
    if min(spacing) <= 0:
        raise asked.refuse(f"pixdim must be positive on every axis, found {spacing[::-1]}")
    asked.only("mode", "bilinear", 1, "1")
    asked.only("padding_mode", "border", "nearest")
    asked.only("diagonal", False)
    asked.only("scale_extent", False)
    asked.only("recompute_affine", False)
    asked.only("min_pixdim", None)
    asked.only("max_pixdim", None)
    asked.take("align_corners", None)  # the same numbers either way: voxel centres are kept in place
    asked.floats()
    return [Step(name="respace", params={"spacing_mm": spacing})]


def _resized(asked: Asked) -> list[Step]:
    size = asked.three("spatial_size")
    if min(size) <= 0:
        raise asked.refuse("spatial_size must be positive on every axis")
    mode = asked.one("mode", "area")
    if mode not in ("area", "trilinear", "bilinear", "linear"):
        raise asked.refuse(f"mode must be area or trilinear, found {str(mode)[:20]}")
    asked.only("size_mode", "all")
    asked.only("align_corners", None, False)
    asked.only("anti_aliasing", False)
    asked.only("anti_aliasing_sigma", None)
    asked.floats()
    return [Step(name="resize", params={"size": size, "mode": "area" if mode == "area" else "linear"})]


def _padding(asked: Asked) -> dict[str, Any]:
    asked.only("mode", "constant")
    method = asked.take("method", "symmetric")
    if method not in ("symmetric", "end"):
        raise asked.refuse(f"method must be symmetric or end, found {str(method)[:20]}")
    value = asked.number("value", asked.take("constant_values", 0.0))
    return {"end": method == "end", "value": value}


def _padded(asked: Asked) -> list[Step]:
    return [Step(name="pad_to", params={"size": [max(one, 1) for one in asked.three("spatial_size")], **_padding(asked)})]


def _padded_to_multiples(asked: Asked) -> list[Step]:
    return [Step(name="pad_to_multiples", params={"of": [max(one, 1) for one in asked.three("k")], **_padding(asked)})]


def _cropped(asked: Asked) -> list[Step]:
    if asked.take("source_key", IMAGE) != IMAGE:
        raise asked.refuse("source_key must be the image itself")
    chosen = asked.take("select_fn", {"_above_": 0.0})
    if not (isinstance(chosen, dict) and "_above_" in chosen):
        raise asked.refuse('select_fn is a program, and only "$lambda x: x > number" is understood')
    asked.only("channel_indices", None, 0)
    asked.only("mode", "constant")
    for harmless in ("start_coord_key", "end_coord_key"):
        asked.take(harmless, None)
    return [Step(name="crop_foreground", params={
        "above": chosen["_above_"], "margin": asked.three("margin", 0), "of": asked.three("k_divisible", 1),
        "inside": bool(asked.take("allow_smaller", False)),
    })]


def _scaled_range(asked: Asked) -> list[Step]:
    params = {"low": asked.number("a_min"), "high": asked.number("a_max"), "to_low": asked.number("b_min", None),
              "to_high": asked.number("b_max", None), "clip": bool(asked.take("clip", False))}
    if params["low"] == params["high"]:
        raise asked.refuse("a_min and a_max must differ")
    asked.floats()
    return [Step(name="scale_range", params=params)]


def _scaled_percentiles(asked: Asked) -> list[Step]:
    params = {"lower": asked.number("lower"), "upper": asked.number("upper"), "to_low": asked.number("b_min"),
              "to_high": asked.number("b_max"), "clip": bool(asked.take("clip", False))}
    asked.only("relative", False)
    asked.take("channel_wise", False)  # there is one channel
    asked.floats()
    return [Step(name="scale_percentiles", params=params)]


def _scaled(asked: Asked) -> list[Step]:
    low, high = asked.number("minv", 0.0), asked.number("maxv", 1.0)
    if low is None or high is None or asked.take("factor", None) is not None:
        raise asked.refuse("minv and maxv must be given, and no factor")
    asked.take("channel_wise", False)  # there is one channel
    asked.floats()
    return [Step(name="scale_to", params={"low": low, "high": high})]


def _normalized(asked: Asked) -> list[Step]:
    params = {"subtract": asked.number("subtrahend", None), "divide": asked.number("divisor", None),
              "nonzero": bool(asked.take("nonzero", False))}
    asked.take("channel_wise", False)  # there is one channel
    asked.floats()
    return [Step(name="normalize", params=params)]


BEFORE: dict[str, Callable[[Asked], list[Step]]] = {
    "LoadImage": _loaded,
    "EnsureChannelFirst": _typed,
    "EnsureType": _typed,
    "CastToType": _typed,
    "ToTensor": _typed,
    "ToDevice": lambda _asked: [],
    "Orientation": _oriented,
    "Spacing": _spaced,
    "Resize": _resized,
    "SpatialPad": _padded,
    "DivisiblePad": _padded_to_multiples,
    "CropForeground": _cropped,
    "ScaleIntensityRange": _scaled_range,
    "ScaleIntensityRangePercentiles": _scaled_percentiles,
    "ScaleIntensity": _scaled,
    "NormalizeIntensity": _normalized,
}
