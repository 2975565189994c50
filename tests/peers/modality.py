"""A sending side that remembers what it was promised: new images by C-STORE and STOW, sent again until acknowledged.

    sending = Sending(seed=1)
    modalities = [CStoring(sending, "CT1", port), Stowing(sending, url)]    # threads; start() and join()
    sending.finish()                                                        # nothing new; what is left is still sent
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from pydicom.dataset import Dataset
from pynetdicom import AE

from tests.make import dicom_bytes, mr_series, mr_voxels, radiograph_dataset, radiograph_pixels

EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
OUT_OF_RESOURCES = range(0xA700, 0xA800)
TRY_LATER = (500, 502, 503, 504, 507)
ROOT = "1.2.826.0.1.3680043.8.498.77"
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # that a receiver was killed is no news here


@dataclass(frozen=True)
class Image:
    """One image to be sent. ``case`` is its SOP Instance UID when it stands alone, else its Series Instance UID."""

    sop_uid: str
    case: str
    dataset: Dataset
    data: bytes

    @property
    def lone(self) -> bool:
        """Tell whether it is a case of its own."""
        return self.case == self.sop_uid


class Sending:
    """What there is to send, what was sent and what was acknowledged. Its methods may be called from any thread."""

    def __init__(self, seed: int, *, given_up: float = 0.1, late: float = 0.15, again: float = 0.05) -> None:
        self.random = random.Random(seed)
        self.open = threading.Event()  # new images are made while it is set
        self.open.set()
        self.images: dict[str, Image] = {}
        self.acknowledged: Counter[str] = Counter()  # times
        self.sent: Counter[str] = Counter()  # times it went out, answered or not
        self.abandoned: set[str] = set()  # never acknowledged, and not sent again
        self.refused: dict[str, str] = {}  # by what answer; none is expected
        self.answers: Counter[str] = Counter()
        self.under_way: Counter[str] = Counter()  # transfers at this moment, by "C-STORE" or "STOW"
        self.given_up, self.late, self.again = given_up, late, again
        self._waiting: deque[tuple[float, list[Image]]] = deque()
        self._taken = 0
        self._serial = 0
        self._finishing = False
        self._lock = threading.Lock()

    def finish(self) -> None:
        """Make no more images; what is not acknowledged yet is still sent."""
        with self._lock:
            self._finishing = True
            self._waiting = deque((0.0, batch) for _, batch in self._waiting)

    def take(self) -> list[Image] | None:
        """Return what to send next: what waits, or something new; [] to ask again soon, None when all is done."""
        with self._lock:
            for _ in range(len(self._waiting)):
                not_before, batch = self._waiting.popleft()
                if not_before <= time.monotonic():
                    self._taken += 1
                    return batch
                self._waiting.append((not_before, batch))
            if self._finishing:
                return [] if self._taken or self._waiting else None
            if not self.open.is_set():
                return []
            self._taken += 1
            return self._series() if self.random.random() < 0.2 else self._radiographs()

    def back(self, batch: Sequence[Image], *, tried: bool) -> None:
        """Take back the batch; what was not acknowledged is sent again, nearly always. ``tried``: somebody answered the call."""
        with self._lock:
            self._taken -= 1
            left = [one for one in batch if not self.acknowledged[one.sop_uid] and one.sop_uid not in self.refused]
            if tried and self.random.random() < self.given_up and all(one.lone for one in left):
                self.abandoned.update(one.sop_uid for one in left)
            elif left:
                self._waiting.append((0.0, left))

    def began(self, way: str) -> None:
        """Note that a transfer begins."""
        with self._lock:
            self.under_way[way] += 1

    def ended(self, way: str, answer: str, images: Sequence[Image]) -> None:
        """Note that it ended, by what answer, and what was sent in it."""
        with self._lock:
            self.under_way[way] -= 1
            self.answers[f"{way} {answer}"] += 1
            self.sent.update(one.sop_uid for one in images)

    def promised(self, sop_uid: str) -> None:
        """Note an acknowledgement."""
        with self._lock:
            self.acknowledged[sop_uid] += 1
            self.abandoned.discard(sop_uid)

    def denied(self, sop_uid: str, answer: str) -> None:
        """Note that an image was refused for good."""
        with self._lock:
            self.refused[sop_uid] = answer

    def _radiographs(self) -> list[Image]:
        """Make one to four radiographs of as many studies; sometimes add one that was acknowledged before."""
        made = [self._radiograph() for _ in range(self.random.randint(1, 4))]
        if self.acknowledged and self.random.random() < 4 * self.again:
            made.append(self.images[self.random.choice(list(self.acknowledged))])
        return made

    def _radiograph(self) -> Image:
        uid = self._next()
        side = self.random.choice((64, 96, 128, 128, 256))  # the smallest is refused: too few pixels
        pixels = radiograph_pixels(side, side, pneumonia=self.random.random() < 0.5, seed=self._serial)
        dataset = radiograph_dataset(pixels, **_names(uid), SOPInstanceUID=f"{uid}.3", SeriesInstanceUID=f"{uid}.2")
        return self._keep(dataset, f"{uid}.3")

    def _series(self) -> list[Image]:
        """Make a series of eight slices. The second half goes another way, sometimes so late that the first was sealed."""
        uid = self._next()
        made = []
        for number, dataset in enumerate(mr_series(mr_voxels(8), **_names(uid), SeriesInstanceUID=f"{uid}.2"), start=1):
            dataset.SOPInstanceUID = f"{uid}.3.{number}"
            made.append(self._keep(dataset, f"{uid}.2"))
        late_s = 6.0 if self.random.random() < self.late else 0.0
        self._waiting.append((time.monotonic() + late_s, made[4:]))
        return made[:4]

    def _next(self) -> str:
        self._serial += 1
        return f"{ROOT}.{self._serial}"

    def _keep(self, dataset: Dataset, case: str) -> Image:
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        image = Image(str(dataset.SOPInstanceUID), case, dataset, dicom_bytes(dataset))
        self.images[image.sop_uid] = image
        return image


class CStoring(threading.Thread):
    """A modality that sends batch by batch, one association each; a tenth of them it aborts instead of releasing."""

    def __init__(self, sending: Sending, title: str, port: int) -> None:
        super().__init__(name=title)
        self.sending, self.title, self.port = sending, title, port
        self.random = random.Random(title)

    def run(self) -> None:
        """Send until everything is done."""
        while (batch := self.sending.take()) is not None:
            if batch:
                self.sending.back(batch, tried=self._send(batch))
            else:
                time.sleep(0.02)

    def _send(self, batch: Sequence[Image]) -> bool:
        entity = AE(ae_title=self.title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 30
        entity.connection_timeout = 5
        for sop_class in {str(one.dataset.SOPClassUID) for one in batch}:
            entity.add_requested_context(sop_class, EXPLICIT_LITTLE_ENDIAN)
        association = entity.associate("127.0.0.1", self.port, ae_title="DIAPHANE")
        if not association.is_established:
            time.sleep(0.3)  # the receiver is away
            return False
        for image in batch:
            self.sending.began("C-STORE")
            try:
                status = getattr(association.send_c_store(image.dataset), "Status", None)
            except RuntimeError:  # the association ended before
                status = None
            self.sending.ended("C-STORE", "no answer" if status is None else f"0x{status:04x}", [image])
            if status is None:
                break
            if status == 0:
                self.sending.promised(image.sop_uid)
            elif status not in OUT_OF_RESOURCES:
                self.sending.denied(image.sop_uid, f"0x{status:04x}")
        if association.is_established:
            association.abort() if self.random.random() < 0.1 else association.release()
        return True


class Stowing(threading.Thread):
    """A gateway that posts batch by batch to a STOW-RS server."""

    def __init__(self, sending: Sending, root: str) -> None:
        super().__init__(name="stow")
        self.sending, self.root = sending, root

    def run(self) -> None:
        """Send until everything is done."""
        with httpx.Client(timeout=30) as client:
            while (batch := self.sending.take()) is not None:
                if batch:
                    self.sending.back(batch, tried=self._send(client, batch))
                else:
                    time.sleep(0.02)

    def _send(self, client: httpx.Client, batch: Sequence[Image]) -> bool:
        parts = b"".join(b"--cut\r\nContent-Type: application/dicom\r\n\r\n" + one.data + b"\r\n" for one in batch)
        headers = {"content-type": 'multipart/related; type="application/dicom"; boundary=cut', "accept": "application/dicom+json"}
        self.sending.began("STOW")
        try:
            answer = client.post(f"{self.root}/studies", content=parts + b"--cut--\r\n", headers=headers)
        except httpx.ConnectError:
            self.sending.ended("STOW", "not reached", [])
            time.sleep(0.3)
            return False
        except httpx.TransportError:
            self.sending.ended("STOW", "no answer", batch)
            return True
        self.sending.ended("STOW", str(answer.status_code), batch)
        if answer.status_code in TRY_LATER:
            time.sleep(0.2)
        elif answer.status_code in (200, 202, 409):
            told = answer.json()
            for item in _items(told, "00081199"):
                self.sending.promised(item["00081155"]["Value"][0])
            for item in _items(told, "00081198"):
                reason = item["00081197"]["Value"][0]
                if reason not in OUT_OF_RESOURCES and reason != 0x0110:  # processing failure: as in PS3.18, try again
                    self.sending.denied(item["00081155"]["Value"][0], f"STOW 0x{reason:04x}")
        else:
            for one in batch:
                self.sending.denied(one.sop_uid, f"STOW {answer.status_code}")
        return True


def _items(told: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = told.get(tag, {}).get("Value", [])
    return items


def _names(uid: str) -> dict[str, str]:
    serial = uid.rsplit(".", 1)[-1]
    return {"StudyInstanceUID": f"{uid}.1", "PatientID": f"CANARI-{serial}", "PatientName": f"CANARI^{serial}",
            "StudyDate": "20261121", "StudyTime": "120000", "AccessionNumber": serial, "StudyID": serial}
