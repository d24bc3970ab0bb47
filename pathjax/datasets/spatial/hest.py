"""HEST-1k's folders: AnnData, whole-slide images, metadata and patches by sample id.

`st/ID.h5ad`, `wsis/ID.tif`, `metadata/ID.json`, `patches/ID.h5`, `HEST_v*.csv`; or
`h5ad/`, `image/` and `meta/`, as some packages of single samples have it. Tiles are cut
from the image; patches only show whether image and positions belong together.
"""

import dataclasses
import re
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from PIL import Image

from pathjax.data.tables import is_missing
from pathjax.datasets.spatial.anndata_file import read_anndata, sample_of
from pathjax.datasets.spatial.image import ImageSource, cut_tile
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.sample import UNKNOWN, Format, SpatialError, SpatialSample
from pathjax.datasets.spatial.scale import neighbour_px
from pathjax.datasets.spatial.space_ranger import images_in, listed, only
from pathjax.files import read_json, reading

# Folders of counts, images and metadata.
LAYOUTS = (("st", "wsis", "metadata"), ("h5ad", "image", "meta"))
SPECIES = {"homo sapiens": "human", "mus musculus": "mouse"}
LABELS = ("organ", "disease_state", "oncotree_code", "preservation_method")
# Technologies whose spots have a fixed distance. That of HEST's pseudo-spots of Xenium
# and of its Visium HD bins depends on HEST's release.
FIXED_PITCH = ("Visium", "Spatial Transcriptomics")
PATCH_MPP = 0.5
COMPARED = 8  # patches
MIN_LIKENESS = 0.8  # correlation of a patch with the tile cut here; of others below 0.5


@dataclasses.dataclass(frozen=True)
class Files:
    """The files of one sample; the optional ones may be None."""

    name: str
    root: Path
    counts: Path
    images: str
    metadata: Path | None
    patches: Path | None

    @classmethod
    def of(cls, counts: Path) -> "Files":
        root, name = counts.parent.parent, counts.stem
        layout = next(one for one in LAYOUTS if one[0] == counts.parent.name)
        metadata = root / layout[2] / f"{name}.json"
        patches = root / "patches" / f"{name}.h5"
        return cls(
            name,
            root,
            counts,
            layout[1],
            metadata if metadata.is_file() else None,
            patches if patches.is_file() else None,
        )

    def image(self) -> Path:
        """The whole image.

        Raises:
          SpatialError: There is none, or several.
        """
        folder = self.root / self.images
        own = [one for one in images_in(folder) if one.name.startswith(f"{self.name}.")]
        advice = ": download it, or give it by --image"
        if self.patches and not own:
            advice = f"; {self.patches.name} has patches only, no image{advice}"
        return only(own, f"image {self.name}.tif", folder, advice)

    def about(self) -> tuple[dict[str, Any], dict[str, float]]:
        """Metadata of the sample (JSON first, then the release's table), and its mpp.

        Raises:
          SpatialError: A file is damaged.
        """
        about: dict[str, Any] = {}
        mpp: dict[str, float] = {}
        sources: list[tuple[str, dict[str, Any]]] = []
        if self.metadata:
            with reading(self.metadata, SpatialError, "metadata"):
                entry = read_json(self.metadata, dict)
            sources.append((f"{self.metadata.parent.name}/{self.metadata.name}", entry))
        for table in sorted(self.root.glob("HEST_v*.csv"), reverse=True)[:1]:
            rows = pd.read_csv(table, dtype=str, keep_default_na=False)
            if "id" not in rows:
                raise SpatialError(f"{table} has no column id")
            for row in rows[rows["id"] == self.name].to_dict("records")[:1]:
                sources.append((table.name, row))
        for source, entry in sources:
            for key, value in entry.items():
                if not is_missing(str(value)):
                    about.setdefault(key, value)
            estimated = entry.get("pixel_size_um_estimated")
            if not is_missing(str(estimated)):
                mpp[source] = _number(estimated, source)
        return about, mpp


class Hest(Format):
    """A folder of HEST-1k: all of its samples; or one of its `st/ID.h5ad`."""

    name = "HEST-1k"
    needs = "a folder with st/ID.h5ad and wsis/ID.tif (or h5ad/ and image/)"

    def recognises(self, path: Path) -> bool:
        if path.is_file():
            folders = [layout[0] for layout in LAYOUTS]
            inside = path.suffix == ".h5ad" and path.parent.name in folders
            return inside and self.recognises(path.parent.parent)
        return path.is_dir() and any(
            sum((path / folder).is_dir() for folder in layout) >= 2
            for layout in LAYOUTS
        )

    def samples(self, path: Path) -> list[Path]:
        if path.is_file():
            return [path]
        for counts, *_ in LAYOUTS:
            found = sorted((path / counts).glob("*.h5ad"))
            if found:
                return found
        raise SpatialError(
            f"{path} is laid out as HEST-1k but has no st/*.h5ad: {listed(path)}"
        )

    def read(self, path: Path, options: SpatialOptions) -> SpatialSample:
        files = Files.of(path)
        about, mpp = files.about()
        image = ImageSource.open(options.image or files.image())
        technology = str(about.get("st_technology", "")) or None
        if technology == "Spatial Transcriptomics":
            technology = "ST"
        patient, site, notes = patient_of(about)
        sample = sample_of(
            read_anndata(path),
            files.name,
            str(path),
            options,
            image=image,
            mpp=mpp,
            technology=technology,
            spot_um=_optional(about, "spot_diameter", files),
            patient=patient,
            notes=notes,
        )
        pitch = _optional(about, "inter_spot_dist", files)
        if pitch and about.get("st_technology") in FIXED_PITCH:
            evidence = {"spot pitch": pitch / neighbour_px(sample.positions)}
            sample = dataclasses.replace(sample, mpp=sample.mpp | evidence)
        for label in LABELS:
            if label in about:
                sample.counts.obs[label] = str(about[label])
        species = SPECIES.get(str(about.get("species", "")).lower())
        if species and sample.organism and species != sample.organism:
            raise SpatialError(
                f"{path}: the gene ids are of {sample.organism}, the metadata says "
                f"{species}"
            )
        notes = (*sample.notes, *self._compare(files, sample))
        site = sample.site or site
        return dataclasses.replace(
            sample, organism=sample.organism or species, site=site, notes=notes
        )

    def _compare(self, files: Files, sample: SpatialSample):
        """Whether HEST's patches look like the image at the spots."""
        if not files.patches or not sample.mpp:
            return
        try:
            with h5py.File(files.patches) as file:
                codes = barcodes_of(file)
                chosen = np.linspace(0, len(codes) - 1, COMPARED).astype(int)
                patches = {codes[i]: file["img"][i] for i in np.unique(chosen)}
        except (OSError, KeyError, ValueError, TypeError) as error:
            yield f"{files.patches} cannot be read ({error}): not compared with the image"
            return
        mpp = next(iter(sample.mpp.values()))
        place = sample.counts.obs_names.get_indexer(list(patches))
        likeness = [
            _likeness(sample.image, sample.positions[row], patch, mpp)
            for row, patch in zip(place, patches.values(), strict=True)
            if row >= 0
        ]
        if not likeness:
            yield f"{files.patches} has no barcode of {files.counts.name}"
        elif np.median(likeness) < MIN_LIKENESS:
            raise SpatialError(
                f"{files.patches} shows other tissue than the image at the spots "
                f"(correlation {np.median(likeness):.2f}): the image, the positions or "
                "the scale are not of this sample"
            )


def barcodes_of(patches: h5py.File) -> list[str]:
    """The barcode of each of HEST's patches."""
    key = "barcode" if "barcode" in patches else "barcodes"
    return np.ravel(patches[key].asstr()[:]).tolist()


def _likeness(image: ImageSource, centre, patch: np.ndarray, mpp: float) -> float:
    """Correlation of a patch with the same place of the image, both reduced."""
    side = patch.shape[0] * PATCH_MPP / mpp
    x, y = np.floor(np.asarray(centre) - side).astype(int).tolist()
    region = image.read(x, y, int(2 * side) + 2, int(2 * side) + 2)
    white = np.full(3, 255, np.uint8)
    tile, _ = cut_tile(region, (centre[0] - x, centre[1] - y), side, 32, white)
    small = Image.fromarray(patch).resize((32, 32), Image.Resampling.BOX)
    a, b = np.asarray(tile, float).ravel(), np.asarray(small, float).ravel()
    if a.std() == 0 or b.std() == 0:
        return float(np.abs(a - b).max() < 16)
    return float(np.corrcoef(a, b)[0, 1])


def patient_of(about: dict[str, Any]) -> tuple[str | None, str | None, tuple[str, ...]]:
    """Patient, site and warnings by HEST's metadata.

    HEST numbers patients within a data set, so "Patient 1" occurs in many of them.
    Samples of a data set that names no patients may be of one: they are taken as one.
    """
    title = about.get("dataset_title")
    if not title:
        patient = about.get("patient")
        return (str(patient) if patient else None), None, ()
    site = _slug(str(title))
    patient = about.get("patient")
    if patient:
        return f"{site}:{_words(str(patient))}", site, ()
    note = "HEST names no patient: all samples of its data set count as one patient"
    return f"{site}{UNKNOWN}", site, (note,)


def _slug(title: str) -> str:
    """A short name of a data set that differs from all others."""
    return f"{_words(title)[:32].rstrip('-')}-{zlib.crc32(title.encode()):08x}"


def _words(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")


def _number(value: Any, where: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise SpatialError(f"{where}: expected a number, got {value!r}") from None


def _optional(about: dict[str, Any], key: str, files: Files) -> float | None:
    return _number(about[key], f"{files.name}: {key}") if key in about else None
