"""What a user is told when a request cannot be met."""

import codecs
import difflib
import re
from collections.abc import Iterable

FULL = ("No space left", "Disk quota exceeded", "StorageFull", "QuotaExceeded", "os error 28", "code: 28")
"""Of a disk that is full, as the operating system, safetensors and Arrow put it."""


def is_full(error: BaseException) -> bool:
    """Does the disk lack room? That is no trial's fault."""
    return any(word in str(error) for word in FULL)


def first_line(error: BaseException) -> str:
    """What an error says, else its kind."""
    said = getattr(error, "strerror", None) or str(error)
    return said.splitlines()[0] if said else type(error).__name__


def cause_of(error: BaseException) -> str:
    """An error's kind and first line."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".rstrip(": ")


def nobody(*told: object) -> None:
    """Hears nothing."""


MOST = 30
"""Words listed after a failed lookup."""


def visible(text: str) -> str:
    """Text in which control characters are shown and not obeyed, and bytes of a name that are no UTF-8, too."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in "\n\t" else ascii(sign)[1:-1] for sign in text)


SPELLED = {
    "≤": "<=", "×": "x", "→": "->", "–": "-", "−": "-", "±": "+-", "λ": "lambda", "τ": "tau", "α": "alpha", "µ": "u",
    "…": "...", "·": "|", "²": "2", "³": "3",
}  # fmt: skip
"""What is written for a sign by a terminal that does not have it."""


def spelled(error: UnicodeError) -> tuple[str, int]:
    """A codec's error handler: signs that a terminal does not have, by others."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(SPELLED.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


codecs.register_error("spelled", spelled)


def is_plain(name: str) -> bool:
    """Whether a name read from a file may be that of a file: no path, nothing hidden, nothing that cannot be shown."""
    return (
        name.isprintable() and not name.startswith((".", "~")) and not set(name) & set("/\\:") and 0 < len(name) < 200
    )


class Refusal(Exception):
    """A request that cannot be met: the rule, the value and the way out, in one or two sentences."""

    def __str__(self) -> str:
        return visible(super().__str__())


class Unknown(Refusal):
    """A lookup that failed."""


def listed(words: Iterable[object]) -> str:
    """`a, b, c`, or `nothing`."""
    return ", ".join(str(word) for word in words) or "nothing"


def natural(word: str) -> list[tuple[int, int | str]]:
    """By which names sort as people count: 2 before 10, search-9 before search-10."""
    parts = re.split(r"([0-9]+)", word)
    return [(0, int(part)) if part.isdecimal() and part.isascii() else (1, part) for part in parts if part]


def unknown(kind: str, word: str, words: Iterable[str]) -> Unknown:
    """A failed lookup: what there is, and the nearest of it."""
    words = sorted(words, key=natural)
    near = difflib.get_close_matches(word, words, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    more = f" and {len(words) - MOST} more" if len(words) > MOST else ""
    return Unknown(f"There is no {kind} '{word}'; there is {listed(words[:MOST])}{more}.{hint}")
