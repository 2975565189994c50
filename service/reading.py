"""Reading: the images of one request → Volumes; what takes a native decoder is read in a process of its own.

A decoder may end its process on a damaged file, and no check before it finds every such file. What is not compressed
needs none and is read here, within the limits of models.dicom_bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from models.dicom_bytes import is_compressed
from models.errors import UnusableInput
from models.read_dicom import read_dicom
from models.volume import Volume
from service.decode import Decoder, DecoderFailed
from service.settings import Settings


class Reading:
    """As many decoding processes as requests were read at once; each starts when it is first needed."""

    def __init__(self, settings: Settings) -> None:
        self._timeout_s, self._memory_mib = settings.decode_timeout_s, settings.decode_memory_mib
        self._idle: list[Decoder] = []
        self._lock = threading.Lock()

    def read(self, files: Sequence[bytes]) -> Volume:
        """Read one case. Raises UnusableInput, also when the decoding process did not live through it."""
        if not any(is_compressed(file) for file in files):
            return read_dicom(files)
        with self._lock:
            decoder = self._idle.pop() if self._idle else Decoder(self._timeout_s, self._memory_mib)
        try:
            return decoder.read(files)
        except DecoderFailed as error:
            raise UnusableInput(
                f"Compressed frames must decode within the limits of this service; the decoding process {error.reason}. "
                "Send the image uncompressed.",
                code="undecodable_pixels",
            ) from error
        finally:
            with self._lock:
                self._idle.append(decoder)

    def close(self) -> None:
        """End the processes that are idle."""
        with self._lock:
            for decoder in self._idle:
                decoder.close()
            self._idle.clear()
