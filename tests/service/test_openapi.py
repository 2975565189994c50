"""The OpenAPI document: whole, and true to the answers."""

from __future__ import annotations

import json
import re
from typing import Any

from starlette.routing import Route
from starlette.testclient import TestClient

from service.guard import ELSEWHERE
from service.openapi import document
from tests.service.house import House

DOCUMENT: dict[str, Any] = json.loads(document())


def test_every_reference_leads_somewhere() -> None:
    wanted = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))

    assert wanted
    assert set() == wanted - set(DOCUMENT["components"]["schemas"])


def test_every_route_is_described(house: House) -> None:
    from service.web import Web

    routes = {route.path for route in Web(house.settings, house.scoring, house.metrics).app().routes
              if isinstance(route, Route)}

    assert routes - {"/", ELSEWHERE, "/v1/openapi.json"} == set(DOCUMENT["paths"]) - {"/livez", "/readyz"}


def test_query_parameters_have_meanings_and_defaults() -> None:
    parameters = DOCUMENT["paths"]["/v1/images"]["post"]["parameters"]

    assert {"model": "auto", "heatmap": "none", "language": "en"} == {
        one["name"]: one["schema"]["default"] for one in parameters
    }
    assert all(one["description"] for one in parameters)


def test_the_document_is_served(client: TestClient) -> None:
    assert DOCUMENT == client.get("/v1/openapi.json").json()
