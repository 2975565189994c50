"""Shelf: the releases of a folder, opened once, and which of them fit what has come in."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Self

from models import gate
from models.errors import BrokenModel
from models.model import Model
from models.prediction import Refusal
from models.session import DEFAULT_OPTIONS, SessionOptions
from models.volume import Header

RELEASED = Path(__file__).with_name("released")
PINS = "active.json"  # {"name": "1.0.0"}: the version that serves, when it must not be the highest


class Shelf:
    """Every release of a folder. The active version of a name is the highest, unless active.json pins another."""

    def __init__(self, folder: Path = RELEASED, options: SessionOptions = DEFAULT_OPTIONS) -> None:
        """Open all releases. Raises BrokenModel for the first that is not sound, or for a pin that points nowhere."""
        self.folder, self.options = Path(folder), options
        self.models: dict[str, Model] = {}
        for release in release_folders(self.folder):
            model = Model(release, options)
            self.models[model.id] = model
        self.active = self._active(read_pins(self.folder))
        self.barred: frozenset[str] = frozenset()

    def serving(self, live: Mapping[str, str], barred: Collection[str] = ()) -> Self:
        """Return the same releases, already open, with others in service: ``live`` maps names to the ids that serve.

        A name that ``live`` does not have keeps its active version unless that is ``barred``. A barred release is not
        got, by name or by id, and fits nothing; ``models`` and ``known`` still have it, for pages and for replay.
        """
        view = object.__new__(type(self))
        view.folder, view.options = self.folder, self.options
        view.models, view.barred = self.models, frozenset(barred) - set(live.values())
        chosen = {**self.active, **{name: self.models[one] for name, one in live.items() if one in self.models}}
        view.active = {name: model for name, model in sorted(chosen.items()) if model.id not in view.barred}
        return view

    def add(self, model: Model) -> None:
        """Hold one more release, already open and checked. It takes no other's place by itself; views made before do not have it."""
        self.models = dict(sorted([*self.models.items(), (model.id, model)]))  # others may be reading the one of before
        self.active = {model.manifest.name: model, **self.active}

    def get(self, id_or_name: str) -> Model:
        """Return a release by id, or the active version by name. Raises KeyError when there is none, or it must not speak."""
        found = self.models.get(id_or_name) or self.active.get(id_or_name)
        if found is None or found.id in self.barred:
            raise KeyError(f"No model {id_or_name!r} here; known: {', '.join([*self.active, *self.models]) or 'none'}.")
        return found

    def known(self, id_or_name: str) -> Model:
        """Return a release by id, or the active or else highest version by name, whether or not it serves. Raises KeyError."""
        found = self.models.get(id_or_name) or self.active.get(id_or_name) or self._active({}).get(id_or_name)
        if found is None:
            raise KeyError(f"No model {id_or_name!r} here; known: {', '.join(self.models) or 'none'}.")
        return found

    def for_series(self, header: Header) -> list[tuple[Model, Refusal | None]]:
        """Return each active imaging model with None when the header fits it, else with its refusal.

        Nothing is decoded and nothing is run; pixels may still lead to a refusal later.
        """
        judged: list[tuple[Model, Refusal | None]] = []
        for model in self.active.values():
            if model.manifest.task not in ("risk", "department"):
                decline = gate.decline_header(model.manifest.accepts, header)
                flags = gate.header_flags(model.manifest.accepts, header)
                judged.append((model, model.refusal(decline, flags) if decline else None))
        return judged

    def for_record(self) -> list[Model]:
        """Return the active risk models, but for those that speak only while something is ordered: these are asked by name."""
        return [model for model in self.active.values() if model.manifest.task == "risk" and not _while_ordering(model)]

    def _active(self, pins: dict[str, str]) -> dict[str, Model]:
        active: dict[str, Model] = {}
        for model in sorted(self.models.values(), key=lambda model: _order(model.manifest.version)):
            active[model.manifest.name] = model
        for name, version in pins.items():
            pinned = self.models.get(f"{name}-{version}")
            if pinned is None:
                raise BrokenModel(f"{PINS}: {name} is pinned to {version}, which is not on the shelf. Correct the pin.")
            active[name] = pinned
        return dict(sorted(active.items()))


def _while_ordering(model: Model) -> bool:
    hooks = model.manifest.hooks
    return bool(hooks) and all(hook.startswith("order-") for hook in hooks)


def release_folders(folder: Path) -> list[Path]:
    """Return the folders that hold a release, by name. Hidden folders and loose files do not count."""
    if not folder.is_dir():
        raise BrokenModel(f"{folder.name}: the folder of releases must exist, found none.")
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._")


def read_pins(folder: Path) -> dict[str, str]:
    """Return the pinned versions by name, empty without active.json. Raises BrokenModel when it is damaged."""
    path = folder / PINS
    if not path.is_file():
        return {}
    try:
        pins = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise BrokenModel(f'{PINS}: must be JSON such as {{"name": "1.0.0"}}, it could not be read.') from error
    if not isinstance(pins, dict) or not all(isinstance(value, str) for value in pins.values()):
        raise BrokenModel(f'{PINS}: must map names to versions such as {{"name": "1.0.0"}}.')
    return pins


def write_pin(folder: Path, name: str, version: str | None) -> None:
    """Pin a name to a version (a rollback), or unpin it with None."""
    pins = read_pins(folder)
    pins.pop(name, None)
    if version is not None:
        pins[name] = version
    (folder / PINS).write_text(json.dumps(pins, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
