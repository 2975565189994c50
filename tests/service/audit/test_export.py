"""Lines on their way out: valid FHIR, valid DICOM audit messages, syslog frames that parse, tables that run nothing."""

from __future__ import annotations

import csv
import io
import json
import re
from base64 import b64decode
from pathlib import Path

from lxml import etree

from service.audit.export import FORMATS, as_csv
from service.audit.write_event import write_event
from service.audit.write_message import write_message, write_syslog
from service.fhir.judge import judge
from service.store.audit import Line
from tests.service.audit.audit_house import KEY
from tests.service.audit.made_lines import UID, every_line

LINES = every_line()
SCHEMA = etree.RelaxNG(etree.parse(Path(__file__).with_name("audit_message.rng")))
# RFC 5424, 6: a header, no structured data, a message in UTF-8 that says so
SYSLOG = re.compile(
    rb"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) - "
    rb"\xef\xbb\xbf(.+)", re.S)


def test_every_line_is_a_valid_audit_event() -> None:
    faults = {(line.action, line.kind): found for line in LINES if (found := judge(write_event(line, "ICU AI")))}
    assert {} == faults


def test_event_says_who_what_when_and_of_whom() -> None:
    line = next(one for one in LINES if one.action == "verdict" and one.item == KEY and one.kind == "risk")
    event = write_event(line, "ICU AI")
    user, server = event["agent"]
    assert (line.actor, line.actor_name, True) == (user["who"]["identifier"]["value"], user["name"], user["requestor"])
    assert ("ICU AI", "U") == (server["who"]["display"], event["action"])
    assert event["recorded"].endswith("+00:00")
    assert list(line.persons) == [one["what"]["identifier"]["value"] for one in event["entity"] if one["type"]["code"] == "1"]
    assert f"urn:diaphane:risk:{KEY}" in json.dumps(event)
    assert {"10.1.2.3"} == {one["network"]["address"] for one in event["agent"] if "network" in one}


def test_every_line_is_a_valid_audit_message() -> None:
    for line in LINES:
        document = etree.fromstring(write_message(line, "ICU AI"))
        assert SCHEMA.validate(document), (line, SCHEMA.error_log)
        assert str(line.id) == document.xpath("//@ParticipantObjectID")[-1].rpartition(":")[2]
        assert line.hash in [b64decode(one).decode() for one in document.xpath("//ParticipantObjectDetail[@type='hash']/@value")]


def test_schema_sees_what_is_wrong() -> None:
    good = write_message(LINES[0], "x")
    for right, wrong in ((b'EventActionCode="', b'EventActionCode="X'), (b"<EventID ", b"<EventId "), (b'csd-code="', b'code="'),
                         (b"ParticipantObjectName>", b"ParticipantObjectNom>")):
        assert right in good
        assert not SCHEMA.validate(etree.fromstring(good.replace(right, wrong))), right


def test_study_is_named_by_its_uid_and_code() -> None:
    line = next(one for one in LINES if one.action == "view" and one.item == UID)
    document = etree.fromstring(write_message(line, "x"))
    (thing,) = document.xpath("//ParticipantObjectIdentification[ParticipantObjectIDTypeCode/@csd-code='110180']")
    assert (UID, "110103") == (thing.get("ParticipantObjectID"), document.xpath("//EventID/@csd-code")[0])


def test_every_syslog_message_has_the_form_of_rfc_5424() -> None:
    for line in LINES:
        found = SYSLOG.fullmatch(write_syslog(line, "x", host="hôte 1", process=7))
        assert found, line
        assert ("85" if line.outcome == "success" else "84") == found[1].decode()
        assert (b"hte1", b"diaphane", b"7", b"DICOM+RFC3881") == found.group(3, 4, 5, 6)
        assert SCHEMA.validate(etree.fromstring(found[7]))


def test_formats_hold_every_line() -> None:
    ndjson = "".join(FORMATS["ndjson"](LINES, "x")).splitlines()
    bundle = json.loads("".join(FORMATS["bundle"](LINES, "x")))
    assert [json.loads(one) for one in ndjson] == [entry["resource"] for entry in bundle["entry"]]
    assert len(LINES) == len(ndjson) == len("".join(FORMATS["dicom"](LINES, "x")).splitlines())
    assert [] == judge(bundle)


def test_table_runs_nothing_in_a_spreadsheet() -> None:
    names = ("=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "a,\"b\"\n=1")
    hostile = [Line(**{**vars(LINES[0]), "actor_name": name}) for name in names]
    rows = list(csv.reader(io.StringIO("".join(as_csv(hostile, "")).removeprefix("\ufeff"))))
    assert ["line", "time", "actor", "name"] == rows[0][:4]
    assert ["'=cmd|' /C calc'!A0", "'+1", "'-1", "'@SUM(A1)", "a,\"b\"\n=1"] == [row[3] for row in rows[1:]]
