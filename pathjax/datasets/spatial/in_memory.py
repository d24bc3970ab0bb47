"""Studies of AnnData and SpatialData objects in memory: `Study.from_anndata`."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anndata
import numpy as np

from pathjax.data.study import Study
from pathjax.datasets.spatial.anndata_file import sample_of
from pathjax.datasets.spatial.build import write_study
from pathjax.datasets.spatial.image import ImageSource
from pathjax.datasets.spatial.manifest import SampleRow
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.sample import SpatialError, SpatialSample
from pathjax.datasets.spatial.spatialdata_store import regions_of, sample_of_spatialdata
from pathjax.wsi.base import SlideError

Image = str | Path | np.ndarray | ImageSource
Many = Mapping[str, Any]


def study_from_anndata(
    adata: anndata.AnnData | Mapping[str, anndata.AnnData],
    image: Image | Mapping[str, Image] | None,
    out: str | Path,
    *,
    mpp: float | Mapping[str, float] | None = None,
    patient: str | Mapping[str, str] | None = None,
    site: str | Mapping[str, str] | None = None,
    **options: Any,
) -> Study:
    """Builds a study of sections in memory.

    Args:
      adata: A section with raw counts and obsm["spatial"], or sections by name.
      image: Of the section, or by name: a file, or an array `[H, W, 3]` uint8, which may
        be lazy. "hires" or None as for `pathjax data spatial --image`.
      out: The study's directory.
      mpp: Micrometres per pixel of the image; None takes the AnnData's own evidence.
      patient, site: Of the section, or by name.
      **options: Fields of SpatialOptions, such as tile_um and tile_px.

    Raises:
      StudyError: A section cannot be used; the message says why.
    """
    sections = _by_name(adata, options)
    pictures = {name: _of(image, name) for name in sections}

    def read(name: str, chosen: SpatialOptions) -> SpatialSample:
        picture = pictures[name]
        if picture is None or isinstance(picture, str | Path):
            text = None if picture is None else str(picture)
            chosen = dataclasses.replace(chosen, image=text)
            return sample_of(sections[name], name, name, chosen)
        source = _source(picture, name)
        return sample_of(sections[name], name, name, chosen, image=source)

    return _build(sections, read, out, mpp, patient, site, options)


def study_from_spatialdata(
    sdata: Any,
    out: str | Path,
    *,
    image: str | Mapping[str, str] | None = None,
    mpp: float | Mapping[str, float] | None = None,
    patient: str | Mapping[str, str] | None = None,
    site: str | Mapping[str, str] | None = None,
    **options: Any,
) -> Study:
    """Builds a study of a SpatialData object, or of several by name.

    `image` names one of its images, or a file; the rest is as for
    `study_from_anndata`. Where a table describes several elements, each is a section,
    called NAME_ELEMENT.

    Raises:
      StudyError: A section cannot be used; the message says why.
    """
    sections = {}
    for name, given in _by_name(sdata, options).items():
        regions = regions_of(given)
        for region in regions:
            own = name if len(regions) == 1 else f"{name}_{region}"
            sections[own] = (given, region)
    images = {name: _of(image, name) for name in sections}

    def read(name: str, chosen: SpatialOptions) -> SpatialSample:
        given, region = sections[name]
        chosen = dataclasses.replace(chosen, image=images[name])
        return sample_of_spatialdata(given, name, name, chosen, region)

    return _build(sections, read, out, mpp, patient, site, options)


def _by_name(given: Any, options: dict[str, Any]) -> Many:
    """Sections by name; one alone is called as the study is."""
    if isinstance(given, Mapping):
        return given
    return {options.get("name", "section"): given}


def _of(given: Any, name: str) -> Any:
    """What was given for a section: one value for all, or values by name."""
    if not isinstance(given, Mapping):
        return given
    if name not in given:
        raise SpatialError(f"nothing was given for section {name}: {', '.join(given)}")
    return given[name]


def _source(picture: Any, name: str) -> ImageSource:
    if isinstance(picture, ImageSource):
        return picture
    try:
        return ImageSource.of_array(picture)
    except SlideError as error:
        raise SpatialError(f"image of {name}: {error}") from error


def _build(
    sections: Many, read: Any, out: Any, mpp: Any, patient: Any, site: Any, options: Any
) -> Study:
    chosen = SpatialOptions(**options)
    rows = [
        SampleRow(
            Path(name), name, _of(patient, name), _of(site, name), mpp=_of(mpp, name)
        )
        for name in sections
    ]
    return write_study(rows, lambda row: read(row.name, chosen), out, chosen)
