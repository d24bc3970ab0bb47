"""The picture of embeddings in the plane, with the figure and the data beside it.

    places, labels, Purity -> draw -> FILE.png, FILE.csv (x, y, label, id), FILE.json

Colours are Okabe & Ito's with a marker shape each, so that no class is told by colour
alone; numbers have one scale of lightness.
"""

import csv
import dataclasses
import io
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from pathjax.files import atomic_path, write_json, write_text
from pathjax.modalities.projection import Purity
from pathjax.report.style import PALETTE, plain

MARKERS = "os^DvPX*<>p"
NAMES = {"tsne": "t-SNE", "umap": "UMAP"}
UNKNOWN = "(none)"


@dataclasses.dataclass(frozen=True)
class Picture:
    """What is shown.

    Attributes:
      title: of what, by what.
      method: "tsne" or "umap".
      places: `[n, 2]`.
      labels: class names or values; None or NaN where not known.
      ids: of the rows.
      embedding, plane: purity in the embedding and in the picture, or None where no
        two classes are known.
      about: for the record, JSON values.
      note: a line under the picture.
    """

    title: str
    method: str
    places: Float[np.ndarray, "n 2"]
    labels: np.ndarray
    ids: np.ndarray
    embedding: Purity | None
    plane: Purity | None
    about: dict[str, Any]
    note: str = ""

    @property
    def numbers(self) -> bool:
        return np.issubdtype(self.labels.dtype, np.floating)


def style(number: int) -> tuple[str, str]:
    """Colour and marker of a class; no two of the first 77 share both."""
    turn = number // len(PALETTE)
    return PALETTE[number % len(PALETTE)], MARKERS[(number + turn) % len(MARKERS)]


def told(picture: Picture) -> str:
    """The figure beside the picture, in words."""
    if picture.embedding is None:
        return ""
    one, two = picture.embedding, picture.plane
    what = "r with the neighbours' mean" if picture.numbers else "k-NN purity"
    mine = ", of other patients" if one.other_patients else ""
    return (
        f"{what} ({one.k} nearest{mine}): {one.value:.2f} in the embedding, "
        f"{two.value:.2f} here; chance {one.chance:.2f}"
    )


def write(picture: Picture, path: Path) -> list[Path]:
    """Writes the picture, its data and its record; returns the three paths."""
    path = Path(path)
    _draw(picture, path)
    known = _known(picture)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["x", "y", "label", "id"])
    for place, label, has, one in zip(
        picture.places, picture.labels, known, picture.ids, strict=True
    ):
        shown = label if has else "" if picture.numbers else UNKNOWN
        table.writerow([f"{place[0]:.4f}", f"{place[1]:.4f}", shown, one])
    write_text(path.with_suffix(".csv"), text.getvalue())
    record = {
        "title": picture.title,
        "method": picture.method,
        "rows": len(picture.ids),
        "labelled": int(known.sum()),
        **{
            name: dataclasses.asdict(one)
            for name, one in (
                ("embedding", picture.embedding),
                ("plane", picture.plane),
            )
            if one is not None
        },
        **picture.about,
    }
    write_json(path.with_suffix(".json"), record)
    return [path, path.with_suffix(".csv"), path.with_suffix(".json")]


def _known(picture: Picture) -> np.ndarray:
    if picture.numbers:
        return np.isfinite(picture.labels)
    return np.array([one is not None for one in picture.labels])


def _draw(picture: Picture, path: Path) -> None:
    figure = Figure(figsize=(7.2, 5.4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    known = _known(picture)
    size = float(np.clip(6000 / len(known), 3, 30))
    x, y = picture.places.T
    axes.scatter(
        *(x[~known], y[~known]), s=size / 2, color="lightgrey", marker=".", zorder=1
    )
    if picture.numbers:
        shown = axes.scatter(
            *(x[known], y[known]), s=size, c=picture.labels[known], cmap="cividis"
        )
        figure.colorbar(shown, ax=axes, shrink=0.7)
    else:
        names = sorted(set(picture.labels[known]))
        for number, name in enumerate(names):
            colour, marker = style(number)
            own = picture.labels == name
            axes.scatter(
                *(x[own], y[own]),
                s=size,
                color=colour,
                marker=marker,
                linewidths=0,
                alpha=0.8,
                label=plain(f"{name} (n = {int(own.sum())})"),
                zorder=2,
            )
        if not known.all():
            axes.scatter(
                [], [], color="lightgrey", label=f"{UNKNOWN} (n = {(~known).sum()})"
            )
        figure.legend(
            loc="outside right upper", fontsize=8, markerscale=max(1.0, 4 / size**0.5)
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_title(plain(f"{NAMES[picture.method]}: {picture.title}"), fontsize=10)
    lines = [
        line
        for one in (told(picture), picture.note)
        if one
        for line in textwrap.wrap(one, 110)
    ]
    axes.set_xlabel(plain("\n".join(lines)), fontsize=8)
    with atomic_path(path) as partial:
        figure.savefig(partial, bbox_inches="tight")
