"""All that is written once tiles are embedded.

embeddings.h5 -> head or bank, in blocks -> predicted.h5ad, means.csv, maps/,
nearest*.csv, genes.csv, spots.json, measured-SLIDE.png, predicted.json
"""

import csv
import dataclasses
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

import pathjax
from pathjax.data.image_folder import read_image
from pathjax.data.study import Study
from pathjax.embeddings.features import FileRows
from pathjax.files import atomic_path, write_json
from pathjax.models.model_file import Model
from pathjax.predict import measured as beside
from pathjax.predict.annotated import read_columns, spatial_entry, write_annotated
from pathjax.predict.bank import Bank, person
from pathjax.predict.genes import POOR, UNKNOWN
from pathjax.predict.heads import Regression
from pathjax.predict.maps import draw_map, painted
from pathjax.predict.nearest import write_nearest_slides, write_nearest_tiles
from pathjax.predict.options import Options
from pathjax.predict.pictures import Picture, mosaic, of_study, shrunk
from pathjax.predict.slide_tiles import SlideTiles
from pathjax.predict.tiles import Input
from pathjax.report.figures import slug

BLOCK = 4096  # tiles in memory at once
MOST_PICTURES = 50  # slides whose picture goes into the file: up to 4 MB each
NOT_CLINICAL = "research only, not for clinical use"


@dataclasses.dataclass(frozen=True)
class Predicted:
    """What was written.

    Attributes:
      path: predicted.h5ad.
      tiles, genes: its form.
      audit: what has to be said of training patients among the input's.
      notes: whatever else has to be said.
      files: everything written.
    """

    path: Path
    tiles: int
    genes: int
    audit: str
    notes: list[str]
    files: list[Path]


@dataclasses.dataclass
class Outputs:
    """Writes everything into `out`."""

    model: Model
    given: Input
    options: Options
    out: Path
    head: Regression | Bank
    places: list[int]
    var: pd.DataFrame
    audit: str

    def write(self, obs: pd.DataFrame, which: str, notes: list[str]) -> Predicted:
        self.obs, self.files = obs, []
        self.people = np.array(
            [
                person(patient, slide)
                for patient, slide in zip(
                    obs["patient_id"], obs["slide_id"], strict=True
                )
            ],
            object,
        )
        self._trust(notes)
        path = self.out / "predicted.h5ad"
        slides = self._slides(notes)
        about = self._about(which, notes)
        write_annotated(
            path, self._values(), obs, self.var, spatial=slides, about=about
        )
        self.files.append(path)
        self._means()
        self._maps(path, notes)
        if isinstance(self.head, Bank):
            self._nearest()
        if self.options.measured:
            self._measured(path, notes)
        write_json(
            self.out / "predicted.json",
            {
                k: v if isinstance(v, str | int | list) else str(v)
                for k, v in (about | {"notes": notes}).items()
            },
        )
        return Predicted(path, len(obs), len(self.var), self.audit, notes, self.files)

    def _trust(self, notes: list[str]) -> None:
        """Says which genes are known to be predicted poorly, or that nobody knows."""
        trust = self.var["trust"]
        poor, unknown = self.var.index[trust == POOR], int((trust == UNKNOWN).sum())
        if len(poor):
            names = ", ".join(poor[:10]) + (", ..." if len(poor) > 10 else "")
            notes.append(f"{len(poor)} genes are poorly predicted (r < 0.2): {names}")
        if unknown:
            notes.append(
                f"how well {unknown} of {len(trust)} genes are predicted is unknown: "
                "measure it on held-out samples (--measured) and give its genes.csv "
                "by --validation"
            )

    # ------------------------------------------------------------------ values

    def _blocks(self) -> Iterator[tuple[np.ndarray, slice]]:
        with h5py.File(self.out / "embeddings.h5") as file:
            features = file["features"]
            for start in range(0, len(features), BLOCK):
                part = slice(start, min(start + BLOCK, len(features)))
                yield features[part], part

    def _values(self) -> Iterator[np.ndarray]:
        """Rows of X; sums of them by slide and by sample on the way."""
        self.sums = {}
        for level in ("slide_id", "sample_id"):
            codes, names = pd.factorize(self.obs[level])
            if level == "slide_id" or len(names) < len(self.obs):
                total = np.zeros((len(names), len(self.var)))
                self.sums[level] = (codes, names, total)
        for features, part in self._blocks():
            if isinstance(self.head, Bank):
                values = self.head(features, self.places, list(self.people[part]))
            else:
                values = self.head(features, self.places)
            for codes, _, total in self.sums.values():
                np.add.at(total, codes[part], values)
            yield values

    def _means(self) -> None:
        """means.csv: the mean over tiles of each slide, and of each sample."""
        path = self.out / "means.csv"
        with atomic_path(path) as partial, open(partial, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["level", "id", "tiles", *self.var.index])
            for level, (codes, names, total) in self.sums.items():
                count = np.bincount(codes, minlength=len(names))
                for name, n, row in zip(names, count, total, strict=True):
                    numbers = (f"{one:.6g}" for one in row / n)
                    writer.writerow([level.removesuffix("_id"), name, n, *numbers])
        self.files.append(path)

    def _about(self, which: str, notes: list[str]) -> dict[str, Any]:
        source = self.given.source
        return {
            "what": "expression predicted from images",
            "caution": NOT_CLINICAL,
            "unit": self.head.unit,
            "means": self.head.means,
            "method": "retrieval" if isinstance(self.head, Bank) else "regression",
            "model": which,
            "model_name": self.model.meta.get("name", ""),
            "objective": str(self.model.meta["objective"]),
            "trained_on": [
                f"{stage['study']} {stage['fingerprint'][:16]}"
                for stage in self.model.meta.get("audit") or []
            ],
            "audit": self.audit,
            "input": f"{source.kind} {source.name}",
            "input_fingerprint": source.fingerprint,
            "panel": list(self.model.meta["panel"]["genes"]),
            "notes": notes,
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "version": pathjax.__version__,
        }

    # ---------------------------------------------------------------- pictures

    def _slides(self, notes: list[str]) -> dict[str, Any]:
        """`uns["spatial"]`; keeps the pictures for the maps."""
        self.pictures: dict[str, Picture] = {}
        if not np.isfinite(self.obs[["x", "y", "side"]].to_numpy()).all():
            return {}
        groups = self.obs.groupby("slide_id", sort=False).indices
        if len(groups) > MOST_PICTURES:
            notes.append(
                f"pictures of {MOST_PICTURES} of {len(groups)} slides are kept"
            )
        out = {}
        for slide, inside in list(groups.items())[:MOST_PICTURES]:
            picture = self._picture(slide, inside)
            self.pictures[slide] = picture
            side = float(self.obs["side"].iloc[inside].median())
            out[slide] = spatial_entry(picture, side)
        return out

    def _picture(self, slide: str, inside: np.ndarray) -> Picture:
        study, source = self.given.study, self.given.source
        table = self.obs.iloc[inside]
        if study is None:
            if isinstance(source, SlideTiles):
                return shrunk(source.overview, source.path.name)
            tiles = (read_image(source.root / name) for name in table.index)
            return mosaic(tiles, table, table["side"].iloc[0])
        rows, mpp = source.rows[inside], self.given.level0[slide]
        return of_study(study, rows, table, mpp, self.options.pictures)

    def _note(self) -> str:
        return (
            f"{self.model.meta.get('name', '')}: predicted from the image, "
            f"{NOT_CLINICAL}. Audit: {self.audit}."
        )

    def _maps(self, path: Path, notes: list[str]) -> None:
        """maps/SLIDE-GENE.png for the genes that were named."""
        if self.options.genes is None or not self.pictures:
            return
        wanted = [(slide, at) for slide in self.pictures for at in range(len(self.var))]
        if len(wanted) > self.options.max_maps:
            notes.append(
                f"{self.options.max_maps} of {len(wanted)} maps are drawn (--max-maps)"
            )
        for slide, at in wanted[: self.options.max_maps]:
            inside = np.flatnonzero(self.obs["slide_id"] == slide)
            values = read_columns(path, [at])[inside, 0]
            places = self.obs.iloc[inside]
            gene, r = self.var.index[at], self.var["validation_r"].iloc[at]
            known = "unknown" if np.isnan(r) else f"{r:.2f}"
            picture = self.pictures[slide]
            x, y, side = (places[name].to_numpy() for name in ("x", "y", "side"))
            target = self.out / "maps" / f"{slug(slide)}-{slug(gene)}.png"
            draw_map(
                target,
                picture,
                painted(picture, x, y, side, values),
                values,
                title=f"{gene}, predicted, {slide} (held-out r: {known})",
                note=self._note(),
                unit=self.head.unit,
                level0_mpp=self.given.level0[slide],
            )
            self.files.append(target)

    # --------------------------------------------------------------- neighbours

    def _nearest(self) -> None:
        k, bank = self.options.nearest, self.head
        reports = Study(self.options.reference).reports()
        texts = dict(zip(reports["sample_id"], reports["text"], strict=True))
        slides, tiles = self.out / "nearest.csv", self.out / "nearest_tiles.csv"
        features = FileRows(self.out / "embeddings.h5")
        rows = np.arange(len(self.obs))
        write_nearest_slides(
            slides, bank, features, rows, self.obs, self.people, texts, k
        )
        write_nearest_tiles(tiles, bank, self._blocks(), self.obs, self.people, k)
        self.files += [slides, tiles]

    # ----------------------------------------------------------------- measured

    def _measured(self, path: Path, notes: list[str]) -> None:
        """genes.csv, and for spots spots.json and a picture of each slide."""
        study = self.given.study
        paired = beside.pair(study, self.obs)
        table = beside.compare(path, study, paired, list(self.var.index))
        target = self.out / "genes.csv"
        beside.write_genes(target, table)
        self.files.append(target)
        for slide, rows in table.groupby("slide"):
            known = rows["r"].dropna()
            notes.append(
                f"{slide}: mean r {known.mean():.3f} over {len(known)} genes, "
                f"{rows['n'].iloc[0]} samples"
            )
        if not paired.spots:
            return
        kept = {}
        for slide in sorted(set(paired.group)):
            best, worst = beside.extremes(table, slide)
            named = list(self.var.index) if self.options.genes else []
            kept[slide] = list(dict.fromkeys([*named[:50], *best, *worst]))
            if slide in self.pictures:
                self._beside(path, paired, table, slide, [*best, *worst])
        unit = study.expression().uns.get("pathjax", {}).get("x", "")
        beside.write_spots(
            self.out / "spots.json",
            path,
            study,
            paired,
            self.obs,
            kept,
            {"measured": str(unit), "predicted": self.head.unit},
        )
        self.files.append(self.out / "spots.json")

    def _beside(self, path: Path, paired, table, slide: str, genes: list[str]) -> None:
        from pathjax.data.expression import select

        inside = np.flatnonzero(paired.group == slide)
        ids = [paired.samples[one] for one in inside]
        tiles = paired.tile[inside]
        true = select(self.given.study.expression(), ids, genes)
        columns = list(self.var.index.get_indexer(genes))
        made = read_columns(path, columns)[tiles]
        rows = table[table["slide"] == slide].set_index("gene")
        target = self.out / f"measured-{slug(slide)}.png"
        beside.draw_measured(
            target,
            self.pictures[slide],
            self.obs.iloc[tiles],
            {gene: (true[:, at], made[:, at]) for at, gene in enumerate(genes)},
            rows["r"].to_dict(),
            title=f"{slide}: {len(ids)} spots. Left: best predicted genes, right: "
            f"worst, of {len(self.var)}",
            note=f"Colours: {self.head.unit}, each map over its own 1st to 99th "
            "percentile. Genes were chosen by the r shown, which describes and does "
            f"not test. Audit: {self.audit}.",
            level0_mpp=self.given.level0[slide],
        )
        self.files.append(target)
