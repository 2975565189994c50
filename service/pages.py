"""The few pages a person may open in a browser: the front door and the model cards. No script, nothing fetched."""

from __future__ import annotations

from html import escape

from markdown_it import MarkdownIt

from models.manifest import Manifest
from service.answers import NOTICE

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a }
table { border-collapse: collapse } th, td { border: 1px solid #bbb; padding: .25rem .6rem; text-align: left }
code, pre { background: #f3f3f3 } pre { padding: .6rem; overflow: auto }
.notice { border-left: 4px solid #b00; padding-left: .8rem }
@media (prefers-color-scheme: dark) { body { background: #16181b; color: #e8e8e8 } code, pre { background: #26292e }
a { color: #8ab4f8 } }
"""


def card_page(manifest: Manifest, card: str) -> str:
    """Turn CARD.md into a page. HTML inside the card is shown as text, not run."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(card)
    return _page(manifest.title, body)


def front_page(manifests: list[Manifest]) -> str:
    """Say what this address is, which models it has and where its description lies."""
    rows = "".join(
        f"<tr><td><a href='/v1/models/{escape(m.id)}/card'>{escape(m.id)}</a></td><td>{escape(m.title)}</td>"
        f"<td>{escape(m.summary)}</td></tr>"
        for m in manifests
    )
    head = "<tr><th>release</th><th>title</th><th>summary</th></tr>"
    table = f"<table>{head}{rows}</table>" if rows else "<p>No model is ready.</p>"
    return _page("Diaphane", (
        f"<h1>Diaphane</h1><p class='notice'>{escape(NOTICE['en'])}<br>{escape(NOTICE['fr'])}</p>"
        f"{table}<p>Send images to <code>POST /v1/images</code> and FHIR Bundles to <code>POST /v1/records</code>. "
        "The API is described in <a href='/v1/openapi.json'>/v1/openapi.json</a>; "
        "counts are at <a href='/metrics'>/metrics</a>.</p>"
    ))


def _page(title: str, body: str) -> str:
    return (f"<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
            f"<title>{escape(title)}</title><style>{_STYLE}</style><body>{body}</body></html>")
