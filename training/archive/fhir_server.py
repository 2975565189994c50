"""A FHIR R4 server: stays or people by a search, a page at a time; each record by $everything, or by searches where there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

from models.errors import UnusableInput
from models.fhir.bundle import listed, own_reference, reference, table, text
from models.fhir.collect import MAX_RESOURCES
from models.read_fhir import parse
from training.archive import fhir_files
from training.archive.cases import ArchiveAway, Found, Json, Opened
from training.archive.plan import Plan
from training.archive.scored import Names
from training.archive.web import MAX_JSON_BYTES, Web

PAGE = 100
JSON = "application/fhir+json"
NO_SUCH_OPERATION = frozenset((400, 404, 405, 501))


class FhirServer:
    """The source of a FHIR server. ``--cohort`` is the search of the cases: Encounter…, or Patient… for what needs no stay."""

    def __init__(self, plan: Plan, naming: Names) -> None:
        self.plan, self.naming = plan, naming
        self.web = Web.of(plan)
        self.needs = fhir_files.needs_of(plan)
        self.left_out: Counter[str] = Counter()
        self._everything = True  # until the server says that it has no such operation

    def close(self) -> None:
        """Let go of the connections."""
        self.web.close()

    def find(self, told: Callable[[int], None]) -> Iterator[Found]:
        """Yield one case a stay that reached the moment, or one a person."""
        for number, one in enumerate(self._search(*self._cohort()), start=1):
            told(number)
            if text(one.get("resourceType")) == "Patient" and not self.needs.stay:
                name = own_reference(one)
                yield Found(name, {"person": name, "stay": None}, {"patient": text(one.get("id"))})
            elif text(one.get("resourceType")) == "Encounter" and self.needs.stay:
                person = reference(one.get("subject"))
                if not person.startswith("Patient/"):
                    self.left_out["of_nobody"] += 1
                    continue
                for name, where in fhir_files.stays_of([one], self.needs, self.left_out):
                    yield Found(name, {"person": person, **where},
                                {"patient": person.partition("/")[2], "study": name.partition("/")[2]})
            else:
                self.left_out["of_another_kind"] += 1

    def open(self, where: Json) -> Opened:
        """Fetch all that a record is made of."""
        person, found = where["person"], {}
        whole = self._all(person) if self._everything else None
        for one in self._by_searches(person) if whole is None else whole:
            found[own_reference(one)] = one  # some servers repeat what two pages share
            if len(found) > MAX_RESOURCES:
                raise UnusableInput(f"A person may have {MAX_RESOURCES:,} resources, found more.", code="too_large")
        if where["stay"] and where["stay"] not in found:
            found[where["stay"]] = self._read(where["stay"])
        return fhir_files.open_bundle([found[name] for name in sorted(found)], where, self.needs)

    def _cohort(self) -> tuple[str, dict[str, Any]]:
        if self.plan.cohort:
            return self.plan.cohort, {}
        if not self.needs.stay:
            return "Patient", {}
        days = [f"{word}{day}" for word, day in (("ge", self.plan.since), ("le", self.plan.until)) if day]
        return "Encounter", {"date": days} if days else {}

    def _all(self, person: str) -> Iterator[Json] | None:
        """Return what $everything gives, None where there is no such operation."""
        answer = self.web.get(f"{_safe(person)}/$everything", accept=JSON, most_bytes=MAX_JSON_BYTES, query={"_count": 500})
        if answer.status in NO_SUCH_OPERATION:
            self._everything = False
            return None
        return self._following(_bundle(answer.status, answer.content))

    def _by_searches(self, person: str) -> Iterator[Json]:
        yield self._read(person)
        for kind in fhir_files.READ[1:]:
            yield from self._search(kind, {"patient": person}, may_lack=True)

    def _read(self, name: str) -> Json:
        answer = self.web.get(_safe(name), accept=JSON, most_bytes=MAX_JSON_BYTES)
        if answer.status != 200:
            raise UnusableInput(f"A resource of a case must be read with 200, found {answer.status}.", code="not_retrieved")
        return dict(table(parse(answer.content)))

    def _search(self, path: str, query: dict[str, Any], *, may_lack: bool = False) -> Iterator[Json]:
        """Yield the matches of a search. ``may_lack``: the server may not hold this kind of resource at all (404)."""
        joint = "" if "_count=" in path else f"{'&' if '?' in path else '?'}_count={PAGE}"
        answer = self.web.get(path + joint, accept=JSON, most_bytes=MAX_JSON_BYTES, query=query and query | {"_count": PAGE})
        if may_lack and answer.status == 404:
            return
        yield from self._following(_bundle(answer.status, answer.content))

    def _following(self, bundle: Json) -> Iterator[Json]:
        """Yield the resources of a page and of those after it; what only came along or warns is none of ours."""
        asked: set[str] = set()
        total, matches = bundle.get("total"), 0
        while True:
            for entry in (table(one) for one in listed(bundle.get("entry"))):
                resource, mode = table(entry.get("resource")), text(table(entry.get("search")).get("mode"))
                matches += mode != "outcome"
                if mode != "outcome" and own_reference(resource):
                    yield dict(resource)
            links = {text(table(one).get("relation")): text(table(one).get("url")) for one in listed(bundle.get("link"))}
            following = links.get("next", "")
            if not following or following in asked:  # a server that leads in a circle
                if isinstance(total, int) and total > matches:
                    raise UnusableInput(f"A search of the FHIR server must give all its pages, it said {total:,} and gave "
                                        f"{matches:,} without a next page. Raise what it gives at once.", code="pages_missing")
                return
            asked.add(following)
            answer = self.web.get(following, accept=JSON, most_bytes=MAX_JSON_BYTES)
            bundle = _bundle(answer.status, answer.content)


def _bundle(status: int, content: bytes) -> Json:
    if status != 200:
        raise ArchiveAway(f"A search of the FHIR server must be answered with 200, found {status}. Check the address, the cohort and "
                          "what the token may read.", code="source_changed")
    found = table(parse(content))
    if text(found.get("resourceType")) != "Bundle":
        raise ArchiveAway("A search of the FHIR server must be answered with a Bundle, found something else. Check the address.",
                          code="source_changed")
    return dict(found)


def _safe(name: str) -> str:
    """Return Kind/id as it may stand in an address."""
    return quote(name, safe="/")
