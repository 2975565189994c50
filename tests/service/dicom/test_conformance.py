"""The conformance statement says what the service does: everything is proposed to the receiver and compared."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydicom.sr.codedict import codes
from pydicom.uid import AllTransferSyntaxes, UID_dictionary
from pynetdicom.pdu import A_ASSOCIATE_AC
from pynetdicom.presentation import build_context

from service.dicom import stow, wire
from service.dicom.codes import WORDS
from service.dicom.conformance import REJECTIONS, WRITTEN, statement
from service.dicom.listen import NO_SUCH_APPLICATION, NO_SUCH_CALLED_AE, NO_SUCH_CALLING_AE, NO_SUCH_PROTOCOL, TOO_MANY
from service.dicom.write import WRITERS
from service.settings import Settings
from service.site import Peer, Site, Target
from tests.make_receiver import EXPLICIT, Receiving, read_pdu, receiving, request

CLASSES = [uid for uid, (_, kind, *_) in UID_dictionary.items() if kind in ("SOP Class", "Meta SOP Class")]
TEXT = statement(Settings(), Site())


def rows(heading: str, *, text: str = TEXT) -> list[list[str]]:
    """Return the cells of the first table after a heading."""
    after = text[text.index(heading) :]
    lines = re.search(r"(?:^\|.*\n)+", after, re.MULTILINE)
    assert lines
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[0].splitlines()[2:]]


def accepted_of(us: Receiving, proposed: list[tuple[str, list[str]]]) -> list[tuple[str, list[str]]]:
    """Propose contexts, 128 at a time, and return those that were accepted, as they were proposed."""
    accepted = []
    for at in range(0, len(proposed), 128):
        some = proposed[at : at + 128]
        with us.connect() as connection:
            connection.sendall(request(*some))
            kind, body = read_pdu(connection)
        pdu = A_ASSOCIATE_AC()
        pdu.decode(wire.HEAD.pack(kind, len(body)) + body)
        answered = pdu.to_primitive().presentation_context_definition_results_list
        accepted += [some[one.context_id // 2] for one in answered if one.result == 0]
    return accepted


def test_the_statement_is_what_negotiation_accepts(tmp_path: Path) -> None:
    syntaxes = [str(one) for one in AllTransferSyntaxes]
    with receiving(tmp_path) as us:
        in_some = accepted_of(us, [(uid, syntaxes) for uid in CLASSES])
        accepted = {(uid, one) for uid, (one,) in accepted_of(us, [(uid, [one]) for uid, _ in in_some for one in syntaxes])}
    images = [uid for _, uid, received, _ in rows("### 1.2") if received == "yes"]
    stated = {(uid, syntax) for uid in images for _, syntax in rows("### 7.2")}
    stated |= {("1.2.840.10008.1.1", EXPLICIT), ("1.2.840.10008.1.1", "1.2.840.10008.1.2")}
    assert stated == accepted


def test_of_several_syntaxes_the_first_of_the_statement_is_chosen(tmp_path: Path) -> None:
    syntaxes = [uid for _, uid in rows("### 7.2")]
    with receiving(tmp_path) as us:
        for at in (0, 2, 5):
            contexts = [build_context("1.2.840.10008.5.1.4.1.1.2", syntaxes[at:][::-1])]
            association = us.associate_contexts(contexts)
            assert [syntaxes[at]] == [str(one) for one in association.accepted_contexts[0].transfer_syntax]
            association.release()


def test_every_kind_of_object_a_manifest_may_ask_for_is_stated() -> None:
    assert set(WRITERS) == set(WRITTEN)
    assert set(WRITERS) == {row[0] for row in rows("## Annex A")}
    assert all(UID_dictionary[uid][0] == name for uid, name, _ in WRITTEN.values())


def test_rejections_are_those_the_receiver_gives() -> None:
    given = [NO_SUCH_APPLICATION, NO_SUCH_CALLING_AE, NO_SUCH_CALLED_AE, NO_SUCH_PROTOCOL, TOO_MANY]
    assert given == [tuple(map(int, numbers)) for _, *numbers in REJECTIONS]


def test_the_sections_are_those_of_the_standard() -> None:
    titles = ["Overview", "Table of contents", "Introduction", "Implementation model", "Service and interoperability description",
              "Configuration", "Network and media communication details", "Security"]
    assert titles == re.findall(r"^## \d (.*)$", TEXT, re.MULTILINE)
    assert list("ABCDE") == re.findall(r"^## Annex (.)", TEXT, re.MULTILINE)


def test_the_installation_shows_and_no_secret_does() -> None:
    site = Site(
        peers=[Peer(ae_title="CT1")],
        targets=[Target(name="archive", kind="stow", url="https://pacs.example/dicom-web", token="s3cret")],
    )
    text = statement(Settings(ae_title="AINODE", dicom_port=104, api_token="s3cret"), site)
    values = {name: value for name, _, value in rows("## 6", text=text)}
    assert ("AINODE", "104", "archive (stow)") == (values["AE title"], values["Port"], values["Targets"])
    assert "s3cret" not in text
    assert "1 of 1 targets over TLS" in text


@pytest.mark.parametrize("resource", ["/dicom-web/studies", "/dicom-web/workitems", "/dicom-web/studies/{study}/metadata"])
def test_resources_are_those_of_the_web_server(resource: str) -> None:
    assert f"`{resource}`" in {row[1] for row in rows("### 5.3")}


def test_every_failure_reason_of_stow_is_stated_with_its_words() -> None:
    stated = {word: int(reason, 16) for reason, _, words in rows("#### STOW-RS") for word in words.split(", ")}
    assert stow.REASONS == {word: reason for word, reason in stated.items() if word in stow.REASONS}
    assert f"{stow.NOT_UNDERSTOOD:04X}" in {row[0] for row in rows("#### STOW-RS")}


def test_every_code_of_our_own_is_listed_with_its_meanings() -> None:
    listed = {code: (en, fr) for code, en, fr in rows("## Annex E")}
    assert {name: (said["en"], said["fr"]) for name, said in WORDS["concepts"].items()}.items() <= listed.items()
    assert "out-of-distribution" in listed


def test_codes_of_the_standard_are_quoted_as_the_standard_has_them() -> None:
    quoted = re.findall(r'\((\d+), (DCM|SCT), "([^"]+)"\)', TEXT)
    ours = [codes.DCM.CertaintyOfFinding, codes.DCM.ProcedureReported, codes.DCM.ArtificialIntelligence, codes.DCM.VisualExplanation,
            codes.DCM.ClassActivation, codes.SCT.Volume, codes.CID100.ImagingProcedure]
    assert {(one.value, one.scheme_designator, one.meaning) for one in ours} == set(quoted)
