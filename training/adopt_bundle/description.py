"""What a person tells of an adopted bundle, in describe.toml; what nobody tells is named in the card as not known."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import BrokenModel
from models.manifest import Code, Range
from training.adopt_bundle.bundle import Bundle

UNKNOWN = "unknown"
OURS = "urn:diaphane:codes"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Told(_Part):
    """One label: its number in the network, what it is called, and the code of what it outlines."""

    label: int = Field(ge=1, le=255)
    name: str = Field(default="", pattern=r"^([a-z][a-z0-9_]*)?$")
    text: str = ""
    text_fr: str = ""
    code: Code | None = None


class Description(_Part):
    """describe.toml. Every field may be left out."""

    name: str = Field(default="", pattern=r"^([a-z][a-z0-9_]*)?$")
    version: str = Field(default="", pattern=r"^(\d+\.\d+\.\d+)?$")
    title: str = ""
    title_fr: str = ""
    summary: str = ""
    licence: str = ""
    contact: str = ""
    modality: Literal["", "CT", "MR", "PT"] = ""
    body_parts: list[str] = []
    age_years: Range = Range()
    orientation: str = Field(default="", pattern=r"^([LRAPSI]{3})?$")
    labels: list[Told] = []
    purpose: str = ""
    users: str = ""
    population: str = ""
    must_not: list[str] = []
    limits: list[str] = []
    training_data: str = ""
    training_data_licence: str = ""
    citation: str = ""


def read_description(path: Path | None) -> Description:
    """Read describe.toml; an empty one when there is none. Raises BrokenModel naming the field that is wrong."""
    if path is None:
        return Description()
    try:
        return Description.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BrokenModel(f"{path.name} must be a TOML file; it could not be read.") from error
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BrokenModel(f"{path.name} is not valid at {place}: {first['msg']}. See --write-describe.") from error


def completed(description: Description, bundle: Bundle) -> tuple[Description, list[str]]:
    """Fill in what the bundle's metadata tell; return it with the list of what nobody tells, in words for the card.

    Raises BrokenModel when the name, version or modality is told by neither.
    """
    told = bundle.told
    taken = {
        "name": description.name or word_of(told("name")),
        "version": description.version or _version(told("version")),
        "modality": description.modality or bundle.modality,
    }
    for field, where in (("name", "name"), ("version", "version"), ("modality", "network_data_format.inputs.image.modality")):
        if not taken[field]:
            raise BrokenModel(f"The bundle's metadata do not tell its {field} ({where}) in a form that is known. "
                              f"Say it in the description: {field} = …")
    title = description.title or told("name") or taken["name"].replace("_", " ")
    rest = {
        "title": title,
        "title_fr": description.title_fr or title,
        "summary": description.summary or told("description") or told("task") or UNKNOWN,
        "licence": description.licence or UNKNOWN,
        "contact": description.contact or told("authors") or UNKNOWN,
        "purpose": description.purpose or told("intended_use") or UNKNOWN,
        "users": description.users or UNKNOWN,
        "population": description.population or UNKNOWN,
        "training_data": description.training_data or " ".join(filter(None, (told("data_source"), told("data_type")))) or UNKNOWN,
        "training_data_licence": description.training_data_licence or UNKNOWN,
        "citation": description.citation or _references(bundle) or UNKNOWN,
    }
    filled = description.model_copy(update={**taken, **rest})
    gaps = [words for field, words in ASKED.items() if rest.get(field) == UNKNOWN]
    if not description.title_fr:
        gaps.append("a French title and French names of the labels" if not any(one.text_fr for one in description.labels)
                    else "a French title")
    if not description.body_parts:
        gaps.append("the body parts it may be used on: BodyPartExamined is not looked at")
    if description.age_years == Range():
        gaps.append("the ages it was made for: nobody is declined for their age")
    if not all(one.code for one in description.labels) or not description.labels:
        gaps.append("a standard code for every label: local codes stand in their place")
    return filled, gaps


ASKED = {
    "summary": "what it does, in words",
    "licence": "the licence of the weights: whether they may be used here is not known",
    "contact": "who made it and answers for it",
    "purpose": "its intended use",
    "users": "who may use it",
    "population": "for which patients it was made",
    "training_data": "what it learnt from, how many patients, and from where",
    "training_data_licence": "the terms of the data it learnt from",
    "citation": "a publication about it",
}


def labels_of(description: Description, bundle: Bundle, classes: int) -> list[Told]:
    """Return labels 1 to n of a network with so many channels, named by the description, else by the bundle.

    Raises BrokenModel when channel 0 is not the background, a label has no name, or two share one.
    """
    channels, told = bundle.labels, {one.label: one for one in description.labels}
    count = max(classes - 1, 1)
    if set(told) - set(range(1, count + 1)):
        raise BrokenModel(f"The description may name labels 1 to {count}, found {sorted(set(told) - set(range(1, count + 1)))}.")
    if classes > 1 and 0 in channels and "background" not in channels[0].lower():
        raise BrokenModel("Channel 0 of the network must be the background, found another class. Serve it where it was made.")
    if classes > 1 and channels and set(channels) - set(range(classes)):
        raise BrokenModel(f"The metadata name channels {sorted(channels)}, the network has {classes}.")
    labels = []
    for label in range(1, count + 1):
        one = told.get(label, Told(label=label))
        named = channels.get(label if classes > 1 else 0, channels.get(label, ""))
        text = one.text or named
        if not (text or one.name):
            raise BrokenModel(f"Label {label} needs a name: the metadata's channel_def has none. Say it in the description.")
        text = text or one.name.replace("_", " ")
        name = one.name or word_of(text) or f"label_{label}"
        code = one.code or Code(system=OURS, code=name.replace("_", "-"), display=text[:1].upper() + text[1:])
        labels.append(Told(label=label, name=name, text=text[:1].upper() + text[1:], text_fr=one.text_fr or text, code=code))
    names = [one.name for one in labels]
    if len(set(names)) < len(names):
        raise BrokenModel("Two labels share one name. Name them apart in the description.")
    return labels


def word_of(text: str) -> str:
    """Return text as one word for a name: lower case, digits and underscores; "" when it starts with none of a to z."""
    word = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:60].strip("_")
    return word if re.fullmatch(r"[a-z][a-z0-9_]*", word) else ""


def _version(text: str) -> str:
    found = re.fullmatch(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text.strip())
    return f"{found[1]}.{found[2]}.{found[3] or 0}" if found else ""


def _references(bundle: Bundle) -> str:
    found: Any = bundle.metadata.get("references", [])
    return " ".join(" ".join(str(one).split()) for one in found[:3]) if isinstance(found, list) else ""


def written(bundle: Bundle) -> str:
    """Return a describe.toml to fill in, with what the bundle's metadata tell put in already."""
    lines = [
        "# What is told of an adopted bundle. Leave out what is not known: the card then says that it is not known.",
        f'name = "{word_of(bundle.told("name"))}"  # of the release folder: a to z, 0 to 9 and _',
        f'version = "{_version(bundle.told("version"))}"',
        f"title = {_quoted(bundle.told('name'))}",
        'title_fr = ""',
        f"summary = {_quoted(bundle.told('description'))}",
        'licence = ""  # of the weights, as their makers state it',
        f"contact = {_quoted(bundle.told('authors'))}",
        f'modality = "{bundle.modality}"  # CT, MR or PT',
        "body_parts = []  # DICOM BodyPartExamined in capitals; empty: not looked at",
        "# age_years = {low = 18}  # others are declined",
        '# orientation = "RAS"  # only for a bundle without Orientationd',
        f"purpose = {_quoted(bundle.told('intended_use'))}",
        'users = ""',
        'population = ""',
        "must_not = []",
        "limits = []",
        f"training_data = {_quoted(bundle.told('data_source'))}",
        'training_data_licence = ""',
        f"citation = {_quoted(_references(bundle))}",
    ]
    for label, text in sorted(bundle.labels.items()):
        if label > 0:
            lines += ["", "[[labels]]", f"label = {label}", f'name = "{word_of(text)}"', f"text = {_quoted(text)}", 'text_fr = ""',
                      '# code = {system = "http://snomed.info/sct", code = "…", display = "… (body structure)"}']
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
