"""Routing: what rules mean, what the facts of a case are, and why a model takes a case or does not."""

from __future__ import annotations

import io
import json
import random
import tomllib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from rich.console import Console

from models.read_dicom import header_of, read_dicom
from models.session import SessionOptions
from models.shelf import RELEASED, Shelf
from service.facts import Facts, facts_of, fold, orientation_of
from service.route_cli import route_files
from service.routing import SITE_RULE, check_rules, explain, route
from service.rules import Condition, Rule, decide, weigh
from service.settings import Settings
from service.site import Site, read_site
from tests.make import dicom_bytes, mr_series, radiograph_dataset
from tests.make_release import tiny_release

EXAMPLE = Path(__file__).parents[2] / "data-samples" / "site.toml"


def site(text: str) -> Site:
    return Site.model_validate(tomllib.loads(text))


def met(condition: dict[str, Any], facts: Facts) -> bool | None:
    return weigh(Condition.model_validate(condition), facts)[0]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    folder = tmp_path_factory.mktemp("released")
    tiny_release(folder, "image_classification", accepts={"modalities": ["DX"], "views": ["AP", "PA"]})
    tiny_release(folder, "volume_segmentation", accepts={"modalities": ["MR"], "slices": {"low": 8, "high": 40}})
    return Shelf(folder, SessionOptions(provider="cpu", precision="fp32", threads=1))


CHILD = facts_of([radiograph_dataset(
    StationName="CR-2", InstitutionName="Hôpital Général", SeriesDescription="THORAX AU LIT", ImageType=["ORIGINAL", "PRIMARY"],
)], calling_ae="ERCR1")
HEAD = facts_of(mr_series(spacing_mm=(1.5, 0.9, 0.8), orientation=(1, 0, 0, 0, 0, -1)), calling_ae="MR1")


# What is asked -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("expected", "condition"), [
    (True, {}),
    (True, {"modality": "DX"}),
    (True, {"modality": ["cr", "dx"]}),
    (False, {"modality": "D"}),  # a code is compared whole
    (True, {"modality": "D?"}),
    (True, {"calling_ae": "ER*"}),
    (False, {"calling_ae": "ER"}),
    (True, {"institution": "hopital"}),  # free text: contains, without accents and case
    (True, {"series_description": "au  LIT"}),
    (False, {"series_description": "au lit*"}),  # a pattern is of the whole
    (True, {"series_description": "*au lit"}),
    (True, {"image_type": "PRIMARY"}),
    (False, {"image_type": "DERIVED"}),
    (True, {"age_years": 3}),
    (True, {"age_years": {"max": 3}}),
    (False, {"age_years": {"min": 3.01}}),
    (True, {"rows": {"min": 256, "max": 256}, "columns": 256, "slices": 1}),
    (True, {"contrast": False}),
    (False, {"modality": "DX", "age_years": {"min": 18}}),
    (None, {"department": "pediatrics"}),
    (None, {"modality": "DX", "department": "pediatrics"}),
    (False, {"modality": "CT", "department": "pediatrics"}),  # false wins over unknown
    (True, {"any": [{"department": "pediatrics"}, {"modality": "DX"}]}),
    (None, {"any": [{"department": "pediatrics"}, {"modality": "CT"}]}),
    (True, {"all": [{"modality": "DX"}, {"view": "AP"}]}),
    (False, {"all": [{"modality": "DX"}, {"view": "PA"}]}),
    (False, {"not": {"modality": "DX"}}),
    (True, {"not": {"modality": "CT"}}),
    (None, {"not": {"department": "pediatrics"}}),
    (True, {"department": "pediatrics", "or_unknown": True}),
    (False, {"modality": "CT", "department": "pediatrics", "or_unknown": True}),
    (True, {"not": {"department": "pediatrics"}, "or_unknown": True}),
    (False, {"not": {"department": "pediatrics", "or_unknown": True}}),
])
def test_a_condition_means_what_it_says(expected: bool | None, condition: dict[str, Any]) -> None:
    assert expected is met(condition, CHILD)


@pytest.mark.parametrize(("expected", "condition"), [
    (True, {"orientation": "coronal", "slices": 12, "slice_thickness_mm": 1.5}),
    (True, {"spacing_mm": {"min": 0.8, "max": 0.9}}),
    (False, {"spacing_mm": {"max": 0.85}}),  # both must lie in the range
    (False, {"orientation": ["axial", "sagittal", "oblique"]}),
    (None, {"view": "AP"}),
])
def test_a_condition_holds_for_the_whole_series(expected: bool | None, condition: dict[str, Any]) -> None:
    assert expected is met(condition, HEAD)


@given(st.sampled_from([True, False, None]), st.sampled_from([True, False, None]))
def test_unknown_follows_the_tables_of_kleene(a: bool | None, b: bool | None) -> None:
    def one(name: str, truth: bool | None) -> dict[str, Any]:
        return {name: "yes" if truth else "no"}

    stated = {name: ("yes",) for name, truth in (("modality", a), ("view", b)) if truth is not None}
    facts = Facts(stated)
    both = [one("modality", a), one("view", b)]

    assert (False if False in (a, b) else None if None in (a, b) else True) is met({"all": both}, facts)
    assert (True if True in (a, b) else None if None in (a, b) else False) is met({"any": both}, facts)
    assert (None if a is None else not a) is met({"not": both[0]}, facts)


def test_a_reason_never_repeats_free_text_names_or_ages_of_the_image() -> None:
    facts = facts_of([radiograph_dataset(SeriesDescription="CANARI series", InstitutionName="CANARI clinic",
                                         StationName="CANARI", BodyPartExamined="CANARI", ViewPosition="CANARI^JEAN")],
                     calling_ae="CANARI")
    asked = dict.fromkeys(("series_description", "institution", "station", "body_part", "view", "calling_ae"), "x")
    _, why = weigh(Condition.model_validate({**asked, "age_years": {"min": 90}}), facts)

    assert "canari" not in why.lower()
    assert "3" not in why


def test_brackets_in_a_pattern_stand_for_themselves() -> None:
    facts = facts_of([radiograph_dataset(SeriesDescription="T1 [C] post")])

    assert met({"series_description": "*[c]*"}, facts)
    assert not met({"series_description": "*[d]*"}, facts)


# What is stated ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("degrees", "expected"), [(0, "axial"), (29, "axial"), (31, "oblique"), (59, "oblique"), (61, "coronal")])
def test_a_plane_is_named_within_thirty_degrees(degrees: float, expected: str) -> None:
    angle = np.radians(degrees)
    assert expected == orientation_of((1, 0, 0, 0, float(np.cos(angle)), float(-np.sin(angle))))


@pytest.mark.parametrize("cosines", [(), (1, 0, 0), (1, 0, 0, 1, 0, 0), (0, 0, 0, 0, 0, 0)])
def test_directions_that_make_no_plane_are_not_stated(cosines: tuple[float, ...]) -> None:
    assert orientation_of(cosines) is None


def test_an_enhanced_object_states_its_plane_spacing_and_frames() -> None:
    dataset = radiograph_dataset(Modality="MR", NumberOfFrames=5)
    measures, plane, shared, frame = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.6], 2.0
    plane.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    shared.PixelMeasuresSequence, frame.PlaneOrientationSequence = [measures], [plane]
    dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = [shared], [frame]
    facts = facts_of([dataset])

    assert ("sagittal",) == facts.words["orientation"]
    assert ((0.5, 0.6), (2.0,), (5.0,)) == tuple(facts.numbers[one] for one in ("spacing_mm", "slice_thickness_mm", "slices"))


@pytest.mark.parametrize(("agent", "expected"), [("GADOTERATE", True), ("NONE", False), ("", None), (None, False)])
def test_contrast_is_known_from_the_agent_and_an_empty_one_says_nothing(agent: str | None, expected: bool | None) -> None:
    assert expected is facts_of(mr_series(ContrastBolusAgent=agent)).contrast


def test_the_number_of_slices_is_unknown_while_more_may_come() -> None:
    assert met({"slices": {"min": 1}}, facts_of(mr_series(), complete=False)) is None


def test_damaged_attributes_count_as_not_stated() -> None:
    dataset = radiograph_dataset(PatientAge="abc")
    dataset.add_new("ImageOrientationPatient", "LO", ["x", "y"])
    dataset.add_new("AnatomicRegionSequence", "LO", "no sequence")
    dataset.BodyPartExamined = ""
    facts = facts_of([dataset])

    assert () == facts.words["orientation"] == facts.words["body_part"]
    assert () == facts.numbers["age_years"]
    assert (("dx",), ("ap",), ("f",)) == tuple(facts.words[one] for one in ("modality", "view", "sex"))


def test_no_damage_to_a_header_breaks_the_facts_or_the_rules() -> None:
    rng, rules = random.Random(3), read_site(EXAMPLE).rules
    whole = [dicom_bytes(mr_series()[0])[:1200], dicom_bytes(radiograph_dataset(AnatomicRegionSequence=[Dataset()]))[:1200]]
    parsed = 0
    for _ in range(400):
        data = bytearray(rng.choice(whole))
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(140, len(data))] = rng.randrange(256)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                dataset = pydicom.dcmread(io.BytesIO(data))
            except Exception:  # damaged beyond parsing: refused before it is stored
                continue
            decide(facts_of([dataset]), rules)
            parsed += 1

    assert parsed > 100


def test_the_requesting_service_is_found_in_the_request_too() -> None:
    request = Dataset()
    request.RequestingService = "Pédiatrie"

    assert ("pediatrie",) == facts_of([radiograph_dataset(RequestAttributesSequence=[request])]).words["requesting_service"]


def test_facts_hold_nothing_that_identifies() -> None:
    dataset = radiograph_dataset(PatientName="ZZCANARY^A", PatientID="ZZCANARY", AccessionNumber="ZZCANARY")

    assert "zzcanary" not in str(facts_of([dataset])).lower()
    assert str(dataset.StudyInstanceUID) not in str(facts_of([dataset]))


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(text) == fold(fold(text))


# What is decided -----------------------------------------------------------------------------------------------------

def test_the_first_rule_that_is_met_ends_the_reading() -> None:
    rules = site("""
        [[rules]]
        when.modality = "CT"
        priority = "low"
        [[rules]]
        when.modality = "DX"
        priority = "high"
        [[rules]]
        priority = "urgent"
    """).rules
    decision = decide(CHILD, rules)

    assert 1 == decision.priority
    assert [("rule 1", False), ("rule 2", True)] == [(tried.rule, tried.met) for tried in decision.trace]


def test_a_rule_that_continues_lets_those_below_decide_what_it_left_open() -> None:
    rules = site("""
        [[rules]]
        name = "first"
        priority = "urgent"
        continue = true
        [[rules]]
        name = "second"
        models = ["chest"]
        priority = "low"
    """).rules
    decision = decide(CHILD, rules)

    assert (2, ("chest",)) == (decision.priority, decision.models)
    assert ("first", "second") == (decision.said_by("priority"), decision.said_by("models"))


def test_who_may_take_it_is_decided_once_whichever_way_it_is_said() -> None:
    named = [Rule.model_validate({"models": ["chest"], "continue": True}), Rule(never=True)]
    never = [Rule.model_validate({"never": True, "continue": True}), Rule(models=("chest",))]

    assert (("chest",), False) == (decide(CHILD, named).models, decide(CHILD, named).never)
    assert (None, True) == (decide(CHILD, never).models, decide(CHILD, never).never)


def test_a_rule_is_not_met_by_what_is_not_stated() -> None:
    rules = [Rule.model_validate({"when": {"not": {"department": "research"}}, "never": True})]

    assert not decide(CHILD, rules).never


def test_never_sends_nothing_unless_it_says_so() -> None:
    assert False is decide(CHILD, [Rule(never=True)]).report_unfit
    assert True is decide(CHILD, [Rule(never=True, report_unfit=True)]).report_unfit


# What is routed ------------------------------------------------------------------------------------------------------

def test_without_rules_the_manifests_decide_and_results_go_everywhere(shelf: Shelf) -> None:
    everywhere = site('[[targets]]\nname = "a"\nkind = "stow"\nurl = "http://a"\n[[targets]]\nname = "b"\nkind = "dimse"\nhost = "b"')
    found = route(CHILD, header_of(radiograph_dataset()), shelf, everywhere)

    assert (("tiny_chest-1.0.0",), ("a", "b"), None, True) == (found.takers, found.targets, found.priority, found.report_unfit)
    assert ["wrong_modality"] == [choice.reason for choice in found.models if not choice.takes]


def test_a_rule_narrows_but_never_widens(shelf: Shelf) -> None:
    header = header_of(radiograph_dataset())
    narrowed = route(CHILD, header, shelf, Site(rules=[Rule(name="heads", models=("tiny_volume",))]))

    assert () == narrowed.takers
    assert [("tiny_chest-1.0.0", SITE_RULE), ("tiny_volume-1.0.0", "wrong_modality")] == [
        (one.model, one.reason) for one in narrowed.models
    ]
    assert "heads" in next(one.message for one in narrowed.models if one.reason == SITE_RULE)


def test_a_rule_may_name_a_release_or_a_model(shelf: Shelf) -> None:
    header = header_of(radiograph_dataset())
    for name in ("tiny_chest", "tiny_chest-1.0.0"):
        assert ("tiny_chest-1.0.0",) == route(CHILD, header, shelf, Site(rules=[Rule(models=(name,))])).takers


def test_the_grid_is_judged_once_the_volume_is_read(shelf: Shelf) -> None:
    short = mr_series()[:5]
    volume = read_dicom([dicom_bytes(one) for one in short])

    assert ("tiny_volume-1.0.0",) == route(facts_of(short), volume.header, shelf, Site()).takers
    judged = route(facts_of(short), volume.header, shelf, Site(), volume=volume)
    assert ((), "wrong_geometry") == (judged.takers, next(c.reason for c in judged.models if c.model == "tiny_volume-1.0.0"))


def test_an_explanation_says_for_every_model_and_rule_why(shelf: Shelf) -> None:
    rules = Site(rules=[Rule.model_validate({"name": "films", "when": {"modality": "CT"}, "never": True})])
    text = explain(route(CHILD, header_of(radiograph_dataset()), shelf, rules))

    assert "tiny_chest-1.0.0 takes it." in text
    assert "tiny_volume-1.0.0 does not: This model takes Modality MR, found DX." in text
    assert "Rule 'films' is not met: modality is not CT but DX." in text


def test_rules_that_name_no_model_of_the_shelf_or_are_never_reached_are_found(shelf: Shelf) -> None:
    rules = Site(rules=[Rule(name="a", models=("tiny_chets",)), Rule(name="b", priority="low")])

    assert [
        "Rule 'a' names model 'tiny_chets', which is not on the shelf. Did you mean 'tiny_chest'?",
        "Rule 'b' is never reached: 'a' above it is met by everything and does not continue. Move it up.",
    ] == check_rules(rules, shelf)


# What is printed -----------------------------------------------------------------------------------------------------

def printed(tmp_path: Path, shelf: Shelf, paths: list[Path], **told: Any) -> tuple[int, str]:
    console = Console(record=True, width=150, file=(tmp_path / "out").open("w"))
    code = route_files(paths, Settings(released=shelf.folder), told.pop("site", Site()), console=console, **told)
    console.file.close()
    return code, console.export_text()


def test_the_command_says_of_each_case_who_takes_it_and_names_nobody(tmp_path: Path, shelf: Shelf) -> None:
    (tmp_path / "in").mkdir()
    for place, one in enumerate([radiograph_dataset(), *mr_series()]):
        (tmp_path / "in" / f"{place}.dcm").write_bytes(dicom_bytes(one))
    (tmp_path / "in" / "note.txt").write_text("not an image")
    code, text = printed(tmp_path, shelf, [tmp_path / "in"])

    assert 0 == code
    assert "case 1 of 2: DX, 1 image" in text
    assert "case 2 of 2: MR, 12 images" in text
    assert 2 == text.count("│ yes")
    assert "CANARI" not in text


def test_the_command_answers_in_json_with_the_title_it_was_told(tmp_path: Path, shelf: Shelf) -> None:
    (tmp_path / "film.dcm").write_bytes(dicom_bytes(radiograph_dataset()))
    rules = site('[[rules]]\nname = "er"\nwhen.calling_ae = "ER*"\npriority = "urgent"\n')
    code, text = printed(tmp_path, shelf, [tmp_path / "film.dcm"], as_json=True, calling_ae="ERCR1", site=rules)
    told = json.loads(text)

    assert (0, "urgent", "er", True) == (code, told[0]["priority"], told[0]["rules"][0]["rule"], told[0]["rules"][0]["met"])


def test_a_file_that_cannot_be_read_is_told_and_the_others_are_routed(
    tmp_path: Path, shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    whole = dicom_bytes(radiograph_dataset())
    (tmp_path / "in" / "a.dcm").write_bytes(whole)
    (tmp_path / "in" / "b.dcm").write_bytes(whole[:-100])
    code, text = printed(tmp_path, shelf, [tmp_path / "in"])

    assert 1 == code
    assert "case 1 of 1: DX" in text
    assert "A file would be refused:" in capsys.readouterr().err


def test_nothing_to_route_is_an_error(tmp_path: Path, shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    assert 1 == printed(tmp_path, shelf, [tmp_path])[0]
    assert "at least one DICOM file" in capsys.readouterr().err


def test_checking_the_rules_needs_no_file_and_says_what_is_wrong(tmp_path: Path, shelf: Shelf) -> None:
    code, text = printed(tmp_path, shelf, [], check_rules=True, site=Site(rules=[Rule(name="a", models=("tiny_chets",))]))
    assert (1, True) == (code, "Rule 'a' names model 'tiny_chets'" in text)
    code, text = printed(tmp_path, shelf, [], check_rules=True)
    assert (0, "Sound: 0 rules, 0 targets, 0 peers.") == (code, text.strip())


def test_the_rules_of_the_example_site_name_released_models() -> None:
    released = {path.name.rsplit("-", 1)[0] for path in RELEASED.iterdir() if path.is_dir()}
    example = read_site(EXAMPLE)

    assert set() == {name for rule in example.rules for name in rule.models or ()} - released
