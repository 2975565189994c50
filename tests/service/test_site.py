"""The site file: what it may hold, and errors that name the place and never the value."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from service.settings import SettingsError
from service.site import Site, read_site

SECRET = "s3cret"


def error_of(tmp_path: Path, text: str) -> str:
    path = tmp_path / "site.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_site(path)
    return str(caught.value)


def test_without_a_file_the_site_is_empty() -> None:
    assert Site() == read_site(None)


def test_the_example_can_be_read() -> None:
    site = read_site(Path(__file__).parents[2] / "data-samples" / "site.toml")

    assert (2, 2, 5) == (len(site.peers), len(site.targets), len(site.rules))


def test_the_example_of_the_ehr_side_can_be_read() -> None:
    site = read_site(Path(__file__).parents[2] / "data-samples" / "site-ehr.toml")

    assert site.fhir_server is not None
    assert ["record"] == [target.name for target in site.targets if target.kind == "fhir"]
    assert (not site.mllp.host, site.xdm.folder) == (True, None)  # nothing goes by these two ways unless it is written


def test_the_example_of_the_page_can_be_read() -> None:
    site = read_site(Path(__file__).parents[2] / "data-samples" / "site-review.toml")

    assert ["psc", "hospital"] == [one.name for one in site.access.providers]
    assert {"radiologist", "clinician", "administrator", "dpo"} == {role for one in site.access.grants for role in one.roles}
    assert "hidden" == site.review.layers
    assert "change me" not in repr(site)


@pytest.mark.parametrize(("text", "expected"), [
    ("[access]\nsesion_hours = 1", "access.sesion_hours: there is no such key; did you mean session_hours?"),
    ("[[access.providers]]\nname = 'a'\nissuer = 'javascript:1'\nclient_id = 'c'", "access.providers.1.issuer:"),
    ("[[access.providers]]\nname = 'a'\nisuer = 'x'", "access.providers.1.isuer: there is no such key; did you mean issuer?"),
    ("[[access.grants]]\nclaim = 'c'\nvalues = ['1']\nroles = ['king']", "access.grants.1.roles.1:"),
    ("[[access.grants]]\nprovider = 'b'\nclaim = 'c'\nvalues = ['1']\nroles = ['dpo']", "a grant names a provider that is none"),
    ("[[access.machines]]\niss = 'x'\njku = 'http://x.org'", "a machine needs jwks, a file, or jku"),
    ("[review]\nviewer_url = 'https://viewer.example.org'", "review.viewer_url:"),
    ("[audit]\nsyslog = 'siem.example.org'", "audit.syslog:"),
])
def test_a_part_of_the_page_says_what_it_lacks(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "site.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=re.escape(expected)):
        read_site(path)


@pytest.mark.parametrize(("text", "expected"), [
    ("[[targets]]\nname = 'record'\nkind = 'fhir'", "a fhir target needs [fhir_server]"),
    ("[fhir_server]\nurl = 'https://user:word@fhir.example.org'", "fhir_server.url:"),
    ("[fhir_server]\nurl = 'https://fhir.example.org/r4?x=1'", "fhir_server.url:"),
    ("[fhir_server]\nurl = 'https://fhir.example.org'\nauth = 'backend'", 'auth = "backend" needs client_id, key and token_url'),
    ("[[cds_clients]]\niss = 'x'", "a CDS client needs jwks, a file, or jku"),
    ("[[cds_clients]]\niss = 'x'\njku = 'http://ehr.example.org/keys'", "a CDS client needs jwks, a file, or jku"),
])
def test_a_part_of_the_ehr_side_says_what_it_lacks(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "site.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=re.escape(expected)):
        read_site(path)


@pytest.mark.parametrize(("text", "expected"), [
    ("devcie = 1", "devcie: there is no such key; did you mean device?"),
    ("[device]\nstatoin = 'x'", "device.statoin: there is no such key; did you mean station?"),
    ("[device]\nuid_root = '1.02'", "device.uid_root:"),
    ("[[rules]]\nprioriy = 'low'", "rule 1: prioriy: there is no such key; did you mean priority?"),
    ("[[rules]]\nname = 'a'\npriority = 'highest'", "rule 1 'a': priority: Input should be 'urgent', 'high', 'medium' or 'low'"),
    ("[[rules]]\nname = 'a'\n[[rules]]\nname = 'b'\nwhen = { vew = 'AP' }",
     "rule 2 'b': when.vew: there is no such key; did you mean view?"),
    ("[[rules]]\nwhen.any = [{ view = 'AP' }, { not = { modalty = 'CT' } }]", "rule 1: when.any.2.not.modalty: there is no such key"),
    ("[[rules]]\nwhen.any = []", "rule 1: when.any: must be a list of conditions"),
    ("[[rules]]\nwhen.modality = []", "rule 1: when.modality: must be a word or a list of words"),
    ("[[rules]]\nwhen.age_years = { mn = 1 }", "rule 1: when.age_years.mn: there is no such key; did you mean min?"),
    ("[[rules]]\nwhen.age_years = { min = 9, max = 1 }", "rule 1: when.age_years: min must not exceed max"),
    ("[[rules]]\nwhen.age_years = '3'", "rule 1: when.age_years: must be a number, or a range"),
    ("[[rules]]\nwhen.contrast = 'no'", "rule 1: when.contrast:"),
    ("[[rules]]\nnever = true\nmodels = ['a']", "rule 1: never and models exclude each other"),
    ("[[rules]]\nmodels = []", "rule 1: models must name at least one model"),
    ("[[rules]]\ntargets = ['pcas']", "rule 1 names target 'pcas', which is none of [[targets]]: there are none"),
    ("[[rules]]\nname = 'a'\n[[rules]]\nname = 'a'", "every rule needs a name of its own"),
    ("[[targets]]\nname = 'a'\nkind = 'dimse'", "target 1 'a': a dimse target needs host"),
    ("[[targets]]\nname = 'a'\nkind = 'stow'\nurl = 'ftp://x'", "target 1 'a': a stow target needs url"),
    ("[[peers]]\nae_title = 'SEVENTEEN-LETTERS'", "peer 1: ae_title:"),
    ("[[peers]]\nae_title = 'A'\naddresses = ['10.0.0.999']", "peer 1: addresses: number 1 must be an address or a network"),
    ("rules = 3", "rules: Input should be a valid list"),
    ("[[rules]]\nx = y", "site must be TOML (https://toml.io); it breaks at line 2, column 5"),
])
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in error_of(tmp_path, text)


@pytest.mark.parametrize("text", [
    f"[[targets]]\nname = 'a'\nkind = 'stow'\nurl = '{SECRET}'",
    f"[[targets]]\nname = 'a'\nkind = 'stow'\nurl = 'http://x'\ntoken = 'x'\ntimeout_s = '{SECRET}'",
    f"[[targets]]\nname = 'a'\nkind = 'stow'\ntoken = '{SECRET}",
    f"[[peers]]\nae_title = 'A'\naddresses = ['{SECRET}']",
])
def test_a_value_is_never_repeated(tmp_path: Path, text: str) -> None:
    assert SECRET not in error_of(tmp_path, text)


def test_a_file_that_is_not_there_or_not_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="readable TOML file: No such file"):
        read_site(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="readable TOML file: it is not UTF-8"):
        read_site(tmp_path / "bytes.toml")


def test_tokens_are_masked_where_the_site_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(f"[[targets]]\nname = 'a'\nkind = 'stow'\nurl = 'http://x'\ntoken = '{SECRET}'")

    assert SECRET not in repr(read_site(path))


def test_the_blocks_of_the_readme_are_a_site_file_that_can_be_read(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    blocks = [textwrap.dedent(block) for block in re.findall(r"(?:^    .*\n|^\n)+", readme, re.MULTILINE)
              if "    [[" in block]
    assert len(blocks) >= 2
    place = tmp_path / "site.toml"
    place.write_text("\n".join(blocks), encoding="utf-8")
    site = read_site(place)
    assert (site.peers[0].ae_title, site.targets[0].name, len(site.rules)) == ("PACS", "pacs", 3)
