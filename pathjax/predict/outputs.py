"""Everything that is written once tiles are embedded.

embeddings.h5 -> head or bank, in blocks -> predicted.h5ad, means.csv, maps/,
nearest*.csv, genes.csv, spots.json, measured-SLIDE.png, predicted.json
"""

import dataclasses
import itertools
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import pathjax
from pathjax.data.study import Study
from pathjax.data.tile_source import read_image
from pathjax.embeddings.embedding_file import FileRows
from pathjax.files import command_line, write_csv, write_json
from pathjax.models.model_file import Model
from pathjax.predict.annotated import read_columns, spatial_entry, write_annotated
from pathjax.predict.bank import Bank, person
from pathjax.predict.genes import POOR, UNKNOWN
from pathjax.predict.heads import Regression
from pathjax.predict.maps import Picture, draw_map, mosaic, of_study, painted, shrunk
from pathjax.predict.measured import write_measured
from pathjax.predict.options import Options
from pathjax.predict.slide_tiles import SlideTiles
from pathjax.predict.tiles import Input
from pathjax.report.style import slug

BLOCK = 4096  # tiles in memory at once
MOST_PICTURES = 50  # slides whose picture goes into the file: up to 4 MB each
NOT_CLINICAL = "research only, not for clinical use"
NEAREST = ("query", "rank", "similarity", "by", "sample", "patient")


@dataclasses.dataclass(frozen=True)
class Predicted:
    """What was written.

    Attributes:
      path: predicted.h5ad.
      tiles, genes: Its shape.
      audit: Overlap of the input's patients with the training patients, in words.
      notes: Further remarks for the user.
      files: Everything written.
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
    shared: set[str]

    def write(self, which: str, notes: list[str]) -> Predicted:
        """Writes all files; `which` identifies the model."""
        self.files: list[Path] = []
        runs = self.given.runs
        whose = list(zip(runs["patient_id"], runs["slide_id"], strict=True))
        self.people = np.array([person(*ids) for ids in whose], object)  # of each run
        self.features = FileRows(self.out / "embeddings.h5")
        self._trust(notes)
        path = self.out / "predicted.h5ad"
        spatial, about = self._slides(notes), self._about(which, notes)
        columns = ("sample_id", "patient_id", "slide_id")
        write_annotated(
            path,
            self._values(),
            self._obs(),
            self.var,
            count=len(self.given),
            texts={name: runs[name].unique() for name in columns}
            | {"site": self.given.ids["site"].unique()},
            spatial=spatial,
            about=about,
        )
        self.files.append(path)
        self._means()
        self._maps(path, notes)
        if isinstance(self.head, Bank):
            self._nearest()
        if self.options.measured:
            self.files += write_measured(
                self.out,
                self.given,
                self.pictures,
                unit=self.head.unit,
                audit=self.audit,
                named=list(self.var.index) if self.options.genes else [],
                notes=notes,
            )
        record = {
            key: value if isinstance(value, str | int | list) else str(value)
            for key, value in (about | {"notes": notes}).items()
        }
        write_json(self.out / "predicted.json", record)
        count = len(self.given), len(self.var)
        return Predicted(path, *count, self.audit, notes, self.files)

    def _trust(self, notes: list[str]) -> None:
        """Notes which genes are predicted poorly, or that this is unknown."""
        trust = self.var["trust"]
        poor, unknown = self.var.index[trust == POOR], int((trust == UNKNOWN).sum())
        if len(poor):
            names = ", ".join(poor[:10]) + (", ..." if len(poor) > 10 else "")
            notes.append(f"{len(poor)} genes are poorly predicted (r < 0.2): {names}")
        if unknown and self.options.measured:
            notes.append(
                f"predicted.h5ad has trust {UNKNOWN!r} for {unknown} of {len(trust)} "
                "genes; their r on these samples is in genes.csv. If no model saw these "
                "samples, pass it with --validation to later predictions"
            )
        elif unknown:
            notes.append(
                f"how well {unknown} of {len(trust)} genes are predicted is unknown: "
                "measure it on held-out samples (--measured) and pass its genes.csv "
                "with --validation"
            )

    def _obs(self) -> Iterator[pd.DataFrame]:
        """Tables of the tiles, some at a time."""
        patients = self.given.runs["patient_id"]
        trained = [
            patient in self.shared or one in self.shared
            for patient, one in zip(patients, self.people, strict=True)
        ]
        for tiles in self.given.parts():
            table = self.given.table(tiles).set_index("tile_id").drop(columns="level0")
            runs = self.given.run_of(tiles)
            yield table.rename_axis(None).assign(in_training=np.array(trained)[runs])

    def _blocks(self, tiles: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Some tiles' features and the stretch of each tile, a block at a time."""
        for start in range(0, len(tiles), BLOCK):
            part = tiles[start : start + BLOCK]
            yield self.features[part], self.given.run_of(part)

    def _values(self) -> Iterator[np.ndarray]:
        """Rows of X; also sums them by slide and by sample."""
        self.sums = {}
        for level in ("slide_id", "sample_id"):
            codes, names = pd.factorize(self.given.runs[level])
            if level == "slide_id" or len(names) < len(self.given):
                total = np.zeros((len(names), len(self.var)))
                self.sums[level] = (codes, names, total)
        for tiles in self.given.parts():
            for features, runs in self._blocks(tiles):
                if isinstance(self.head, Bank):
                    people = list(self.people[runs])
                    values = self.head(features, self.places, people)
                else:
                    values = self.head(features, self.places)
                for codes, _, total in self.sums.values():
                    np.add.at(total, codes[runs], values)
                yield values

    def _means(self) -> None:
        """means.csv: the mean over tiles of each slide, and of each sample."""
        lines = []
        for level, (codes, names, total) in self.sums.items():
            count = np.bincount(codes, self.given.runs["tiles"]).astype(int)
            for name, n, row in zip(names, count, total, strict=True):
                numbers = (f"{mean:.6g}" for mean in row / n)
                lines.append([level.removesuffix("_id"), name, n, *numbers])
        path = self.out / "means.csv"
        write_csv(path, ["level", "id", "tiles", *self.var.index], lines)
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
            "command": command_line(),
            "version": pathjax.__version__,
        }

    def _slides(self, notes: list[str]) -> dict[str, Any]:
        """`uns["spatial"]`; keeps the pictures for the maps."""
        self.pictures: dict[str, Picture] = {}
        slides = self._runs_of_slides(sort=False)
        if len(slides) > MOST_PICTURES:
            kept = f"{MOST_PICTURES} of {len(slides)}"
            notes.append(f"pictures of {kept} slides are kept")
        out = {}
        for slide, runs in list(slides.items())[:MOST_PICTURES]:
            tiles = self.given.of_runs(runs)
            table = self.given.table(tiles)
            if not np.isfinite(table[["x", "y", "side"]].to_numpy()).all():
                continue
            self.pictures[slide] = picture = self._picture(tiles, table)
            out[slide] = spatial_entry(picture, float(table["side"].median()))
        return out

    def _runs_of_slides(self, sort: bool) -> dict[str, np.ndarray]:
        return self.given.runs.groupby("slide_id", sort=sort).indices

    def _picture(self, tiles: np.ndarray, table: pd.DataFrame) -> Picture:
        """Of one slide, all of its tiles given."""
        study, source = self.given.study, self.given.source
        if study is not None:
            rows, mpp = source.rows.take(tiles), table["level0"].iloc[-1]
            return of_study(study, rows, table, mpp, self.options.pictures)
        if isinstance(source, SlideTiles):
            return shrunk(source.overview, source.path.name)
        images = (read_image(source.root / name) for name in table["tile_id"])
        return mosaic(images, table, table["side"].iloc[0])

    def _maps(self, path: Path, notes: list[str]) -> None:
        """maps/SLIDE-GENE.png for the genes that were named."""
        if self.options.genes is None or not self.pictures:
            return
        maps = [(slide, at) for slide in self.pictures for at in range(len(self.var))]
        most, slides = self.options.max_maps, self._runs_of_slides(sort=False)
        if len(maps) > most:
            notes.append(f"{most} of {len(maps)} maps are drawn (--max-maps)")
        for slide, own in itertools.groupby(maps[:most], operator.itemgetter(0)):
            tiles = self.given.of_runs(slides[slide])
            table = self.given.table(tiles)
            where = table[["x", "y", "side"]].to_numpy().T
            columns = [at for _, at in own]
            each = read_columns(path, columns, tiles).T
            for at, values in zip(columns, each, strict=True):
                gene, r = self.var.index[at], self.var["validation_r"].iloc[at]
                known = "unknown" if np.isnan(r) else f"{r:.2f}"
                picture = self.pictures[slide]
                target = self.out / "maps" / f"{slug(slide)}-{slug(gene)}.png"
                draw_map(
                    target,
                    picture,
                    painted(picture, *where, values),
                    values,
                    title=f"{gene}, predicted, {slide} (held-out r: {known})",
                    note=f"{self.model.meta.get('name', '')}: predicted from the image, "
                    f"{NOT_CLINICAL}. Audit: {self.audit}.",
                    unit=self.head.unit,
                    level0_mpp=table["level0"].iloc[-1],
                )
                self.files.append(target)

    def _nearest(self) -> None:
        """nearest.csv and nearest_tiles.csv: reference samples nearest to each query.

        A slide is all its tiles, aggregated as in training. A report is that of the
        retrieved sample; the query's own report is never read.
        """
        bank, given = self.head, self.given
        reports = Study(self.options.reference).reports()
        texts = dict(zip(reports["sample_id"], reports["text"], strict=True))

        def slides():
            for slide, runs in self._runs_of_slides(sort=True).items():
                z = bank.pooled(self.features[given.of_runs(runs)])
                for line in self._neighbours(z, [slide], self.people[runs[:1]]):
                    yield [*line, texts.get(line[4], "")]

        def tiles():
            for part in given.parts():
                ids = iter(given.table(part)["tile_id"])
                for features, runs in self._blocks(part):
                    own = list(itertools.islice(ids, len(features)))
                    z = bank.image(features)
                    yield from self._neighbours(z, own, self.people[runs])

        paths = [self.out / name for name in ("nearest.csv", "nearest_tiles.csv")]
        write_csv(paths[0], [*NEAREST, "report"], slides())
        write_csv(paths[1], NEAREST, tiles())
        self.files += paths

    def _neighbours(self, z, ids, people) -> Iterator[list]:
        """Rows of `NEAREST` for queries in the shared space, the nearest first."""
        bank = self.head
        for by in bank.modalities:
            nearest = bank.nearest(z, list(people), self.options.nearest, by=by)
            for query, place in np.argwhere(nearest.row >= 0).tolist():
                row = nearest.row[query, place]
                value = f"{nearest.similarity[query, place]:.5f}"
                reference = bank.samples[row], bank.patients[row]
                yield [ids[query], place + 1, value, by, *reference]
