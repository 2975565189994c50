"""Factories of the receiver: one on a free port over a store of its own, raw PDUs to be rude with, certificates for TLS."""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification
from pynetdicom.presentation import PresentationContext, build_context
from sqlalchemy import select

from models.dicom_bytes import outline
from service.dicom import dimse, wire
from service.dicom.listen import Receiver
from service.dicom.wire import Limits
from service.settings import Settings
from service.site import Site
from service.store.inbox import Inbox
from service.store.store import Store
from service.store.tables import Instance
from tests.make import dicom_bytes, radiograph_dataset, radiograph_pixels
from tests.make_store import settings_for

CT, DX = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"
ECHO = "1.2.840.10008.1.1"


@dataclass(frozen=True)
class Receiving:
    """A running receiver."""

    receiver: Receiver
    store: Store
    settings: Settings

    @property
    def port(self) -> int:
        return self.receiver.address[1]

    def kept(self) -> list[Instance]:
        """Return the rows of what was kept, in order."""
        with self.store.reading() as session:
            return list(session.scalars(select(Instance).order_by(Instance.id)))

    def files(self) -> list[bytes]:
        """Return what was kept, in order."""
        return [self.store.objects.get(one.sha256) for one in self.kept()]

    def associate(self, *contexts: tuple[str, str], calling: str = "MODALITY", called: str = "", **how: Any) -> Association:
        """Ask for an association as pynetdicom's user."""
        built = [build_context(uid, syntax) for uid, syntax in contexts or ((ECHO, EXPLICIT), (DX, EXPLICIT))]
        return self.associate_contexts(built, calling=calling, called=called, **how)

    def associate_contexts(
        self, contexts: list[PresentationContext], *, calling: str = "MODALITY", called: str = "", **how: Any
    ) -> Association:
        """The same with contexts of any number of transfer syntaxes."""
        entity = AE(ae_title=calling)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = 10
        return entity.associate("127.0.0.1", self.port, contexts=contexts, ae_title=called or self.settings.ae_title, **how)

    def connect(self) -> socket.socket:
        """Connect and say nothing."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


@contextmanager
def receiving(folder: Path, *, site: Site | None = None, limits: Limits | None = None, **settings: Any) -> Iterator[Receiving]:
    """Run a receiver on a free port until the block ends."""
    told = settings_for(folder, dicom_port=0, **settings)
    store = Store.open(told, min_free_bytes=0)
    inbox = Inbox(store, quiet_s=told.quiet_s, release_quiet_s=told.release_quiet_s)
    receiver = Receiver(told, site or Site(), inbox, limits=limits)
    receiver.start()
    try:
        yield Receiving(receiver, store, told)
    finally:
        receiver.drain(0.5)
        inbox.close()
        store.close()


def radiograph(serial: int = 1, **changes: Any) -> Dataset:
    """Make a small radiograph with a SOP Instance UID of its own."""
    dataset = radiograph_dataset(radiograph_pixels(32, 32, seed=serial), **changes)
    dataset.SOPInstanceUID = f"1.2.826.0.1.3680043.8.498.2026.5.{serial}"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def write_files(folder: Path, datasets: list[Dataset]) -> list[str]:
    """Write datasets as files and return their paths, for a program."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{place}.dcm" for place in range(len(datasets))]
    for path, dataset in zip(paths, datasets, strict=True):
        path.write_bytes(dicom_bytes(dataset))
    return [str(path) for path in paths]


def request(*contexts: tuple[str, list[str]], calling: str = "MODALITY", called: str = "DIAPHANE") -> bytes:
    """Encode an A-ASSOCIATE-RQ."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = calling, called
    built = [build_context(uid, syntaxes) for uid, syntaxes in contexts or ((DX, [EXPLICIT]), (ECHO, [EXPLICIT]))]
    for place, context in enumerate(built):
        context.context_id = 2 * place + 1
    primitive.presentation_context_definition_list = built
    length, uid = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received, uid.implementation_class_uid = 16384, "1.2.3"
    primitive.user_information = [length, uid]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return bytes(pdu.encode())


def store_command(sop_uid: str = "1.2.3", sop_class_uid: str = DX, message_id: int = 1) -> bytes:
    """Encode the P-DATA of a C-STORE-RQ on context 1; its dataset is to follow."""
    command = dimse.write_request(dimse.C_STORE_RQ, message_id, sop_class_uid, sop_uid, has_dataset=True)
    return wire.data_pdus(1, command, 0)


def store_message(dataset: Dataset | bytes, sop_uid: str | None = None, message_id: int = 1) -> bytes:
    """Encode a whole C-STORE on context 1, in PDUs of 16 KiB."""
    if isinstance(dataset, Dataset):
        file = dicom_bytes(dataset)
        body, uid = file[outline(file).start :], str(dataset.SOPInstanceUID)
    else:
        body, uid = dataset, "1.2.3"
    return store_command(sop_uid or uid, message_id=message_id) + b"".join(wire.dataset_pdus(1, memoryview(body), 16384))


def fragment(context: int, data: bytes, *, command: bool = False, last: bool = False) -> bytes:
    """Encode one P-DATA-TF of one PDV."""
    return wire.HEAD.pack(wire.P_DATA, len(data) + 6) + wire.PDV.pack(len(data) + 2, context, command | last << 1) + data


def read_pdu(connection: socket.socket) -> tuple[int, bytes]:
    """Read one PDU; (0, b"") when the other side hung up."""
    head = _read(connection, 6)
    if len(head) < 6:
        return 0, b""
    kind, length = struct.unpack(">BxI", head)
    return kind, _read(connection, length)


def read_status(connection: socket.socket) -> tuple[int, str]:
    """Read a response and return its status and error comment."""
    kind, body = read_pdu(connection)
    assert kind == wire.P_DATA, kind
    values = dimse.read_values(body[6:])
    return struct.unpack("<H", values[0x0900])[0], values.get(0x0902, b"").decode().strip()


def until(true: Callable[[], bool], *, within_s: float = 10.0) -> bool:
    """Ask again until it is so; False when it is not in time."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.02)
    return true()


def certificates(folder: Path) -> dict[str, Path]:
    """Make a test authority and two certificates of it for this machine with openssl: server and client."""
    folder.mkdir(exist_ok=True)

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=60)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=Test authority", "-keyout", "ca.key", "-out", "ca.pem")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n", encoding="ascii")
    for name in ("server", "client"):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", "names", "-out", f"{name}.pem")
    return {path.name: path for path in folder.iterdir()}


def tls_user(files: dict[str, Path], *, certificate: bool = True, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """Return what a peer of the test authority speaks."""
    context = ssl.create_default_context(cafile=str(files["ca.pem"]))
    if certificate:
        context.load_cert_chain(files["client.pem"], files["client.key"])
    if version:
        context.maximum_version = version
    return context


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        try:
            piece = connection.recv(size - len(data))
        except ConnectionError:
            break
        if not piece:
            break
        data += piece
    return data
