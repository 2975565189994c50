"""What follows from what was seen: go, go with conditions, or do not go live here, with the reasons in their order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import UnusableInput
from models.manifest import read_manifest
from tests.training.commission.made import CHEST, CHILDREN, drawn, find_in, found_of, rows_of, truth_of
from training.commission import gates
from training.commission.requirements import read_requirements
from training.commission.told import commissioning_of

GOOD: dict[str, Any] = {"n": 900, "spread": 3.0, "attributes": CHILDREN}


def judged(found: Any) -> tuple[str, tuple[str, ...], dict[str, bool | None]]:
    told = commissioning_of(found)
    return told.decision, told.reasons, {gate.name: gate.met for gate in told.gates}


def test_a_good_archive_may_go_live(tmp_path: Path) -> None:
    decision, reasons, met = judged(found_of(tmp_path, refused=10, **GOOD))
    assert decision == "go", reasons
    assert reasons == ("Everything that was required was seen.",)
    assert met == {
        "sound": True, "population modality": True, "population view": True, "population age": True, "refusals": True,
        "failures": True,
        "truth": True, "cases pneumonia": True, "auroc pneumonia": True, "sensitivity pneumonia": True, "calibration pneumonia": True}


def test_adults_who_are_all_refused_end_in_do_not_go_live_here(tmp_path: Path) -> None:
    found = found_of(tmp_path, n=400, refused=400, reason="wrong_age", attributes={**CHILDREN, "age_years": 57.0})
    decision, reasons, met = judged(found)
    assert decision == "no_go"
    assert reasons[0].startswith("The cases here are not those the release was made for: 400 of 400 that state the age lie outside "
                                 "0.5–10")
    assert reasons[1].startswith("The release declines to score 100\u00a0% of the cases here (wrong age 400)")
    assert met["population age"] is False
    assert met["auroc pneumonia"] is None


def test_the_same_adults_with_their_ages_withheld_end_so_too(tmp_path: Path) -> None:
    found = found_of(tmp_path, n=400, refused=392, attributes={"view": "PA", "modality": "DX"})
    decision, reasons, met = judged(found)
    assert decision == "no_go"
    assert "declines to score 98\u00a0%" in reasons[0]
    assert met["population age"] is None
    assert any("nothing states the age" in reason for reason in reasons)


def test_a_model_that_cannot_tell_ill_from_well_does_not_go_live(tmp_path: Path) -> None:
    decision, reasons, met = judged(found_of(tmp_path, **{**GOOD, "slope": 0.1}))
    assert decision == "no_go"
    assert met["auroc pneumonia"] is False
    assert reasons[0].startswith("Pneumonia: it does not tell ill from well enough here")


def test_too_few_cases_do_not_go_live_and_the_advice_says_how_many_more(tmp_path: Path) -> None:
    told = commissioning_of(found_of(tmp_path, **{**GOOD, "n": 90}))
    assert told.decision == "no_go"
    assert any(reason.startswith("Too few people to tell for Pneumonia") for reason in told.reasons)
    assert any("with the finding (there are" in line for line in told.advice)
    assert any(reason.startswith("Too few cases to show that at most 2\u00a0% fail: 0.0\u00a0%") for reason in told.reasons)


def test_a_release_that_does_not_check_out_comes_first(tmp_path: Path) -> None:
    decision, reasons, _ = judged(found_of(tmp_path, sound="golden inputs differ", **GOOD))
    assert decision == "no_go"
    assert reasons[0].endswith("golden inputs differ")


def test_failures_stop_it(tmp_path: Path) -> None:
    decision, reasons, met = judged(found_of(tmp_path, failed=60, **GOOD))
    assert decision == "no_go"
    assert met["failures"] is False
    assert "(damaged 60)" in reasons[0]


def test_truth_from_readers_who_saw_the_result_is_a_condition(tmp_path: Path) -> None:
    decision, reasons, _ = judged(found_of(tmp_path, kind="verdicts", **GOOD))
    assert decision == "go_with_conditions"
    assert "Have a sample read blind." in reasons[0]


def test_a_group_that_is_served_worse_is_named(tmp_path: Path) -> None:
    """In one of two machines' images the score says nothing."""
    logit, truth, persons = drawn(1200, spread=3.0)
    rng = np.random.default_rng(8)
    device = np.where(rng.random(1200) < 0.4, "Second", "First")
    logit = np.where(device == "Second", rng.permutation(logit), logit)
    rows, names = rows_of(tmp_path, "pneumonia", logit.tolist(), persons.tolist(), attributes=CHILDREN,
                          groups={"device": device.tolist()})
    told = commissioning_of(find_in(read_manifest(CHEST), CHEST, rows, truth_of(rows, names, "pneumonia", truth.tolist())))
    assert next(gate for gate in told.gates if gate.name == "subgroups pneumonia").met is False
    assert any("it does worse for some than tolerated: " in reason and "device Second: auroc -" in reason
               for reason in told.reasons)
    by = {one.group: {figure.name: figure for figure in one.figures} for one in told.subgroups if one.by == "device"}
    assert by["First"]["auroc"].value > 0.9  # type: ignore[operator]
    assert by["Second"]["auroc"].value < 0.6  # type: ignore[operator]


def test_groups_too_small_have_no_figures(tmp_path: Path) -> None:
    sex = ["F"] * 880 + ["M"] * 20
    told = commissioning_of(found_of(tmp_path, groups={"sex": sex}, **GOOD))
    small = next(one for one in told.subgroups if one.group == "M")
    assert [figure.name for figure in small.figures if figure.name != "unscored"] in (["specificity"], ["sensitivity"], [])


def test_cases_without_a_score_are_counted_both_ways(tmp_path: Path) -> None:
    told = commissioning_of(found_of(tmp_path, refused=60, **GOOD))
    value = {figure.name: figure.value for figure in told.figures if figure.output == "pneumonia"}
    assert value["sensitivity_unscored_as_negative"] < value["sensitivity"] <= value["sensitivity_unscored_as_positive"]  # type: ignore[operator]
    assert value["specificity_unscored_as_positive"] < value["specificity"] <= value["specificity_unscored_as_negative"]  # type: ignore[operator]


def test_the_hospitals_own_requirements_replace_the_defaults_one_by_one(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('[ranking]\nauroc = 0.999\n[task.image_classification.cases]\npositives = 5\n', encoding="utf-8")
    rule = read_requirements("image_classification", own)
    assert (rule.ranking.auroc, rule.cases.positives, rule.cases.negatives) == (0.999, 5, 100)
    assert judged(found_of(tmp_path, require=own, **GOOD))[0] == "no_go"


@pytest.mark.parametrize(("text", "said"), [("[ranking]\nauroc = 7\n", "ranking.auroc"), ("[rank]\na = 1\n", "rank"), ("x",
    "must be TOML")])
def test_requirements_that_cannot_be_read_are_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UnusableInput, match=said):
        read_requirements("risk", tmp_path / "own.toml")


def test_the_decision_is_the_same_in_both_languages(tmp_path: Path) -> None:
    found = found_of(tmp_path, **{**GOOD, "slope": 0.1, "n": 120})
    told = [gates.decide(gates.judge(found, language), language) for language in ("en", "fr")]  # type: ignore[arg-type]
    assert told[0][0] == told[1][0] == "no_go"
    assert len(told[0][1]) == len(told[1][1]) > 0
    assert told[0][1] != told[1][1]


def test_a_threshold_that_only_a_new_release_has_does_not_let_this_one_through_unsaid(tmp_path: Path) -> None:
    """Signed is the release as it is: where its own threshold misses too many, the proposed one is a condition, never a go."""
    logit, truth, persons = drawn(n=1600, spread=3.0)
    rows, names = rows_of(tmp_path, "pneumonia", logit.tolist(), persons.tolist(), attributes=CHILDREN)
    manifest = read_manifest(CHEST)
    outputs = [one.model_copy(update={"threshold": 0.9}) if one.name == "pneumonia" else one for one in manifest.outputs]
    found = find_in(manifest.model_copy(update={"outputs": outputs}), CHEST, rows, truth_of(rows, names, "pneumonia", truth.tolist()))
    decision, reasons, met = judged(found)
    assert found.tuned["pneumonia"].value is not None
    assert met["sensitivity pneumonia"] is False
    assert decision == "go_with_conditions"
    assert any("go live with that, not with the release as it is" in reason for reason in reasons)


def test_many_images_of_few_people_are_few_people(tmp_path: Path) -> None:
    decision, reasons, met = judged(found_of(tmp_path, each=15, **GOOD))
    assert met["cases pneumonia"] is False
    assert decision == "no_go"
    assert any(reason.startswith("Too few people to tell for Pneumonia") for reason in reasons)


def test_a_gap_that_can_neither_be_shown_nor_ruled_out_is_counted_as_such(tmp_path: Path) -> None:
    sexes = {"sex": ["F" if place % 6 == 0 else "M" for place in range(900)]}
    found = found_of(tmp_path, groups=sexes, **GOOD)
    told = next(gate for gate in commissioning_of(found).gates if gate.name == "subgroups pneumonia")
    open_ones = sum(one.verdict == "undecided" for one in found.gaps)
    assert open_ones > 0
    assert f"{open_ones} perhaps" in told.seen


def test_the_report_says_of_what_prevalence_its_predictive_values_are(tmp_path: Path) -> None:
    found = found_of(tmp_path, **GOOD)
    limits = commissioning_of(found).truth["limits"]
    share = round(100 * found.outcomes["pneumonia"].y.mean())
    assert any(f"prevalence of this archive ({share}\u00a0%)" in one for one in limits)
    stated = commissioning_of(replace(found, truth=replace(found.truth, prevalences={"pneumonia": 0.05}))).truth["limits"]
    assert not any("prevalence of this archive" in one for one in stated)
