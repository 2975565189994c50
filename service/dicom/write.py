"""WRITERS: a result → the DICOM objects it is sent as, in the order of delivery: what a report refers to comes before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from models.prediction import Prediction
from service.dicom.told import Told, Written
from service.dicom.write_capture import write_capture
from service.dicom.write_map import write_map
from service.dicom.write_seg import write_seg
from service.dicom.write_sr import write_sr
from service.dicom.write_zones import write_zones

Writer = Callable[[Told, Sequence[Written]], list[Written]]

# What a manifest may ask for (models.manifest.Written), in order; each is given what was written before it.
WRITERS: dict[str, tuple[Writer, ...]] = {
    "capture": (write_capture,),
    "map": (write_map,),
    "seg": (write_seg,),
    "sr": (write_sr, write_zones),
}


def write(told: Told) -> list[Written]:
    """Write what the manifest asks for. What was not assessed is always said in a report, whatever the manifest asks."""
    wanted = {"sr"} if told.manifest is None else set(told.manifest.objects)
    if not isinstance(told.result, Prediction):
        wanted = (wanted & {"capture"}) | {"sr"}
    written: list[Written] = []
    for name, writers in WRITERS.items():
        for writer in writers if name in wanted else ():
            written += writer(told, written)
    return written
