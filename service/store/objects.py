"""Objects: files by the SHA-256 of their content, on a local disk or an S3-compatible server. No peer names a file.

A file is there whole or not at all, and it is on disk before ``put`` returns.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from service.store.errors import StoreError

_HEX = 64  # digits of a SHA-256
ABANDONED_S = 3600.0  # no write takes so long: a temporary file of that age was left by a crash


class Objects(Protocol):
    """Where files are kept."""

    def put(self, data: bytes, sha256: str | None = None) -> str:
        """Keep ``data`` and return its SHA-256, computed when not given. Again is harmless."""
        ...

    def put_many(self, contents: Sequence[bytes], sha256s: Sequence[str] | None = None) -> set[str]:
        """Keep all; return the SHA-256 of those that were there already. ``sha256s`` saves computing them."""
        ...

    def get(self, sha256: str) -> bytes:
        """Return the bytes. Raises StoreError ``damaged`` when they are gone or not what the hash says."""
        ...

    def path(self, sha256: str) -> Path | None:
        """Return where the file lies; None when it is not on this machine."""
        ...

    def delete(self, sha256s: Iterable[str]) -> None:
        """Remove files; one that is gone is no error."""
        ...

    def older_than(self, moment: float) -> Iterator[str]:
        """Give the SHA-256 of every file written before ``moment``."""
        ...


def open_objects(folder: Path, url: str, endpoint: str) -> Objects:
    """Return objects in ``folder``, or under ``url`` (s3://bucket/prefix). Raises StoreError."""
    if not url:
        return LocalObjects(folder)
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc:
        raise StoreError("The setting objects must be empty or s3://bucket/prefix.", code="unreachable")
    return S3Objects(parts.netloc, parts.path.strip("/"), endpoint)


class LocalObjects:
    """Files <folder>/ab/<sha256>, for the owner only. The 256 folders are made at once, so that a write syncs one of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._temporary = folder / "temporary"
        try:
            self._make_folders()
            self._sweep()
        except OSError as error:
            raise _unwritable(error) from None

    def put(self, data: bytes, sha256: str | None = None) -> str:
        """See Objects."""
        name = sha256 or hashlib.sha256(data).hexdigest()
        self.put_many([data], [name])
        return name

    def put_many(self, contents: Sequence[bytes], sha256s: Sequence[str] | None = None) -> set[str]:
        """See Objects. Each folder is synced once, after all its files."""
        there: set[str] = set()
        folders: set[Path] = set()
        try:
            for sha256, data in _named(contents, sha256s):
                path = self._place(sha256)
                if path.exists():
                    there.add(sha256)
                else:
                    self._write(path, data)
                folders.add(path.parent)  # of one that was there too: whoever wrote it may not have come to that yet
            for folder in folders:
                sync_folder(folder)
        except OSError as error:
            raise _unwritable(error) from None
        return there

    def get(self, sha256: str) -> bytes:
        """See Objects."""
        try:
            data = self._place(sha256).read_bytes()
        except FileNotFoundError:
            raise _damaged("is gone") from None
        except OSError as error:
            raise _damaged(f"cannot be read ({type(error).__name__})") from None
        if hashlib.sha256(data).hexdigest() != sha256:
            with suppress(OSError):  # out of the way, so that a copy sent again is kept
                self._place(sha256).rename(self._place(sha256).with_suffix(".damaged"))
            raise _damaged("is not what was stored")
        return data

    def path(self, sha256: str) -> Path | None:
        """See Objects. The hash is not checked."""
        return self._place(sha256)

    def delete(self, sha256s: Iterable[str]) -> None:
        """See Objects."""
        try:
            for sha256 in sha256s:
                self._place(sha256).unlink(missing_ok=True)
                self._place(sha256).with_suffix(".damaged").unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(error) from None

    def older_than(self, moment: float) -> Iterator[str]:
        """See Objects."""
        for number in range(256):
            with os.scandir(self._folder / f"{number:02x}") as entries:
                yield from [one.name for one in entries if len(one.name) == _HEX and one.stat().st_mtime < moment]

    def _place(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256

    def _write(self, path: Path, data: bytes) -> None:
        """Write a temporary file, sync it, give it its name."""
        temporary = self._temporary / secrets.token_hex(16)
        file = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
            os.fdatasync(file)
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(file)

    def _make_folders(self) -> None:
        for folder in (self._folder, self._temporary, *(self._folder / f"{number:02x}" for number in range(256))):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(self._folder)
        sync_folder(self._folder.parent)

    def _sweep(self) -> None:
        before = time.time() - ABANDONED_S
        for path in self._temporary.iterdir():
            try:
                if path.stat().st_mtime < before:
                    path.unlink()
            except FileNotFoundError:  # another process sweeps too
                continue


class S3Objects:
    """Objects <prefix>/<sha256> of one bucket. Credentials are found as boto3 finds them."""

    def __init__(self, bucket: str, prefix: str, endpoint: str) -> None:
        try:
            import boto3  # noqa: PLC0415  an optional extra
            import botocore.config  # noqa: PLC0415
            import botocore.exceptions  # noqa: PLC0415
        except ModuleNotFoundError:
            raise StoreError("Objects on S3 need boto3: pip install 'diaphane[s3]'.", code="missing_extra") from None
        self._errors: tuple[type[Exception], ...] = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)
        self._bucket = bucket
        self._prefix = prefix
        try:
            limits = botocore.config.Config(connect_timeout=5, read_timeout=60, retries={"max_attempts": 3, "mode": "standard"})
            self._client: Any = boto3.session.Session().client("s3", endpoint_url=endpoint or None, config=limits)
            self._client.head_bucket(Bucket=bucket)
        except (*self._errors, ValueError) as error:
            raise self._unreachable(error) from None

    def put(self, data: bytes, sha256: str | None = None) -> str:
        """See Objects."""
        name = sha256 or hashlib.sha256(data).hexdigest()
        self.put_many([data], [name])
        return name

    def put_many(self, contents: Sequence[bytes], sha256s: Sequence[str] | None = None) -> set[str]:
        """See Objects. The server answers a PUT once the object is durable."""
        there = set()
        try:
            for sha256, data in _named(contents, sha256s):
                if self._has(sha256):
                    there.add(sha256)
                else:
                    self._client.put_object(Bucket=self._bucket, Key=self._key(sha256), Body=data)
        except self._errors as error:
            raise self._unreachable(error) from None
        return there

    def get(self, sha256: str) -> bytes:
        """See Objects."""
        try:
            data: bytes = self._client.get_object(Bucket=self._bucket, Key=self._key(sha256))["Body"].read()
        except self._errors as error:
            if _status(error) == 404:
                raise _damaged("is gone") from None
            raise self._unreachable(error) from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise _damaged("is not what was stored")
        return data

    def path(self, sha256: str) -> Path | None:  # noqa: ARG002  as the protocol says
        """See Objects: never here."""
        return None

    def delete(self, sha256s: Iterable[str]) -> None:
        """See Objects."""
        try:
            for sha256 in sha256s:
                self._client.delete_object(Bucket=self._bucket, Key=self._key(sha256))
        except self._errors as error:
            raise self._unreachable(error) from None

    def older_than(self, moment: float) -> Iterator[str]:
        """See Objects."""
        try:
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix):
                for one in page.get("Contents", ()):
                    name = str(one["Key"]).rpartition("/")[2]
                    if len(name) == _HEX and one["LastModified"].timestamp() < moment:
                        yield name
        except self._errors as error:
            raise self._unreachable(error) from None

    def _has(self, sha256: str) -> bool:
        try:
            self._client.head_object(Bucket=self._bucket, Key=self._key(sha256))
        except self._errors as error:
            if _status(error) == 404:
                return False
            raise
        return True

    def _key(self, sha256: str) -> str:
        return "/".join(filter(None, (self._prefix, sha256)))

    def _unreachable(self, error: Exception) -> StoreError:
        return StoreError(
            f"The bucket of the setting objects cannot be used ({type(error).__name__} {_status(error) or ''}). "
            "See to objects_endpoint, the credentials and the rights on the bucket.",
            code="unreachable",
        )


def _named(contents: Sequence[bytes], sha256s: Sequence[str] | None) -> Iterator[tuple[str, bytes]]:
    names = (hashlib.sha256(data).hexdigest() for data in contents) if sha256s is None else sha256s
    return zip(names, contents, strict=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _unwritable(error: OSError) -> StoreError:
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return StoreError("The disk of the store is full. Free space or enlarge it; sending again will then work.", code="full")
    return StoreError(
        f"The folder of the store cannot be written: {error.strerror}. See to its disk and its rights.", code="unwritable"
    )


def _damaged(what: str) -> StoreError:
    return StoreError(f"A file of the store {what}. Restore it from a copy, or have its sender send it again.", code="damaged")


def _status(error: Exception) -> int:
    response = getattr(error, "response", {})
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
