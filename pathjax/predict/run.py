"""`predict`: a checkpoint and slides to expression, AnnData, maps and neighbours.

    input -> embeddings.h5 (resumed) -> head or bank, in blocks -> predicted.h5ad
          -> means.csv, maps/, nearest*.csv, genes.csv, spots.json, measured.png

The expensive part, the encoder, goes through `embed_to_file`, which an interrupted call
takes up where it stopped. All that follows is written anew, each file whole or not.
"""

import csv
import dataclasses
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

import pathjax
from pathjax.atomic import atomic_path, write_json
from pathjax.data.study import Study
from pathjax.evals.audit import overlap
from pathjax.evals.cache import identity
from pathjax.evals.embed import embed_to_file
from pathjax.evals.features import FileRows
from pathjax.model_file import Model, load_model
from pathjax.predict import measured as beside
from pathjax.predict.annotated import read_columns, spatial_entry, write_annotated
from pathjax.predict.bank import Bank, person
from pathjax.predict.genes import (
    Validation,
    chosen,
    gene_table,
    read_validation,
)
from pathjax.predict.heads import HeadError, Regression, panel_of
from pathjax.predict.maps import draw_map, painted
from pathjax.predict.nearest import write_nearest_slides, write_nearest_tiles
from pathjax.predict.pictures import Picture, of_study, shrunk
from pathjax.predict.tiles import Input, open_input, view_of
from pathjax.report.figures import slug

BLOCK = 4096  # tiles in memory at once
MOST_PICTURES = 50  # slides whose picture goes into the file: up to 4 MB each
NOT_CLINICAL = "research only, not for clinical use"


@dataclasses.dataclass(frozen=True)
class Options:
    """What is wanted.

    Attributes:
      genes: names with commas, or a file of names; None is the whole panel.
      split, fold: part of a study.
      mpp: of the model's input, where the checkpoint does not say it, or to go before.
      slide_mpp: of a slide's level 0, where its file does not say it.
      min_tissue: share of a slide's tile that has to be tissue.
      reference, reference_part: study to retrieve from, and SPLIT:FOLD of it or "all".
      neighbours: how many samples a retrieved expression is the mean of.
      own_patient: let a query retrieve its own patient.
      nearest: how many neighbours are listed.
      measured: compare with the study's expression.
      validation: genes.csv of a measured prediction, to say how far genes can be
        trusted; RUN/genes.csv is taken where it is there.
      pictures: folder with a picture of each slide at level 0.
      max_maps: how many maps are drawn at most.
      batch, threads: tiles per step, reading threads.
      overwrite: replace what another model or input left.
    """

    genes: str | None = None
    split: str | None = None
    fold: str | None = None
    mpp: float | None = None
    slide_mpp: float | None = None
    min_tissue: float = 0.35
    reference: Path | None = None
    reference_part: str | None = None
    neighbours: int = 50
    own_patient: bool = False
    nearest: int = 5
    measured: bool = False
    validation: Path | None = None
    pictures: Path | None = None
    max_maps: int = 20
    batch: int = 64
    threads: int = 2
    overwrite: bool = False


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


def predict(
    checkpoint: str | Path,
    target: str | Path,
    out: str | Path,
    options: Options | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Predicted:
    """Predicts expression of every tile.

    Args:
      checkpoint: run folder or model.safetensors, of objective regression or
        contrastive (which needs a reference).
      target: a study, a folder of tiles, or a whole-slide file.
      out: folder for what is written.
      options: what is wanted.
      progress: called with (tiles embedded, tiles in all).

    Raises:
      HeadError: the model has never seen expression.
      GeneError: genes that it does not predict, with the nearest.
      InputError, StudyError, SlideError, ImageFolderError: the input does not do.
      BankError: the reference does not do.
      EmbeddingError: `out` holds something else, or a feature is not finite.
    """
    options, out = options or Options(), Path(out)
    model = load_model(checkpoint)
    panel = panel_of(model)
    places = chosen(panel, options.genes)
    _check(model, options)
    var = gene_table(panel, places, _validation(Path(checkpoint), options))
    given = open_input(
        target,
        view_of(model, options.mpp),
        split=options.split,
        fold=options.fold,
        slide_mpp=options.slide_mpp,
        min_tissue=options.min_tissue,
    )
    head: Regression | Bank
    if options.reference is None:
        head = Regression(model)
    else:
        head = Bank(
            model,
            Study(options.reference),
            options.reference_part,
            neighbours=options.neighbours,
            own_patient=options.own_patient,
        )
    audit, shared = audited(model, given)

    embedded = embed_to_file(
        model,
        given.source,
        out / "embeddings.h5",
        model_id=identity(checkpoint),
        batch=options.batch,
        threads=options.threads,
        overwrite=options.overwrite,
        progress=progress,
    )
    work = _Work(model, given, options, out, head, places, var, audit)
    broken = {entry["what"] for entry in embedded.skipped}
    keep = ~given.table["tile_id"].isin(broken).to_numpy()
    obs = given.table[keep].set_index("tile_id")
    obs.index.name = None
    obs["in_training"] = obs["patient_id"].isin(shared)
    notes = list(given.notes)
    if broken:
        notes.append(f"{len(broken)} images could not be read and are left out")
    return work.write(obs, identity(checkpoint), notes)


def _check(model: Model, options: Options) -> None:
    name = model.meta["objective"]["name"]
    if name == "contrastive" and options.reference is None:
        raise HeadError(
            "a contrastive model has no head for expression, it retrieves: name a "
            "study with expression by --reference"
        )
    if name != "contrastive" and options.reference is not None:
        raise HeadError(
            f"the model was trained by {name}: it predicts by itself and cannot "
            "retrieve; leave --reference away"
        )


def _validation(checkpoint: Path, options: Options) -> Validation:
    beside_run = checkpoint / "genes.csv"
    if options.validation is not None:
        return read_validation(options.validation)
    return read_validation(beside_run) if beside_run.is_file() else Validation()


def audited(model: Model, given: Input) -> tuple[str, list[str]]:
    """What to say of training patients among the input's, and who they are."""
    history = model.meta.get("audit") or []
    if not history:
        return "unknown: the checkpoint does not say whom it was trained on", []
    found = overlap(history, given.table)
    people = sorted({*found["patients"], *found["barcodes"]})
    if not people and not found["slides"]:
        if not given.table["patient_id"].astype(bool).any():
            return "unknown: nobody says whose these tiles are", []
        return "clean: no patient of these was trained on", []
    told = f"TRAINED ON: patients {', '.join(people[:10])}"
    if len(people) > 10:
        told += f" and {len(people) - 10} more"
    if found["slides"]:
        told += f"; {len(found['slides'])} of the very slides"
    else:
        told += ", though on other slides of theirs"
    return f"{told}. These predictions flatter the model", people


@dataclasses.dataclass
class _Work:
    """All that follows the embedding."""

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
        study = self.given.study
        if study is None:
            source = self.given.source
            return shrunk(source.overview, source.path.name)
        table = self.obs.iloc[inside]
        rows = self.given.source.rows[inside]
        mpp = self.given.level0[slide]
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
            gene, trust = self.var.index[at], self.var["trust"].iloc[at]
            picture = self.pictures[slide]
            x, y, side = (places[name].to_numpy() for name in ("x", "y", "side"))
            target = self.out / "maps" / f"{slug(slide)}-{slug(gene)}.png"
            draw_map(
                target,
                picture,
                painted(picture, x, y, side, values),
                values,
                title=f"{gene}, predicted, {slide} (held-out r: {trust})",
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
