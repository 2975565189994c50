"""Software of unknown provenance (IEC 62304, 8.1.2): every package, its version, licence and purpose; and the list as CycloneDX."""

from __future__ import annotations

import re
import tomllib
import uuid
from dataclasses import dataclass
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)")
_STATED = re.compile(r'^\s*"([A-Za-z0-9][A-Za-z0-9._-]*)[^"]*",?\s*(?:#\s*(.*))?$')
_SHORT = 80  # a longer "licence" is its whole text


@dataclass(frozen=True)
class Package:
    """One package that runs with the software. "" is what is not known; ``role`` is direct, extra NAME, or brought by others."""

    name: str
    version: str
    licence: str
    purpose: str
    role: str
    site: str

    @property
    def missing(self) -> tuple[str, ...]:
        """What a SOUP list asks for and is not known."""
        return tuple(name for name in ("licence", "purpose") if not getattr(self, name))


def packages(root: Path) -> list[Package]:
    """Return every package that constraints.txt pins, with what pyproject.toml says of it and what is installed says of itself."""
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    table = tomllib.loads(project)["project"]
    roles = {canonical(_named(line)): "serving" for line in table["dependencies"]}
    for extra, lines in table["optional-dependencies"].items():
        for line in lines:
            roles.setdefault(canonical(_named(line)), f"extra {extra}")
    purposes = {canonical(match[1]): (match[2] or "").strip() for line in project.splitlines() if (match := _STATED.match(line))}
    found = []
    for line in (root / "constraints.txt").read_text(encoding="utf-8").splitlines():
        pinned = _PINNED.match(line)
        if not pinned:
            continue
        name, key = pinned[1], canonical(pinned[1])
        told = _metadata(name)
        role = roles.get(key, "")
        purpose = purposes.get(key, "") if role else "brought by another package"
        found.append(Package(name, pinned[2], licence_of(told) if told else "", purpose, role or "brought by others",
                             f"https://pypi.org/project/{key}/"))
    return sorted(found, key=lambda one: (one.role == "brought by others", one.role, one.name.lower()))


def licence_of(told: PackageMetadata) -> str:
    """Return the licence a package states: the SPDX expression, else the classifiers, else a short free text, else ""."""
    expression = told.get("License-Expression")
    if expression:
        return str(expression)
    classes = [one.split(" :: ")[-1] for one in told.get_all("Classifier") or [] if one.startswith("License ::")]
    if classes:
        return " or ".join(sorted(set(classes)))
    text = str(told.get("License") or "").strip()
    return text if len(text) <= _SHORT and "\n" not in text else ""


def bill(found: list[Package], name: str, version: str) -> dict[str, Any]:
    """Return a software bill of materials in CycloneDX 1.5 (ECMA-424). The same packages give the same serial number."""
    components = [{
        "type": "library", "bom-ref": purl(one), "name": one.name, "version": one.version, "purl": purl(one),
        "scope": "required" if one.role == "serving" else "optional",
        **({"licenses": [{"license": {"name": one.licence}}]} if one.licence else {}),
        "externalReferences": [{"type": "distribution", "url": one.site}],
    } for one in found]
    listed = "\n".join(sorted(purl(one) for one in found))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json", "bomFormat": "CycloneDX", "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, listed)}", "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": f"{name}@{version}", "name": name, "version": version}},
        "components": components,
    }


def purl(one: Package) -> str:
    """Return the package URL of a package from PyPI."""
    return f"pkg:pypi/{canonical(one.name)}@{one.version}"


def canonical(name: str) -> str:
    """Return a name as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _named(line: str) -> str:
    found = _NAME.match(line)
    return found[0] if found else line


def _metadata(name: str) -> PackageMetadata | None:
    try:
        return metadata(name)
    except PackageNotFoundError:
        return None
