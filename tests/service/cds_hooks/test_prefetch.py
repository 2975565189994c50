"""Prefetch templates ask for what a release reads, no less: filled from a record they give the very same features."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from models.manifest import read_manifest
from models.model import Model
from models.read_fhir import read_bundle
from service.cds_hooks.hooks import Call, PatientView
from service.cds_hooks.prefetch import FACTS, codes_read, gather, templates
from service.cds_hooks.record_system import call, chart_of, fill
from service.cds_hooks.services import ENCOUNTER_HOOKS, hooks_of
from service.site import Site
from tests.make import ROOT

RELEASED = ROOT / "models/released"
EXPECTED: dict[str, Any] = json.loads((ROOT / "data-samples/expected.json").read_text("utf-8"))
CASES = [
    (folder.name, name)
    for folder in sorted(RELEASED.iterdir()) if folder.is_dir() and hooks_of(read_manifest(folder))
    for name, row in sorted(EXPECTED.items())
    if name.endswith(".json") and row.get("model") == folder.name.rpartition("-")[0] and row.get("status") == "scored"
]


def test_there_are_cases() -> None:
    assert ("icu_mortality-1.0.0", "stay/high-risk.json") in CASES


@pytest.mark.parametrize(("release", "name"), CASES)
def test_filled_templates_give_the_features_of_the_whole_record(release: str, name: str) -> None:
    model = Model(RELEASED / release)
    hooks = hooks_of(model.manifest)
    whole = json.loads((ROOT / "data-samples" / name).read_text("utf-8"))
    resources = [entry["resource"] for entry in whole["entry"]]
    place = chart_of(resources)
    wanted = templates(model.manifest, in_encounter=any(hook in ENCOUNTER_HOOKS for hook in hooks))
    told = Call.model_validate(call("patient-view", place, fill(wanted, resources, place)))

    sent = gather(told, PatientView.model_validate(told.context), wanted, Site())

    stay = "" if model.manifest.needs_encounter else None
    there, here = (model.prepare(read_bundle(bundle, encounter=stay).record) for bundle in (whole, sent.bundle))
    np.testing.assert_array_equal(there, here)


def test_a_release_is_asked_for_no_facts_it_does_not_count() -> None:
    manifest = Model(RELEASED / "icu_mortality-1.0.0").manifest
    assert not FACTS.keys() & templates(manifest).keys()
    assert {"SysABP", "NISysABP", "HR", "age_years"} <= codes_read(manifest)


def test_a_site_with_codes_of_its_own_is_asked_for_all_observations() -> None:
    manifest = Model(RELEASED / "icu_mortality-1.0.0").manifest
    assert "code=" in templates(manifest)["observations"]
    assert "code=" not in templates(manifest, local_codes=True)["observations"]
