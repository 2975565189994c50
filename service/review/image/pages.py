"""Image: the pages and pictures of one study, for whoever may open studies of its department.

What a caller may not know of answers as what does not exist. Pictures are kept by the browser alone, for minutes.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydicom.dataset import Dataset
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.access.caller import Caller, need
from service.problem import ProblemError
from service.review.image.geometry import Slice, read_header
from service.review.image.looks import Looks
from service.review.image.pictures import Pictures, Shown
from service.review.image.pixels import SIDES
from service.review.image.prior import Candidate, Prior, priors_of
from service.review.image.study import FIRST_SIDE, CaseView, StudyView, script_data, study_view
from service.review.image.window import Preset, Window, read_window, usual_presets
from service.review.page import HEADERS, ReviewDesk, static_files
from service.review.sight import sees
from service.review.verdict.view import view_of
from service.rights.opposed import image_opposed
from service.store import entries
from service.store.review_tables import Entry
from service.store.studies import HeldResult, others_of
from service.words import Language, marked, say

ROOT = "/review/studies/{key}"
DECODING = 3  # pictures made at once; others wait, and threads are left for pages
KEPT_S = 600  # a browser shows a picture again for so long without asking; then it asks whether it still may
MOST_PRIORS = 5
SCRIPTS, SHEETS = frozenset({"verdict.js"}), frozenset({"verdict.css"})  # of the panels that stand among the results
_PICTURE_QUERY = frozenset({"size", "window", "v"})
_VALUE_QUERY = frozenset({"x", "y", "v"})
KEYS = (  # what the list of keys says
    ("h", marked("Layers of AI on or off")), ("m", marked("Outline or heat map")), ("o O", marked("Layers fainter, stronger")),
    ("b", marked("Beside the plain picture")), ("p", marked("Prior study")), ("w", marked("Next window")), ("i", marked("Invert")),
    ("← → ↑ ↓", marked("Width and centre of the window")), ("+ -", marked("Larger, smaller")), ("0", marked("Whole picture")),
    ("Shift ←", marked("Move the picture")), ("PageUp PageDown", marked("Slice before, slice after")),
    (", .", marked("Images before, images after")),
)


class Image:
    """The area. It keeps a decoding process and a bounded number of pictures."""

    def __init__(self, desk: ReviewDesk) -> None:
        self.desk = desk
        self._pictures: Pictures | None = None
        self._looks = Looks(desk.house)
        self._making = threading.Lock()
        self._warming: threading.Thread | None = None
        self._turns = asyncio.Semaphore(DECODING)

    def open(self) -> None:
        """Start the decoding process beside whatever else starts."""
        self._warming = threading.Thread(target=self.pictures.warm_up, name="warm-up", daemon=True)
        self._warming.start()

    def close(self) -> None:
        """End it."""
        if self._warming is not None:
            self._warming.join()
        if self._pictures is not None:
            self._pictures.close()
            self._pictures = None

    @property
    def pictures(self) -> Pictures:
        """The pictures of this process."""
        with self._making:
            if self._pictures is None:
                self._pictures = Pictures(self.desk.house.store, self.desk.house.settings)
            return self._pictures

    def routes(self) -> list[Route]:
        """List the addresses."""
        get = ["GET"]
        return [
            Route(ROOT, self.study, methods=get),
            Route(f"{ROOT}/images.json", self.images, methods=get),
            Route(f"{ROOT}/images/{{case}}/{{slice}}.png", self.picture, methods=get),
            Route(f"{ROOT}/images/{{case}}/{{slice}}.json", self.values, methods=get),
            Route(f"{ROOT}/layers/{{case}}/{{place}}.json", self.layers, methods=get),
            Route(f"{ROOT}/layers/{{case}}/{{place}}/{{map}}.png", self.heat_map, methods=get),
        ]

    async def study(self, request: Request) -> Response:
        """Show a study."""
        language = self.desk.language(request)
        caller, entry = await self._entry(request)
        view, priors = await self.desk.look(self._view, caller, entry, language)
        await self.desk.look(self._looks.note, caller, entry, view.head)
        if entry.state in ("new", "refused"):
            await self.desk.look(self._seen, caller, entry)
        rules, root = self.desk.house.site.review, f"/review/studies/{entry.key}"
        return self.desk.page(
            request, "image/study.html", title=say(language, "Study"), entry=entry, study=view, priors=priors, root=root,
            full_viewer=rules.viewer_url.replace("{study}", view.uid), scripts=sorted(SCRIPTS & static_files().keys()),
            sheets=sorted(SHEETS & static_files().keys()),
            keys=[(key, say(language, words)) for key, words in KEYS],
            first_picture=self._first_picture(root, view.cases[0]), may_report=caller.may("report", department=entry.department),
            data=_for_script(script_data(view, self.pictures, root, hidden=rules.layers == "hidden", language=language)),
        )

    async def images(self, request: Request) -> Response:
        """Tell what a script needs to show these pictures beside those of another study."""
        language = self.desk.language(request)
        caller, entry = await self._entry(request)
        _query(request, frozenset())
        view, _ = await self.desk.look(self._view, caller, entry, language)
        await self.desk.look(self._looks.note_once, caller, entry, lambda: view.head)
        data = script_data(view, self.pictures, f"/review/studies/{entry.key}", hidden=True, language=language)
        return Response(json.dumps(data), 200, HEADERS, "application/json")

    async def picture(self, request: Request) -> Response:
        """Give one picture in a size and a window."""
        caller, entry = await self._entry(request)
        query = _query(request, _PICTURE_QUERY)
        side = _number(query.get("size", str(FIRST_SIDE)))
        if side not in SIDES:
            raise ProblemError("bad_query", f"size is one of {', '.join(map(str, SIDES))}; 0 is the picture as it is.")
        window = read_window(query.get("window", ""))
        shown, place = await self._place(request, entry)
        tag = self._checked(place, query)
        etag = f'"{tag}-{side}-{window.written if window else ""}"'
        if etag in request.headers.get("if-none-match", ""):
            return Response(b"", 304, _kept(etag))
        await self.desk.look(self._looks.note_once, caller, entry, lambda: self._header(shown.geometry.slices[0].sha256))
        async with self._turns:
            data = await self.desk.look(self.pictures.png, place, side, window)
        return Response(data, 200, _kept(etag), "image/png")

    async def values(self, request: Request) -> Response:
        """Tell the windows of a picture, and with x and y the value of one pixel."""
        caller, entry = await self._entry(request)
        query = _query(request, _VALUE_QUERY)
        shown, place = await self._place(request, entry)
        self._checked(place, query)
        await self.desk.look(self._looks.note_once, caller, entry, lambda: self._header(shown.geometry.slices[0].sha256))
        language = self.desk.language(request)
        async with self._turns:
            told = await self.desk.look(self._told, place, language)
            if "x" in query or "y" in query:
                x, y = _number(query.get("x", "")), _number(query.get("y", ""))
                if x >= place.columns or y >= place.rows:
                    raise ProblemError("bad_query", "x and y are a column and a row of the picture, from 0.")
                pixels = await self.desk.look(self.pictures.pixels, place)
                told = {"value": pixels.value(y, x), "unit": told["unit"]}
        return Response(json.dumps(told), 200, HEADERS, "application/json")

    async def layers(self, request: Request) -> Response:
        """Tell what one result drew, as outlines in pixels of the picture and addresses of its heat maps."""
        language = self.desk.language(request)
        caller, entry = await self._entry(request)
        shown, result = await self._result(request, caller, entry)
        await self.desk.look(self._looks.note_once, caller, entry, lambda: self._header(shown.geometry.slices[0].sha256))
        case, place = request.path_params["case"], request.path_params["place"]
        async with self._turns:
            drawn = await self.desk.look(self.pictures.layers, result, shown.geometry)
        named = {str(one["name"]): one for one in result.summary.get("findings", [])}

        def label(name: str, otherwise: str = "") -> str:
            one = named.get(name, {})
            return str((one.get("label_fr") if language == "fr" else "") or one.get("label") or otherwise or name)

        sides = shown.geometry.sides
        told = {
            "maps": [{
                "finding": one.finding, "label": label(one.finding), "top": one.top, "outline": one.outline,
                "image": f"/review/studies/{entry.key}/layers/{case}/{place}/{number}.png", "words": one.words(sides, language),
            } for number, one in enumerate(drawn.maps, start=1)],
            "masks": [{
                "finding": one.finding, "label": label(one.finding, one.label), "colour": one.colour, "dashes": one.dashes,
                "slices": {str(number): polygons for number, polygons in sorted(one.slices.items())}, "words": one.words(language),
            } for one in drawn.masks],
        }
        return Response(json.dumps(told), 200, HEADERS, "application/json")

    async def heat_map(self, request: Request) -> Response:
        """Give one heat map as a transparent picture over the whole field."""
        caller, entry = await self._entry(request)
        _query(request, frozenset({"v"}))
        shown, result = await self._result(request, caller, entry)
        await self.desk.look(self._looks.note_once, caller, entry, lambda: self._header(shown.geometry.slices[0].sha256))
        async with self._turns:
            drawn = await self.desk.look(self.pictures.layers, result, shown.geometry)
            number = _number(request.path_params["map"])
            if not 1 <= number <= len(drawn.maps):
                raise _nothing()
            data = await self.desk.look(drawn.maps[number - 1].png)
        return Response(data, 200, _kept(f'"{self.desk.house.store.pseudonym(f"map:{result.id}:{number}")[:16]}"'), "image/png")

    # What is asked for ----------------------------------------------------------------------------------------------

    async def _entry(self, request: Request) -> tuple[Caller, Entry]:
        """Return who asks and the line of the worklist that names the study. Raises ProblemError (403, 404)."""
        caller = need(request, "study")
        entry = await self.desk.look(entries.by_key, self.desk.house.store, request.path_params["key"])
        if entry is None or entry.kind != "study" or not sees(caller, "study", entry, every_model=False):
            raise _nothing()
        return caller, entry

    async def _place(self, request: Request, entry: Entry) -> tuple[Shown, Slice]:
        shown = await self._case(request, entry)
        number = _number(request.path_params["slice"])
        if not 1 <= number <= len(shown.geometry.slices):
            raise _nothing()
        return shown, shown.geometry.slices[number - 1]

    async def _case(self, request: Request, entry: Entry) -> Shown:
        shown = await self.desk.look(self.pictures.study, entry.target)
        number = _number(request.path_params["case"])
        if not 1 <= number <= len(shown):
            raise _nothing()
        return shown[number - 1]

    async def _result(self, request: Request, caller: Caller, entry: Entry) -> tuple[Shown, HeldResult]:
        shown = await self._case(request, entry)
        number = _number(request.path_params["place"])
        if not 1 <= number <= len(shown.held.results):
            raise _nothing()
        result = shown.held.results[number - 1]
        head = await self.desk.look(self._header, shown.geometry.slices[0].sha256)
        store, site = self.desk.house.store, self.desk.house.site
        if not caller.may("study", department=entry.department, model=result.model) or await self.desk.look(
            image_opposed, store, site, head, entry.target
        ):
            raise _nothing()
        return shown, result

    def _checked(self, place: Slice, query: Mapping[str, str]) -> str:
        """Return the tag of a picture. Raises ProblemError when another was meant: the images of the study changed meanwhile."""
        tag = self.pictures.tag(place)
        if query.get("v", tag) != tag:
            raise ProblemError("not_found", "The images of this study changed since the page was opened. Open the page again.")
        return tag

    # What is done ---------------------------------------------------------------------------------------------------

    def _view(self, caller: Caller, entry: Entry, language: Language) -> tuple[StudyView, tuple[Prior, ...]]:
        house, pictures = self.desk.house, self.pictures
        shown = pictures.study(entry.target, anew=True)
        if not shown:
            raise _nothing()
        heads = [self._header(one.geometry.slices[0].sha256) for one in shown]
        shelf = house.scoring.shelf if house.scoring.ready else None
        opposed = image_opposed(house.store, house.site, heads[0], entry.target)
        models = {one.model for case in shown for one in case.held.results}
        view = study_view(
            pictures, shown, entry.target, heads, language=language, accept=house.site.identity.accept, shelf=shelf,
            states=self.desk.states(),
            may_see={model: not opposed and (model == "none" or caller.may("study", department=entry.department, model=model))
                     for model in models},
        )
        cases = tuple(replace(case, results=tuple(
            replace(one, verdict=view_of(self.desk, caller, "result", one.id)) for one in case.results
        )) for case in view.cases)
        return replace(view, cases=cases, is_opposed=opposed), self._priors(caller, entry, view.head, language)

    def _priors(self, caller: Caller, entry: Entry, head: Dataset, language: Language) -> tuple[Prior, ...]:
        """Return the studies of the same person that the caller may open too."""
        store, candidates = self.desk.house.store, []
        for other in others_of(store, entry.target, str(head.get("PatientID", "") or "")):
            line = entries.by_target(store, "study", other.uid)
            if line is not None and sees(caller, "study", line, every_model=False):
                candidates.append(Candidate(line.key, self._header(other.first_sha256)))
        found = priors_of(head, candidates, accept=self.desk.house.site.identity.accept, language=language)
        return found[:MOST_PRIORS]

    def _told(self, place: Slice, language: Language) -> dict[str, Any]:
        pixels = self.pictures.pixels(place)
        modality = str(pixels.header.get("Modality", "") or "").upper()
        if pixels.is_colour:
            return {"colour": True, "table": False, "window": None, "presets": [], "unit": ""}
        stated = [one for place, one in enumerate(pixels.presets) if place or one.name]  # the first is what is shown as it was sent
        presets = [*stated, *usual_presets(modality), Preset(marked("Own range"), pixels.own_range)]
        window = pixels.first_window()
        return {
            "colour": False, "table": pixels.has_table, "inverted": pixels.is_inverted, "unit": "HU" if modality == "CT" else "",
            "window": _window(window or pixels.own_range), "span": list(pixels.span),
            "presets": [{"name": _name(one, language), "window": _window(one.window)} for one in presets],
        }

    def _first_picture(self, root: str, case: CaseView) -> str:
        """Return the address of the picture that stands in the page itself: it comes while the script is still on its way."""
        place = case.shown.geometry.slices[case.first - 1]
        size = FIRST_SIDE if max(place.rows, place.columns) > FIRST_SIDE else 0
        return f"{root}/images/{case.number}/{case.first}.png?size={size}&v={self.pictures.tag(place)}"

    def _header(self, sha256: str) -> Dataset:
        objects = self.desk.house.store.objects
        return read_header(objects.path(sha256) or objects.get(sha256))

    def _seen(self, caller: Caller, entry: Entry) -> None:
        with self.desk.house.store.session() as session:
            entries.set_state(session, kind="study", target=entry.target, state="seen", actor=caller.subject)


def _query(request: Request, known: frozenset[str]) -> Mapping[str, str]:
    pairs = request.query_params.multi_items()
    if not known.issuperset(name for name, _ in pairs) or len({name for name, _ in pairs}) < len(pairs):
        raise ProblemError("bad_query", f"Query parameters are {', '.join(sorted(known))}, each once; found another.")
    return dict(pairs)


def _number(written: str) -> int:
    """Read a small whole number of an address. Raises ProblemError."""
    if not (written.isascii() and written.isdigit() and len(written) <= 6):
        raise _nothing()
    return int(written)


def _nothing() -> ProblemError:
    return ProblemError("not_found", "There is nothing here, or nothing that you may see.")


def _window(window: Window) -> list[Any]:
    return [window.centre, window.width, window.function.lower()]


def _name(preset: Preset, language: Language) -> str:
    if not preset.stated:
        return say(language, preset.name)
    return preset.name or say(language, "As sent")


def _for_script(data: Mapping[str, Any]) -> str:
    """Write JSON that may stand inside a script element: nothing in it ends the element."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _kept(etag: str) -> dict[str, str]:
    """Return the headers of a picture: kept by this browser alone, for minutes, and for whoever is logged in now."""
    return {**HEADERS, "cache-control": f"private, max-age={KEPT_S}, immutable", "etag": etag, "vary": "cookie"}
