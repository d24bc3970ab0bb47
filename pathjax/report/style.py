"""Names and looks that all figures of report, predict and modalities share.

It draws no figure. Figures are made without pyplot, so that none is shown, kept open
or shared between threads.
"""

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from pathjax.files import atomic_path

# Okabe & Ito 2008, "Color Universal Design": distinct to colour-blind readers. Marker
# or side always repeats what a colour says.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
BETTER, WORSE = PALETTE[0], PALETTE[1]
MARKERS = "os^DvPX*<>p"


def style(number: int) -> tuple[str, str]:
    """Colour and marker of a series; no two of the first 77 share both."""
    turn = number // len(PALETTE)
    return PALETTE[number % len(PALETTE)], MARKERS[(number + turn) % len(MARKERS)]


def plain(text: str) -> str:
    """Text that matplotlib shows as it is: `$` would start a formula."""
    return text.replace("$", r"\$")


def folded(text: str, width: int) -> str:
    """Text in lines of at most `width` letters."""
    return plain("\n".join(textwrap.wrap(text, width)))


def wrapped(notes: Sequence[str], inches: float) -> list[str]:
    """Notes in lines that fit a figure of that width at 7 points."""
    lines = [line for note in notes for line in textwrap.wrap(note, int(inches * 19))]
    return [plain(line) for line in lines]


def slug(name: str) -> str:
    """A file name for a task, gene or slide."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "task"


def save(figure: Figure, path: str | Path, *, tight: bool = True) -> None:
    """Writes a figure atomically; `tight` trims the margins."""
    with atomic_path(Path(path)) as partial:
        figure.savefig(partial, bbox_inches="tight" if tight else None)
