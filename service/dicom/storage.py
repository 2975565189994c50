"""What we take from a peer: the image storage classes, and the transfer syntaxes whose pixels we can decode."""

from __future__ import annotations

from pydicom.uid import UID_dictionary

# Classes with these words are not pictures we can look at: films for a printer, moving pictures, luggage and welds.
_NOT_OURS = ("Hardcopy", "Video", "DICOS", "Eddy Current", "Trial")
ECHO_CLASS = "1.2.840.10008.1.1"
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"

# PS3.6 table A-1. A class that pydicom's next dictionary knows is taken then, without a change here.
IMAGE_CLASSES: dict[str, str] = {
    uid: f"{name} (retired)" if retired else name
    for uid, (name, kind, _, retired, _) in UID_dictionary.items()
    if kind == "SOP Class" and "Image Storage" in name and not any(word in name for word in _NOT_OURS)
}

# Each one is decoded in a test. Best first: the first a peer proposes of these is the one it is asked to use.
TRANSFER_SYNTAXES: dict[str, str] = {
    "1.2.840.10008.1.2.1": "Explicit VR Little Endian",
    "1.2.840.10008.1.2": "Implicit VR Little Endian",
    "1.2.840.10008.1.2.4.70": "JPEG Lossless, first-order prediction",
    "1.2.840.10008.1.2.4.57": "JPEG Lossless",
    "1.2.840.10008.1.2.4.80": "JPEG-LS Lossless",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 Lossless",
    "1.2.840.10008.1.2.4.201": "High-Throughput JPEG 2000 Lossless",
    "1.2.840.10008.1.2.4.202": "High-Throughput JPEG 2000 Lossless, RPCL",
    "1.2.840.10008.1.2.5": "RLE Lossless",
    "1.2.840.10008.1.2.1.99": "Deflated Explicit VR Little Endian",
    "1.2.840.10008.1.2.2": "Explicit VR Big Endian",
    "1.2.840.10008.1.2.4.50": "JPEG Baseline, 8 bits",
    "1.2.840.10008.1.2.4.81": "JPEG-LS Near-lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.4.203": "High-Throughput JPEG 2000",
}
