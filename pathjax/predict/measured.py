"""Predicted beside measured: r of each gene within a slide, spots and a picture.

    predicted.h5ad + the study's expression -> genes.csv, spots.json, measured.png

For a study whose samples have expression. Where each sample is one tile (spots), r is
taken within each slide, so that a difference between slides is not counted as skill;
else over all samples, each the mean of its tiles. The genes drawn have the highest and
lowest r on the data shown: that choice describes, it does not test.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure

from pathjax.data.expression import select
from pathjax.data.measured import patterns
from pathjax.data.study import Study, StudyError
from pathjax.embeddings.embedding_file import ROWS_AT_ONCE
from pathjax.files import write_csv, write_json
from pathjax.predict.annotated import read_columns, read_names
from pathjax.predict.maps import Picture, draw_panel, painted, span
from pathjax.predict.tiles import Input
from pathjax.report.style import folded, plain, save, slug

GENES_AT_ONCE = 256
COLUMNS = ("gene", "slide", "n", "r", "measured_mean", "measured_sd", "predicted_sd")


@dataclasses.dataclass(frozen=True)
class Paired:
    """Samples with both values.

    Attributes:
      group: `[n]` slide of each, or "all" where samples have several tiles.
      tile: `[n]` row of the sample's tile; -1 where it has several.
      of: `[tiles]` sample of each tile, -1 for tiles whose sample was not measured.
      samples: Ids.
    """

    group: np.ndarray
    tile: np.ndarray
    of: np.ndarray
    samples: list[str]

    @property
    def spots(self) -> bool:
        return bool((self.tile >= 0).all())


def pair(given: Input) -> Paired:
    """The samples of a study that have tiles and expression.

    Raises:
      StudyError: There are none.
    """
    study, runs = given.study, given.runs
    measured = set(study.expression().obs_names)
    samples = [sample for sample in runs["sample_id"].unique() if sample in measured]
    if not samples:
        raise StudyError(
            f"none of these tiles' samples of {study.name} has expression to compare with"
        )
    of_run = pd.Index(samples).get_indexer(runs["sample_id"])
    of = np.repeat(of_run, runs["tiles"])
    count = np.bincount(of[of >= 0], minlength=len(samples))
    tile = np.full(len(samples), -1)
    if (count > 1).any():
        return Paired(np.full(len(samples), "all", object), tile, of, samples)
    tile[of[of >= 0]] = np.flatnonzero(of >= 0)
    return Paired(runs["slide_id"].to_numpy()[given.run_of(tile)], tile, of, samples)


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
        measured = select(expression, paired.samples, names, unmeasured=np.nan)
        columns = list(range(start, start + len(names)))
        predicted = by_sample(path, columns, paired)
        for slide in sorted(set(paired.group)):
            inside = paired.group == slide
            # Genes that some of these samples were not measured for.
            for known, own in patterns(~np.isnan(measured[inside])):
                if not known.any():
                    continue
                a, b = (part[inside][known][:, own] for part in (measured, predicted))
                numbers = (pearson(a, b), a.mean(0), a.std(0), b.std(0))
                rows += [
                    (names[gene], slide, len(a), *rest)
                    for gene, *rest in zip(own, *numbers, strict=True)
                ]
    return pd.DataFrame(rows, columns=COLUMNS)


def by_sample(
    path: Path, columns: list[int], paired: Paired
) -> Float[np.ndarray, "n g"]:
    """Each sample's prediction of some genes: of its tile, or the mean over its tiles."""
    total = np.zeros((len(paired.samples), len(columns)))
    known = np.flatnonzero(paired.of >= 0)
    for start in range(0, len(known), ROWS_AT_ONCE):
        tiles = known[start : start + ROWS_AT_ONCE]
        np.add.at(total, paired.of[tiles], read_columns(path, columns, tiles))
    count = np.bincount(paired.of[known], minlength=len(paired.samples))
    return total / count[:, None]


def extremes(table: pd.DataFrame, slide: str, count: int = 5) -> tuple[list, list]:
    """Genes of highest r, best first, and of lowest, worst first, on one slide."""
    rows = table[(table["slide"] == slide) & table["r"].notna()]
    order = rows.sort_values(["r", "gene"], ascending=[False, True])["gene"].tolist()
    count = min(count, len(order) // 2)
    return order[:count], order[::-1][:count]


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
      path: Of the PNG.
      picture: Of the slide.
      places: `x`, `y` and `side` of the spots.
      values: Gene to measured and predicted, in the order drawn: two columns of genes,
        the first half of them on the left.
      r: Gene to Pearson r.
      title, note: Above and below.
      level0_mpp: Of the slide.
    """
    half = -(-len(values) // 2)
    figure = Figure(figsize=(11, 2.3 * half + 0.8), dpi=130, layout="constrained")
    panels = figure.subplots(half, 4, squeeze=False)
    for axes in panels.flat:
        axes.axis("off")
    where = [places[name].to_numpy() for name in ("x", "y", "side")]
    for number, (gene, both) in enumerate(values.items()):
        row, left = number % half, 2 * (number // half)
        labels = ("measured", f"predicted, r = {r[gene]:.2f}")
        pairs = panels[row, left : left + 2]
        for axes, data, label in zip(pairs, both, labels, strict=True):
            axes.axis("on")
            raster = painted(picture, *where, data)
            shown = {"title": plain(f"{gene}, {label}"), "level0_mpp": level0_mpp}
            draw_panel(axes, picture, raster, span(data), unit="", **shown)
    figure.suptitle(plain(title), fontsize=10)
    figure.supxlabel(folded(note, 190), fontsize=7)
    save(figure, path, tight=False)


def write_measured(
    out: Path,
    given: Input,
    pictures: dict[str, Picture],
    *,
    unit: str,
    audit: str,
    named: list[str],
    notes: list[str],
) -> list[Path]:
    """Compares OUT/predicted.h5ad with the study; returns the paths written.

    genes.csv, and for spots also spots.json and a picture of each slide. Appends the
    mean r of each slide to `notes`.

    Args:
      out: Folder of the prediction.
      given: A study with expression.
      pictures: By slide.
      unit, audit: Of the prediction, for captions.
      named: Genes to keep in spots.json besides the best and worst.
      notes: For the user.
    """
    h5ad = out / "predicted.h5ad"
    study, paired = given.study, pair(given)
    var = pd.Index(read_names(h5ad))
    table = compare(h5ad, study, paired, list(var))
    lines = (
        [*row[:3], *("" if np.isnan(value) else f"{value:.6g}" for value in row[3:])]
        for row in table.itertuples(index=False)
    )
    paths = [out / "genes.csv"]
    write_csv(paths[0], COLUMNS, lines)
    slides = {}
    without = sorted(set(paired.group) - set(table["slide"]))
    notes += [f"{slide}: no predicted gene was measured" for slide in without]
    for slide, rows in table.groupby("slide"):
        known = rows["r"].dropna()
        notes.append(
            f"{slide}: mean r {known.mean():.3f} over {len(known)} genes, "
            f"{rows['n'].iloc[0]} samples"
        )
        if not paired.spots:
            continue
        best, worst = extremes(table, slide)
        drawn = [*best, *worst]
        own = set(rows["gene"])  # those measured on this slide
        kept = [gene for gene in dict.fromkeys([*named[:50], *drawn]) if gene in own]
        inside = np.flatnonzero(paired.group == slide)
        tiles, ids = paired.tile[inside], [paired.samples[i] for i in inside]
        measured = select(study.expression(), ids, kept, unmeasured=np.nan)
        predicted = read_columns(h5ad, list(var.get_indexer(kept)), tiles)
        both = {
            gene: (measured[:, at], predicted[:, at]) for at, gene in enumerate(kept)
        }
        places, kinds = given.table(tiles), ("measured", "predicted")
        slides[slide] = {
            "sample": ids,
            **{k: places[k].round(1).tolist() for k in ("x", "y")},
            "genes": {
                gene: {k: v.round(4).tolist() for k, v in zip(kinds, pair, strict=True)}
                for gene, pair in both.items()
            },
        }
        if slide in pictures:
            paths.append(out / f"measured-{slug(slide)}.png")
            draw_measured(
                paths[-1],
                pictures[slide],
                places,
                {gene: both[gene] for gene in drawn},
                rows.set_index("gene")["r"].to_dict(),
                title=f"{slide}: {len(ids)} spots. Left: best predicted genes, right: "
                f"worst, of {len(var)}",
                note=f"Colours: {unit}, each map over its own 1st to 99th percentile. "
                "Genes were chosen by the r shown, which describes and does not test. "
                f"Audit: {audit}.",
                level0_mpp=places["level0"].iloc[-1],
            )
    if paired.spots:
        paths.append(out / "spots.json")
        own = str(study.expression().uns.get("pathjax", {}).get("x", ""))
        units = {"measured": own, "predicted": unit}
        write_json(paths[-1], {"unit": units, "slides": slides})
    return paths
