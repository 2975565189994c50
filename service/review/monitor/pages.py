"""The pages of the monitor: one calm overview, a release with its control charts, and who saw an alarm."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from models.manifest import Manifest
from service.access.caller import Caller, need
from service.monitor.judged import EMBEDDING
from service.problem import ProblemError
from service.review.monitor.charts import charts_of
from service.review.monitor.spoken import ADVICE, GROUPS, KINDS, REASONS, SEXES, SOURCES, rule_words, stream_words
from service.review.page import ReviewDesk
from service.review.verdict.agreement import LEAST, wilson
from service.store import alarms, golden, watching
from service.store.trust_tables import Alarm, GoldenRun
from service.words import Language, in_words, marked, moment, number, percent, say

PLACE = "/review/monitor"
STREAMS = 12
LIGHTS = {  # light → tone, symbol, words: a colour never says it alone
    "alarm": ("stop", "stop", marked("Alarm")), "seen": ("high", "notice-warn", marked("Alarm, seen")),
    "calm": ("good", "check", marked("As usual")), "waiting": ("low", "clock", marked("Too early to say")),
}
Json = dict[str, Any]


class MonitorPages:
    """/review/monitor."""

    def __init__(self, desk: ReviewDesk) -> None:
        self.desk = desk

    def routes(self) -> list[Route]:
        """List the addresses."""
        return [
            Route(PLACE, self.index, methods=["GET"]),
            Route(f"{PLACE}/{{release}}", self.show, methods=["GET"]),
            Route(f"{PLACE}/alarms/{{number}}", self.seen, methods=["POST"]),
        ]

    async def index(self, request: Request) -> Response:
        """Show every release that gave results here, and what is not as it was."""
        caller, language = need(request, "watch"), self.desk.language(request)
        rows, ringing, done = await self.desk.look(self._overview, caller, language)
        return self.desk.page(request, "monitor/list.html", title=say(language, "Monitor"), rows=rows, ringing=ringing,
                              looked=self._when(done, language) if done else "")

    async def show(self, request: Request) -> Response:
        """Show one release: alarms, control charts, agreement by group, streams that changed."""
        caller, language = need(request, "watch"), self.desk.language(request)
        release = request.path_params["release"]
        row, run, ringing, ended = await self.desk.look(self._one, release)
        if (row is None and run is None) or not caller.may("watch", model=release):
            raise ProblemError("not_found", "Nothing was watched under that name; GET /review/monitor lists what is.")
        manifest, found = self._manifest(release), row.found if row is not None else {}
        mix = [(say(language, GROUPS[by]), _mix(counts, language)) for by, counts in found.get("groups", {}).items() if by in GROUPS]
        return self.desk.page(
            request, "monitor/show.html", title=_title(manifest, release, language), release=release,
            light=_light(found, ringing, language), facts=self._facts(found, run, language) if found else [],
            alarms=[self._alarm(one, language) for one in ringing], ended=[self._alarm(one, language) for one in ended],
            charts=charts_of(found, manifest, language), groups=_groups(found, language),
            streams=_streams(found, manifest, language), reasons=_reasons(found, language),
            mix=mix, golden=self._golden(run, language),
            looked=self._when(row.looked_at, language) if row is not None and row.looked_at else "",
        )

    async def seen(self, request: Request) -> Response:
        """Note that somebody saw an alarm."""
        caller = need(request, "watch")
        number_said = request.path_params["number"]
        row = await self.desk.look(self._see, int(number_said), caller) if number_said.isdigit() and len(number_said) < 10 else None
        if row is None:
            raise ProblemError("not_found", "There is no alarm of that number; GET /review/monitor lists those that are open.")
        return RedirectResponse(f"{PLACE}/{row.release}", 303)

    def _see(self, wanted: int, caller: Caller) -> Alarm | None:
        house = self.desk.house
        with house.store.session() as session:
            row = session.get(Alarm, wanted)
            if row is None or not caller.may("watch", model=row.release):
                return None
            row = alarms.seen(session, wanted, caller.subject)
            if row is not None:
                detail = {"number": wanted, "kind": row.kind, "model": row.release}
                house.audit.append(session, caller, "release", kind="alarm", detail=detail)
        return row

    def _overview(self, caller: Caller, language: Language) -> tuple[list[Json], list[Json], float]:
        store = self.desk.house.store
        states, runs, ringing = watching.states(store), golden.last_runs(store), alarms.alarms(store)
        rows: list[Json] = []
        for release in sorted({*states, *runs}):
            if not caller.may("watch", model=release):
                continue
            found: Json = states[release].found if release in states else {}
            its = [one for one in ringing if one.release == release]
            light = _light(found, its, language)
            rows.append({
                "release": release, "title": _title(self._manifest(release), release, language), "light": light,
                "place": list(LIGHTS).index(light["name"]),
                "facts": self._facts(found, runs.get(release), language) if found else [],
                "kinds": [say(language, KINDS[one.kind]) for one in its],
            })
        rows.sort(key=lambda row: row["place"])
        shown = [self._alarm(one, language) for one in ringing if caller.may("watch", model=one.release)]
        return rows, shown, watching.done_at(store, "pass")

    def _one(self, release: str) -> tuple[Any, GoldenRun | None, list[Alarm], list[Alarm]]:
        store = self.desk.house.store
        known = alarms.alarms(store, only_open=False, release=release)
        return (watching.states(store).get(release), golden.last_runs(store).get(release),
                [one for one in known if one.closed_at is None], [one for one in known if one.closed_at is not None][:10])

    def _alarm(self, one: Alarm, language: Language) -> Json:
        manifest = self._manifest(one.release)
        streams = one.detail.get("streams", ())
        return {
            "number": one.id, "release": one.release, "title": _title(manifest, one.release, language),
            "kind": say(language, KINDS.get(one.kind, one.kind)), "since": self._when(one.opened_at, language),
            "ended": self._when(one.closed_at, language) if one.closed_at else "", "seen_by": one.acknowledged_by,
            "seen_at": self._when(one.acknowledged_at, language) if one.acknowledged_at else "",
            "why": [rule_words(row, manifest, language) for row in streams], "faults": one.detail.get("faults", ()),
            "advice": say(language, ADVICE[one.kind]) if one.kind in ADVICE else "",
        }

    def _facts(self, found: Json, run: GoldenRun | None, language: Language) -> list[tuple[str, str]]:
        week, agreement, seconds = found["last_7_days"], found["agreement"], found["seconds"]
        source = found["reference"]
        return [
            (say(language, "Results in seven days"), number(language, week["n"])),
            (say(language, "Refused"), percent(language, week["refused"] / week["n"], 1) if week["n"] else ""),
            (say(language, "Agreed, of those judged"), _share(agreement["agreed"], agreement["given"], language)),
            (say(language, "Alerts taken for right"), _share(found["precision"]["right"], found["precision"]["alerts"], language)),
            (say(language, "Median time"), f"{number(language, seconds['p50'], 2)} s" if seconds["p50"] is not None else ""),
            (say(language, "Golden numbers"), self._golden(run, language)),
            (say(language, "Watched against"), say(language, SOURCES[source["source"]])),
        ]

    def _golden(self, run: GoldenRun | None, language: Language) -> str:
        if run is None:
            return ""
        return say(language, "{changed} of {checked} changed, {when}", changed=number(language, run.changed),
                   checked=number(language, run.checked), when=self._when(run.ran_at, language))

    def _manifest(self, release: str) -> Manifest | None:
        scoring = self.desk.house.scoring
        model = scoring.installed.models.get(release) if scoring.ready else None
        return model.manifest if model is not None else None

    def _when(self, at: float, language: Language) -> str:
        return moment(language, datetime.fromtimestamp(at, UTC).astimezone(self.desk.house.site.device.zone))


def _title(manifest: Manifest | None, release: str, language: Language) -> str:
    return in_words(language, manifest.title, manifest.title_fr) if manifest is not None else release


def _light(found: Json, ringing: list[Alarm], language: Language) -> Json:
    if ringing:
        name = "seen" if all(one.acknowledged_at is not None for one in ringing) else "alarm"
    else:
        name = "calm" if found and found["streams"] else "waiting"
    tone, symbol, words = LIGHTS[name]
    return {"name": name, "tone": tone, "symbol": symbol, "words": say(language, words)}


def _groups(found: Json, language: Language) -> list[Json]:
    """Return agreement by group with its interval; groups too small to say anything of anybody are left out."""
    rows = []
    for name, (agreed, given) in found.get("agreement", {}).get("groups", {}).items():
        if given >= LEAST:
            share = wilson(agreed, given)
            rows.append({"name": stream_words(name, None, language), "given": number(language, given),
                         "agreed": percent(language, share.share), "low": percent(language, share.low),
                         "high": percent(language, share.high)})
    return rows


def _mix(counts: dict[str, int], language: Language) -> list[tuple[str, str]]:
    """Return how many came of each group, but for groups so small that they may point at one person."""
    shown = [(name, count) for name, count in sorted(counts.items()) if count >= LEAST]
    return [(say(language, SEXES.get(name, name)), number(language, count)) for name, count in shown]


def _reasons(found: Json, language: Language) -> list[tuple[str, str]]:
    counts: dict[str, int] = found.get("reasons", {})
    return [(say(language, REASONS.get(reason, reason)), number(language, count)) for reason, count in counts.items()]


def _streams(found: Json, manifest: Manifest | None, language: Language) -> list[Json]:
    return [
        {"name": stream_words(row["stream"], manifest, language), "size": number(language, row.get("psi", row.get("mmd", 0.0)), 3),
         "notable": bool(row.get("notable")) or (row["stream"] == EMBEDDING and row["p"] < 0.01), "n": number(language, row["n"])}
        for row in found.get("streams", ())[:STREAMS]
    ]


def _share(hits: int, n: int, language: Language) -> str:
    if not n:
        return say(language, "none judged")
    return say(language, "{share} of {n}", share=percent(language, hits / n), n=number(language, n))


