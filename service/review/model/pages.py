"""The pages of releases: the list, one release with its evaluation and this site's own experience, and one result of it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from models.manifest import Manifest
from models.model import Model
from models.shelf import Shelf
from service.access.caller import caller_of
from service.problem import ProblemError
from service.review.banners import banners_of
from service.review.model.about import About
from service.review.model.figures import FIGURES, figure_words, goal_words
from service.review.model.plots import figure_name, forest_of, plots_of
from service.review.page import ReviewDesk
from service.review.verdict.agreement import agreement_of
from service.words import Language, in_words, marked, say

TASKS = {
    "image_classification": marked("Image, findings"), "volume_segmentation": marked("Image, volumes"), "risk": marked("Risk"),
    "department": marked("Department"),
}
_OF_ALL = {"rows", "bars", "curves", "data", "unknown"}  # what a page shows of an evaluation
_OF_A_ROW = {"by", "group", "n", "patients", "figures"}


class ModelPages:
    """The area of models."""

    def __init__(self, desk: ReviewDesk) -> None:
        self.desk, self.house = desk, desk.house
        self.about = About(desk)

    def routes(self) -> list[Route]:
        """List the addresses."""
        return [
            Route("/review/models", self.index, methods=["GET"]),
            Route("/review/models/{model}", self.show, methods=["GET"]),
            *self.about.routes(),
        ]

    async def index(self, request: Request) -> Response:
        """List the releases the caller may know of, those that serve first."""
        caller, language, shelf = caller_of(request), self.desk.language(request), self.house.scoring.shelf
        rows = [_brief(shelf, model, language) for model in shelf.models.values() if caller.may("model", model=model.id)]
        rows.sort(key=lambda row: (not row["serves"], row["title"]))
        return self.desk.page(request, "model/list.html", title=say(language, "Models"), rows=rows)

    async def show(self, request: Request) -> Response:
        """Show one release: what it is for and not for, how it did, and its card."""
        caller, language, shelf = caller_of(request), self.desk.language(request), self.house.scoring.shelf
        try:
            model = shelf.known(request.path_params["model"])
        except KeyError:
            model = None
        if model is None or not caller.may("model", model=model.id):
            raise ProblemError("unknown_model", "There is no model of that name; GET /v1/models lists them.")
        manifest = model.manifest
        evaluation = _evaluation(model.folder)
        agreement = await self.desk.look(agreement_of, self.house.store, manifest.name, zone=self.house.site.device.zone)
        others = [one for one in shelf.models.values() if one.manifest.name == manifest.name]
        return self.desk.page(
            request, "model/show.html", title=in_words(language, manifest.title, manifest.title_fr), manifest=manifest,
            agreement=agreement, serves=shelf.active.get(manifest.name) is model, task=say(language, TASKS[manifest.task]),
            banners=banners_of(shelf, manifest.id, language, self.desk.states()), evaluation=evaluation,
            plots=plots_of(evaluation, language) if evaluation else (),
            forest=forest_of(evaluation, language) if evaluation else None,
            goals=[(one, *goal_words(one, language)) for one in evaluation.get("bars", ())],
            figures=_figures(evaluation, language), card=_card(model.folder), backend=model.session.backend,
            precision=model.session.precision, versions=[_brief(shelf, one, language) for one in others],
        )


def _brief(shelf: Shelf, model: Model, language: Language) -> dict[str, Any]:
    """Return what a list shows of a release."""
    manifest: Manifest = model.manifest
    evaluation = _evaluation(model.folder)
    first = _figures(evaluation, language)[:1]
    return {
        "id": manifest.id, "name": manifest.name, "version": manifest.version,
        "title": in_words(language, manifest.title, manifest.title_fr),
        "task": say(language, TASKS[manifest.task]), "kind": manifest.task, "purpose": manifest.intended_use.purpose,
        "population": manifest.intended_use.population, "serves": shelf.active.get(manifest.name) is model,
        "figure": first[0] if first else None, "created": manifest.provenance.created,
    }


def _figures(evaluation: dict[str, Any], language: Language) -> list[tuple[str, str]]:
    """Return the figures of the whole test set with their intervals."""
    if not evaluation:
        return []
    whole = evaluation["rows"][0]["figures"]
    return [(figure_name(name, language), figure_words(name, whole[name], language))
            for name in FIGURES if name in whole and whole[name]["value"] is not None]


@cache
def _evaluation(folder: Path) -> dict[str, Any]:
    """Read evaluation.json of a release; it never changes. Empty when a release has none, or one that is not of our form."""
    path = folder / "evaluation.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    rows = found.get("rows") or [{}]
    return found if _OF_ALL <= set(found) and all(_OF_A_ROW <= set(row) for row in rows) else {}


@cache
def _card(folder: Path) -> Markup:
    """Render CARD.md. HTML inside the card is shown as text, not run."""
    path = folder / "CARD.md"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    body = text.partition("\n")[2] if text.startswith("# ") else text  # the page has its own first heading
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(body)
    return Markup(html)  # noqa: S704  made by the renderer, which escapes what the card says
