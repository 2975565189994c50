"""A set for training or research: de-identified images and records with what professionals said, for outside the hospital.

    OUT/images/<group>/<file>.dcm   images by PS3.15, one folder a person      OUT/labels.jsonl   one line a result
    OUT/records.jsonl               risks with the record they rest on         OUT/manifest.csv   one line an image
    OUT/held_back.csv               images that a person must look at first    OUT/README.md
    OUT/neither.csv                 people to be left out of earlier sets

Who is opposed to training is left out. An image that bears marks like text, or may, stays here until somebody has looked at
it: its name, written into a file that is given as ``approved``, lets it out.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.deidentify.burned_in import look_at
from models.deidentify.dataset import Report, deidentify, written
from models.deidentify.pseudonym import Pseudonyms
from models.deidentify.record import deidentify_record
from models.deidentify.rules import Rules
from models.dicom_bytes import parse
from models.dicom_pixels import text
from models.errors import UnusableInput
from models.record_json import record_of_json, record_to_json
from service.persons_keys import keys_of_fhir
from service.rights.person import dataset_of
from service.rights.rights import keys_of_study
from service.rights.sides import Side, Sides
from service.site import Site
from service.store import rights, training
from service.store.errors import StoreError
from service.store.splits import NEITHER
from service.store.store import Store
from service.store.training import Examined, Images, Judged, KeptRisk, Said

Json = dict[str, Any]
MANIFEST = ("file", "group", "split", "study", "series", "modality", "view", "body_part", "sex", "age", "rows", "columns", "sha256",
            "notes")
FACTS = ("StudyInstanceUID", "SeriesInstanceUID", "Modality", "ViewPosition", "BodyPartExamined", "PatientSex", "PatientAge", "Rows",
         "Columns")
HELD = ("file", "reason", "frame", "top", "left", "bottom", "right")
# What is taken over of a finding, by the model and as the reader left it; never a text that somebody typed
FINDING = ("name", "kind", "unit", "ai_value", "ai_present", "present", "value", "taken")
README = """\
# A de-identified set from Diaphane

Made for training and research. Images follow DICOM PS3.15 annex E: Basic Application Level Confidentiality Profile with the
options {options}. Text stays only where a list allows it. All dates of one person moved by one secret number of weeks; times of
day stayed. Ages above 89 years are told as 90.

- `manifest.csv`: one line an image. `group` is a person under whatever numbers they are known here. `split` (80 : 10 : 10) was
  decided when they first came and stays for ever: who tests never trains, in no set from this hospital.
- `neither.csv`: {neither} pseudonyms of people of whom two were on different sides before they turned out to be one. They are not
  in this set. Leave them out of earlier ones too: a model may have trained on them, so they test nothing.
- `labels.jsonl`: one line a result: what the model said, and what a professional said of it (`decision` agree, correct, reject;
  "" when nobody did; `in_force` false while a second reader is waited for). A correction holds findings as the reader left them.
  `picked`: why it was offered to be judged; `control` and `test` were drawn at random, so shares among them are unbiased.
- `records.jsonl`: risks with the measurements they rest on.
- `held_back.csv`: {held} images that are not here: they bear marks like text, or a kind of picture that often does, or could not
  be decoded. Look at each; write the names of those that may leave, one a line, into a file, and give it as --approved.
- {faces} images are of the head (CT, MR): a face can be made from them. Deface before they leave, or bind who gets them.

This is still personal data in the sense of the GDPR (pseudonymised): rare findings, device and time of day can single somebody
out. {opposed} studies or risks of people who oppose training were left out. Studies: {studies}; images: {images}; risks: {risks}.
"""


@dataclass
class Made:
    """What was written, as it grows."""

    counts: Counter[str] = field(default_factory=Counter)
    persons: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)


def write_set(
    store: Store, site: Site, out: Path, *, since: float, until: float, only_judged: bool = False, rules: Rules | None = None,
    approved: Collection[str] = frozenset(), went: Callable[[], None] = lambda: None,
) -> Made:
    """Write a set into a folder that is empty or not there. Raises OSError, FileExistsError."""
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise FileExistsError(out)
    taken = rules or Rules()
    with (out / "manifest.csv").open("w", newline="") as manifest, (out / "held_back.csv").open("w", newline="") as held, \
            (out / "labels.jsonl").open("w") as labels, (out / "records.jsonl").open("w") as records:
        maker = _Maker(store, site, out, taken, frozenset(approved), csv.writer(manifest), csv.writer(held))
        for study in training.studies_between(store, since, until):
            for line in maker.study(study, only_judged=only_judged):
                labels.write(json.dumps(line, sort_keys=True) + "\n")
            went()
        for risk in training.risks_between(store, since, until):
            told = maker.risk(risk, only_judged=only_judged)
            if told is not None:
                records.write(json.dumps(told, sort_keys=True) + "\n")
    counts, left = maker.made.counts, maker.sides.left()
    (out / "neither.csv").write_text("".join(f"{one}\n" for one in ["group", *left]), encoding="utf-8")
    (out / "README.md").write_text(README.format(
        neither=len(left), options=", ".join(taken.taken), held=counts["held_back"], faces=counts["faces"], opposed=counts["opposed"],
        studies=counts["studies"], images=counts["images"], risks=counts["risks"]), encoding="utf-8")
    return maker.made


def key_of(store: Store) -> bytes:
    """Return the key of pseudonyms: of this store and of nothing else, so that one person is one group in every set."""
    return hmac.new(store.secret, b"training set", hashlib.sha256).digest()


class _Maker:
    """Makes one set."""

    def __init__(self, store: Store, site: Site, out: Path, rules: Rules, approved: frozenset[str], manifest: Any, held: Any) -> None:
        self.store, self.site, self.out, self.rules, self.approved = store, site, out, rules, approved
        self.key, self.made = key_of(store), Made()
        self.names = Pseudonyms(self.key)
        self.sides = Sides(store, site, self.names)
        self.sides.settle()
        self._manifest, self._held = manifest, held
        self._keys = keys_of_study(store, site)
        self._manifest.writerow(MANIFEST)
        self._held.writerow(HELD)

    def study(self, study: Examined, *, only_judged: bool) -> Iterable[Json]:
        """Write the images of one study; return its labels."""
        persons = self._keys(dataset_of(study.attributes))
        if rights.opposes(self.store, persons=persons, study_uid=study.uid, purpose="training"):
            self.made.counts["opposed"] += 1
            return []
        side = self.sides.of_study(study.uid, persons)
        if side.split == NEITHER:
            self.made.counts[NEITHER] += 1
            return []
        lines = []
        for case in study.cases:
            if only_judged and not any(one.said.decision for one in case.results):
                continue
            files = [name for sha256 in case.files if (name := self._image(sha256, side))]
            if files:
                lines += self._labels(case, files, side)
        if lines or not only_judged:
            self.made.counts["studies"] += 1
            self.made.persons |= set(persons[:1])
        return lines

    def risk(self, risk: KeptRisk, *, only_judged: bool) -> Json | None:
        """Return one risk with its record, None where it must or need not be told."""
        if only_judged and not risk.said.decision:
            return None
        persons = [risk.person, *keys_of_fhir(self.store, self.site, None, risk.subject)]
        if rights.opposes(self.store, persons=persons, purpose="training"):
            self.made.counts["opposed"] += 1
            return None
        side = self.sides.of_risk(risk.person, risk.subject)
        if side.split == NEITHER:
            self.made.counts[NEITHER] += 1
            return None
        try:
            record = deidentify_record(record_of_json(risk.record), self.rules, self.key, person=side.person)
        except UnusableInput:
            self.made.counts["unusable"] += 1
            return None
        self.made.counts["risks"] += 1
        self.made.persons.add(risk.person)
        moment_h = risk.record.get("moment_h")
        return {"group": side.group, "split": side.split, "model": risk.model, "status": risk.status, "value": risk.value,
                "record": record_to_json(record), "moment_h": moment_h if isinstance(moment_h, int | float) else None,
                **self._verdict(risk.said, side.group)}

    def _image(self, sha256: str, side: Side) -> str:
        """Write one image; return its name, "" when it stays here."""
        try:
            source = parse(self.store.objects.get(sha256))
            made, report = deidentify(source, self.rules, self.key, person=side.person)
        except (UnusableInput, StoreError):
            self.made.counts["unusable"] += 1
            return ""
        name = self._name(side.group, text(source, "SOPInstanceUID"))
        self.made.unknown |= set(report.unknown)
        look = look_at(source)
        if look.verdict == "look" and name not in self.approved:
            for frame, box in look.boxes or ((0, ("", "", "", "")),):
                self._held.writerow([name, look.reason, frame + 1, *box])
            self.made.counts["held_back"] += 1
            return ""
        data = written(made)
        place = self.out / name
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.write_bytes(data)
        self._manifest.writerow([name, side.group, side.split, *_facts(made), hashlib.sha256(data).hexdigest(), _notes(report)])
        self.made.counts["images"] += 1
        self.made.counts["faces"] += "face_may_show" in report.notes
        return name

    def _labels(self, case: Images, files: list[str], side: Side) -> list[Json]:
        return [
            {"group": side.group, "split": side.split, "files": files, "model": one.model, "status": one.status, "reason": one.reason,
             "findings": _by_model(one), **self._verdict(one.said, side.group)}
            for one in case.results if one.model != "none"
        ]

    def _name(self, group: str, sop_uid: str) -> str:
        return f"images/{group}/{self.names.uid(sop_uid)[5:]}.dcm"

    def _verdict(self, said: Said, group: str) -> Json:
        """Return what a professional said, without who, when, and what they typed."""
        findings = [one for one in said.content.get("findings", []) if isinstance(one, Mapping)]
        told = {"decision": said.decision, "in_force": said.in_force, "picked": said.picked, "reason_code": said.reason_code,
                "reading": said.reading}
        return {**told, "assessed": [
            {**{name: one.get(name) for name in FINDING},
             "regions": [{"file": self._name(group, str(each.get("sop_uid"))), "frame": each.get("frame"),
                          "points": each.get("points")}
                         for each in one.get("regions", ()) if isinstance(each, Mapping)]}
            for one in findings
        ]}


def _facts(made: Any) -> list[str]:
    return [str(made.get(keyword, "") or "") for keyword in FACTS]


def _notes(report: Report) -> str:
    return " ".join(report.notes)


def _by_model(one: Judged) -> list[Json]:
    found = one.summary.get("findings")
    names = ("name", "kind", "value", "unit", "threshold", "above_threshold")
    return [{name: each.get(name) for name in names} for each in found or () if isinstance(each, Mapping)]
