"""What keeps a release from being signed for or put live, as a code and a sentence for people."""

from __future__ import annotations

from service.words import marked

SENTENCES = {
    "unknown": marked("There is no release of that id on the shelf here."),
    "other_release": marked("The report is not of exactly this release folder: its manifest or its graph has another hash. Run "
                            "commission on the folder that is to serve."),
    "no_statement": marked("A sign-off needs a name and a statement: who answers for it, and what was looked at."),
    "no_report": marked("No report of commissioning was handed in for this release as it is now. Run commission, then "
                        "`release report`."),
    "not_signed": marked("This site asks that a named person signs for a release before it goes live, and nobody accepted this one. "
                         "Commission it, then sign."),
    "declined": marked("The last word of the sign-off on this release was no. Somebody has to sign for it first."),
    "against_advice": marked("Commissioning ended in “do not go live here”. It goes live only against that advice, with a reason "
                             "that is kept and shown on the page of every result."),
    "already": marked("It does that already."),
    "is_live": marked("It is live. Put another version live or switch it off first."),
    "no_cases": marked("A release for whole departments scores no single case, and cannot be in shadow."),
    "nothing_before": marked("No release of this name was live here before."),
    "gone_before": marked("The release that was live before is not on the shelf any more, or its folder is another one now."),
    "changed_meanwhile": marked("Somebody else changed what serves here meanwhile. Look again, then repeat it."),
    "not_met": marked("Not everything that was required of a promotion is met."),
    "several": marked("Several releases of that name are in shadow: name one by its id."),
    "not_in_shadow": marked("It is not in shadow: there is nothing to compare."),
}


class ReleaseError(Exception):
    """Something that was asked of a release may not be; ``code`` is a key of SENTENCES."""

    def __init__(self, code: str) -> None:
        super().__init__(SENTENCES[code])
        self.code = code
