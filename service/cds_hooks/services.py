"""SERVICES: what is offered at which hook. Every release speaks at the hooks its manifest names; results and alerts at patient-view.

The same service at several hooks has the same id: its newer cards then replace the older ones (Update stale guidance).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from models.manifest import Manifest
from models.shelf import Shelf
from service.cds_hooks.hooks import CONTEXTS
from service.cds_hooks.prefetch import PATIENT, templates
from service.words import Language, in_words, marked, of_release, say

Kind = Literal["risk", "order", "imaging", "alerts"]
IMAGING, ALERTS = "imaging-results", "monitoring-alerts"
ORDER_HOOKS = frozenset({"order-select", "order-sign"})
ENCOUNTER_HOOKS = frozenset({"encounter-start", "encounter-discharge"})
# Releases made before manifests named their hooks.
USUAL_HOOKS: Mapping[str, tuple[str, ...]] = {"icu_mortality": ("patient-view",)}
REQUIREMENTS = marked(
    "Works with what is prefetched. What is not is read from the FHIR server that the site has configured, when the call names "
    "that very server; never from another address."
)
# What is offered beside the releases: id → title, description.
OF_THE_STORE: Mapping[str, tuple[Kind, str, str]] = {
    IMAGING: ("imaging", marked("AI results of this patient's images"),
              marked("Shows the results of the imaging models for studies that bear an identifier of this patient.")),
    ALERTS: ("alerts", marked("Open alerts of remote monitoring"),
             marked("Shows alerts of monitored measurements that stand, and says when data have stopped coming.")),
}


@dataclass(frozen=True)
class Service:
    """One service at one hook. ``release``: the name of the release that speaks, "" for none."""

    id: str
    hook: str
    kind: Kind
    title: str
    description: str
    release: str = ""
    prefetch: Mapping[str, str] = field(default_factory=dict)
    requirements: str = ""

    def listed(self) -> dict[str, Any]:
        """Return the line of the discovery answer."""
        told: dict[str, Any] = {"hook": self.hook, "title": self.title, "description": self.description, "id": self.id,
                                "prefetch": dict(self.prefetch)}
        return told | ({"usageRequirements": self.requirements} if self.requirements else {})


def offered(shelf: Shelf, language: Language, *, local_codes: bool = False) -> list[Service]:
    """List every service at every hook, releases first."""
    releases = [model.manifest for _, model in sorted(shelf.active.items())]
    return [
        *(_of_release(manifest, hook, language, local_codes) for manifest in releases for hook in hooks_of(manifest)),
        *(Service(name, "patient-view", kind, say(language, title), say(language, description), prefetch=PATIENT)
          for name, (kind, title, description) in OF_THE_STORE.items()),
    ]


def release_of(service: str) -> str:
    """Return the name of the release that a service of this id speaks for."""
    return service.replace("-", "_")


def hooks_of(manifest: Manifest) -> tuple[str, ...]:
    """Return the hooks a release speaks at, of those known here."""
    named = manifest.hooks or (USUAL_HOOKS.get(manifest.name, ()) if manifest.task == "risk" else ())
    return tuple(hook for hook in named if hook in CONTEXTS)


def _of_release(manifest: Manifest, hook: str, language: Language, local_codes: bool) -> Service:
    return Service(
        manifest.name.replace("_", "-"), hook, "order" if hook in ORDER_HOOKS else "risk",
        in_words(language, manifest.title, manifest.title_fr), of_release(language, manifest.summary), manifest.name,
        templates(manifest, in_encounter=hook in ENCOUNTER_HOOKS, local_codes=local_codes), say(language, REQUIREMENTS),
    )
