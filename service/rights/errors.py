"""What stands in the way of somebody's right, as a word a program can act on and a sentence that names nobody."""

from __future__ import annotations

from typing import Literal

from service.words import marked

Code = Literal["nobody", "ambiguous", "held", "busy"]
SENTENCES: dict[Code, str] = {
    "nobody": marked("Nothing is held under this identifier. See that the number and who gave it are right."),
    "ambiguous": marked(
        "This identifier stands in the data of more than one national identity. Use the INS, or the identifier with who gave it."),
    "held": marked("A legal hold stands: nothing is erased until it is released."),
    "busy": marked("Something of this person is being scored or sent at this moment. Try again in a minute."),
}


class RightsError(Exception):
    """A right cannot be served now; nothing was done, or what was done is told."""

    def __init__(self, code: Code) -> None:
        super().__init__(SENTENCES[code])
        self.code: Code = code
