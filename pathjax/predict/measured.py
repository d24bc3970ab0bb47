"""Predicted beside measured: r of each gene within a slide, spots and a picture.

    predicted.h5ad + the study's expression -> genes.csv, spots.json, measured.png

For a study whose samples have expression. Where each sample is one tile (spots), r is
taken within each slide, so that a difference between slides is not counted as skill;
else over all samples, each the mean of its tiles. The genes drawn are those of highest
and lowest r on the very data shown: that choice describes, it does not test.
"""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure

from pathjax.data.expression import select
from pathjax.data.study import Study, StudyError
from pathjax.files import atomic_path, write_json
from pathjax.predict.annotated import read_columns
from pathjax.predict.maps import draw_panel, painted, span
from pathjax.predict.pictures import Picture
from pathjax.report.figures import folded, plain

GENES_AT_ONCE = 256
COLUMNS = ("gene", "slide", "n", "r", "measured_mean", "measured_sd", "predicted_sd")


@dataclasses.dataclass(frozen=True)
class Paired:
    """Samples with both values.

    Attributes:
      group: `[n]` slide of each, or "all" where samples have several tiles.
      tile: `[n]` row of the sample's tile; -1 where it has several.
      of: `[tiles]` sample of each tile, -1 for tiles whose sample was not measured.
      samples: ids.
    """

    group: np.ndarray
    tile: np.ndarray
    of: np.ndarray
    samples: list[str]

    @property
    def spots(self) -> bool:
        return bool((self.tile >= 0).all())


def pair(study: Study, obs: pd.DataFrame) -> Paired:
    """Which samples have tiles and expression.

    Raises:
      StudyError: none has.
    """
    there = set(study.expression().obs_names)
    samples = [one for one in obs["sample_id"].unique() if one in there]
    if not samples:
        raise StudyError(
            f"no sample of {study.name} among these tiles has expression: nothing is "
            "measured there"
        )
    of = pd.Index(samples).get_indexer(obs["sample_id"])
    count = np.bincount(of[of >= 0], minlength=len(samples))
    if (count == 1).all():
        tile = np.empty(len(samples), int)
        tile[of[of >= 0]] = np.flatnonzero(of >= 0)
        return Paired(obs["slide_id"].to_numpy()[tile], tile, of, samples)
    tile = np.full(len(samples), -1)
    return Paired(np.full(len(samples), "all", object), tile, of, samples)


def pearson(
    a: Float[np.ndarray, "n g"], b: Float[np.ndarray, "n g"]
) -> Float[np.ndarray, "g"]:
    """Pearson's r of each column; NaN where either is constant."""
    a = np.asarray(a, np.float64) - np.mean(a, axis=0, dtype=np.float64)
    b = np.asarray(b, np.float64) - np.mean(b, axis=0, dtype=np.float64)
    norm = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(norm > 0, (a * b).sum(0) / norm, np.nan)


def compare(path: Path, study: Study, paired: Paired, genes: list[str]) -> pd.DataFrame:
    """Rows of genes.csv: `COLUMNS`, a row per gene and slide; `path` is the h5ad."""
    expression = study.expression()
    rows = []
    for start in range(0, len(genes), GENES_AT_ONCE):
        names = genes[start : start + GENES_AT_ONCE]
        measured = select(expression, paired.samples, names)
        columns = list(range(start, start + len(names)))
        predicted = by_sample(read_columns(path, columns), paired)
        for slide in sorted(set(paired.group)):
            inside = paired.group == slide
            a, b = measured[inside], predicted[inside]
            numbers = zip(
                names, pearson(a, b), a.mean(0), a.std(0), b.std(0), strict=True
            )
            rows += [(name, slide, int(inside.sum()), *rest) for name, *rest in numbers]
    return pd.DataFrame(rows, columns=COLUMNS)


def by_sample(
    predicted: Float[np.ndarray, "tiles g"], paired: Paired
) -> Float[np.ndarray, "n g"]:
    """Each sample's prediction: of its tile, or the mean over its tiles."""
    known = paired.of >= 0
    total = np.zeros((len(paired.samples), predicted.shape[1]))
    np.add.at(total, paired.of[known], predicted[known])
    count = np.bincount(paired.of[known], minlength=len(paired.samples))
    return total / count[:, None]


def write_genes(path: Path, table: pd.DataFrame) -> None:
    """genes.csv; a gene that is constant has no r."""
    with atomic_path(path) as partial, open(partial, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for gene, slide, n, *numbers in table.itertuples(index=False):
            told = ("" if np.isnan(one) else f"{one:.6g}" for one in numbers)
            writer.writerow([gene, slide, n, *told])


def extremes(table: pd.DataFrame, slide: str, count: int = 5) -> tuple[list, list]:
    """Genes of highest r, best first, and of lowest, worst first, on one slide."""
    rows = table[(table["slide"] == slide) & table["r"].notna()]
    order = rows.sort_values(["r", "gene"], ascending=[False, True])["gene"].tolist()
    count = min(count, len(order) // 2)
    return order[:count], order[::-1][:count]


def write_spots(
    path: Path,
    h5ad: Path,
    study: Study,
    paired: Paired,
    obs: pd.DataFrame,
    genes: dict[str, list[str]],
    unit: dict[str, str],
) -> None:
    """spots.json: for each slide x and y of its spots, and per gene both values.

    Args:
      path: of the file.
      h5ad: the predictions.
      study, paired, obs: the spots.
      genes: slide to the genes that are kept.
      unit: of "measured" and "predicted".
    """
    slides = {}
    var = pd.Index(_names(h5ad))
    for slide, names in genes.items():
        inside = np.flatnonzero(paired.group == slide)
        tiles = paired.tile[inside]
        ids = [paired.samples[one] for one in inside]
        measured = select(study.expression(), ids, names)
        predicted = read_columns(h5ad, list(var.get_indexer(names)))[tiles]
        slides[slide] = {
            "sample": ids,
            "x": obs["x"].to_numpy()[tiles].round(1).tolist(),
            "y": obs["y"].to_numpy()[tiles].round(1).tolist(),
            "genes": {
                name: {
                    "measured": measured[:, at].round(4).tolist(),
                    "predicted": predicted[:, at].round(4).tolist(),
                }
                for at, name in enumerate(names)
            },
        }
    write_json(path, {"unit": unit, "slides": slides})


def _names(h5ad: Path) -> list[str]:
    import anndata

    table = anndata.read_h5ad(h5ad, backed="r")
    try:
        return list(table.var_names)
    finally:
        table.file.close()


def draw_measured(
    path: Path,
    picture: Picture,
    places: pd.DataFrame,
    values: dict[str, tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]],
    r: dict[str, float],
    *,
    title: str,
    note: str,
    level0_mpp: float,
) -> None:
    """A row per gene: measured on the left, predicted on the right, each in its range.

    Args:
      path: of the PNG.
      picture: of the slide.
      places: `x`, `y` and `side` of the spots.
      values: gene to measured and predicted, in the order drawn: two columns of genes,
        the first half of them on the left.
      r: gene to Pearson r.
      title, note: above and below.
      level0_mpp: of the slide.
    """
    half = -(-len(values) // 2)
    figure = Figure(figsize=(11, 2.3 * half + 0.8), dpi=130, layout="constrained")
    panels = figure.subplots(half, 4, squeeze=False)
    for axes in panels.flat:
        axes.axis("off")
    x, y, side = (places[name].to_numpy() for name in ("x", "y", "side"))
    for place, (gene, both) in enumerate(values.items()):
        row, left = place % half, 2 * (place // half)
        labels = ("measured", f"predicted, r = {r[gene]:.2f}")
        for axes, data, label in zip(
            panels[row, left : left + 2], both, labels, strict=True
        ):
            axes.axis("on")
            draw_panel(
                axes,
                picture,
                painted(picture, x, y, side, data),
                span(data),
                title=plain(f"{gene}, {label}"),
                unit="",
                level0_mpp=level0_mpp,
            )
    figure.suptitle(plain(title), fontsize=10)
    figure.supxlabel(folded(note, 190), fontsize=7)
    with atomic_path(path) as partial:
        figure.savefig(partial)
