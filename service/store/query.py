"""Queries: what QIDO-RS and WADO-RS ask of the rows (PS3.18, 10.6). Only current contents are shown.

Matching is PS3.4 C.2.2.2: single value, list of UIDs, wild cards, ranges of dates; names without regard to case.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.store.store import Store
from service.store.tables import Instance, Series, Study

STUDY_KEYS: dict[str, InstrumentedAttribute[str]] = {
    "StudyInstanceUID": Study.uid, "PatientID": Study.patient_id, "PatientName": Study.patient_name,
    "StudyDate": Study.study_date, "AccessionNumber": Study.accession_number,
}
SERIES_KEYS: dict[str, InstrumentedAttribute[str]] = {"SeriesInstanceUID": Series.uid, "Modality": Series.modality}
INSTANCE_KEYS: dict[str, InstrumentedAttribute[str]] = {"SOPInstanceUID": Instance.sop_uid, "SOPClassUID": Instance.sop_class_uid}
KEYS = frozenset({*STUDY_KEYS, *SERIES_KEYS, *INSTANCE_KEYS, "ModalitiesInStudy"})
_UIDS = {"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"}
_ESCAPE = "!"

Attributes = dict[str, Any]


def find_studies(store: Store, match: Mapping[str, str] | None = None, *, limit: int = 100, offset: int = 0) -> list[Attributes]:
    """Return studies as DICOM JSON, the newest first, with their modalities and numbers of series and instances.

    ``match`` is by keyword, those of KEYS; others raise KeyError.
    """
    _check(match)
    inside = exists().where(
        Instance.current, Instance.study_uid == Study.uid, Series.study_uid == Study.uid, Series.uid == Instance.series_uid,
        *_of(SERIES_KEYS | INSTANCE_KEYS | {"ModalitiesInStudy": Series.modality}, match),
    )
    wanted = select(Study).where(inside, *_of(STUDY_KEYS, match))
    with store.reading() as session:
        studies = session.scalars(wanted.order_by(Study.received_at.desc(), Study.uid).limit(limit).offset(offset)).all()
        held = _counts(session, [study.uid for study in studies])
    return [study.attributes | held[study.uid] for study in studies if study.uid in held]


def find_series(store: Store, match: Mapping[str, str] | None = None, *, limit: int = 100, offset: int = 0) -> list[Attributes]:
    """Return series as DICOM JSON with the attributes of their study and their number of instances."""
    _check(match)
    counted = (
        select(Instance.study_uid, Instance.series_uid, func.count().label("instances"))
        .where(Instance.current, *_of(INSTANCE_KEYS, match)).group_by(Instance.study_uid, Instance.series_uid).subquery()
    )  # fmt: skip
    wanted = select(Study.attributes, Series.attributes, counted.c.instances).join(Series, Series.study_uid == Study.uid)
    wanted = wanted.join(counted, and_(counted.c.study_uid == Series.study_uid, counted.c.series_uid == Series.uid))
    wanted = wanted.where(*_of(STUDY_KEYS | SERIES_KEYS | {"ModalitiesInStudy": Series.modality}, match))
    with store.reading() as session:
        rows = session.execute(wanted.order_by(Study.received_at.desc(), Study.uid, Series.uid).limit(limit).offset(offset))
        return [study | series | {"00201209": _is(number)} for study, series, number in rows]


def find_instances(store: Store, match: Mapping[str, str] | None = None, *, limit: int = 100, offset: int = 0) -> list[Attributes]:
    """Return instances as DICOM JSON with the attributes of their study and series."""
    _check(match)
    wanted = select(Study.attributes, Series.attributes, Instance.attributes).select_from(Instance)
    wanted = wanted.join(Series, and_(Series.study_uid == Instance.study_uid, Series.uid == Instance.series_uid))
    wanted = wanted.join(Study, Study.uid == Instance.study_uid).where(
        Instance.current, *_of(STUDY_KEYS | SERIES_KEYS | INSTANCE_KEYS | {"ModalitiesInStudy": Series.modality}, match)
    )
    with store.reading() as session:
        ordered = wanted.order_by(Study.received_at.desc(), Study.uid, Series.uid, Instance.id)
        rows = session.execute(ordered.limit(limit).offset(offset))
        return [study | series | instance for study, series, instance in rows]


def get_instances(store: Store, study_uid: str, series_uid: str | None = None, sop_uid: str | None = None) -> list[Instance]:
    """Return the current instances of a study, a series or one instance; empty when there is none."""
    wanted = select(Instance).where(Instance.current, Instance.study_uid == study_uid)
    if series_uid is not None:
        wanted = wanted.where(Instance.series_uid == series_uid)
    if sop_uid is not None:
        wanted = wanted.where(Instance.sop_uid == sop_uid)
    with store.reading() as session:
        return list(session.scalars(wanted.order_by(Instance.series_uid, Instance.id)))


def _check(match: Mapping[str, str] | None) -> None:
    if unknown := set(match or {}) - KEYS:
        raise KeyError(*sorted(unknown))


def _of(keys: Mapping[str, Any], match: Mapping[str, str] | None) -> list[ColumnElement[bool]]:
    return [_one(keyword, keys[keyword], value) for keyword, value in (match or {}).items() if value and keyword in keys]


def _one(keyword: str, column: Any, value: str) -> ColumnElement[bool]:
    if keyword in _UIDS:
        found: ColumnElement[bool] = column.in_([uid for uid in value.replace(",", "\\").split("\\") if uid])
        return found
    if keyword == "StudyDate" and "-" in value:
        first, _, last = value.partition("-")
        return and_(column != "", *([column >= first] if first else []), *([column <= last] if last else []))
    if keyword == "PatientName":
        return _like(column, value.lower())
    if keyword in ("Modality", "ModalitiesInStudy"):
        return or_(*(_like(column, one) for one in value.replace(",", "\\").split("\\")))
    return _like(column, value)


def _like(column: Any, value: str) -> ColumnElement[bool]:
    if "*" not in value and "?" not in value:
        equal: ColumnElement[bool] = column == value
        return equal
    for special in (_ESCAPE, "%", "_"):
        value = value.replace(special, _ESCAPE + special)
    alike: ColumnElement[bool] = column.like(value.replace("*", "%").replace("?", "_"), escape=_ESCAPE)
    return alike


def _counts(session: Session, studies: list[str]) -> dict[str, Attributes]:
    rows = session.execute(
        select(Series.study_uid, Series.modality, Series.uid, func.count())
        .join(Instance, and_(Instance.study_uid == Series.study_uid, Instance.series_uid == Series.uid))
        .where(Instance.current, Series.study_uid.in_(studies)).group_by(Series.study_uid, Series.modality, Series.uid)
    ).all()  # fmt: skip
    counted: dict[str, Attributes] = {}
    for uid in studies:
        mine = [(modality, number) for study, modality, _, number in rows if study == uid]
        if mine:
            modalities = sorted({modality for modality, _ in mine if modality})
            counted[uid] = {"00080061": {"vr": "CS", "Value": modalities}, "00201206": _is(len(mine)),
                            "00201208": _is(sum(number for _, number in mine))}
    return counted


def _is(number: int) -> Attributes:
    return {"vr": "IS", "Value": [number]}
