"""SpatialData stores (.zarr) and objects, read by the spatialdata library.

A sample is an element of shapes or labels with its rows of a table, and one colour image
in a coordinate system that they share. Units are not part of the format: the scale comes
from what is known of the technology, or from the user.
"""

import dataclasses
import re
from pathlib import Path
from typing import Any

import anndata
import numpy as np
from jaxtyping import Float

from pathjax.datasets.spatial.alignment import apply, scale_of
from pathjax.datasets.spatial.anndata_file import ZARR_MARKS, missing_chunks, sample_of
from pathjax.datasets.spatial.image import ImageSource
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.pictures import on_white
from pathjax.datasets.spatial.sample import (
    ARRAY_COLUMNS,
    Format,
    SpatialError,
    SpatialSample,
)
from pathjax.datasets.spatial.scale import median_step
from pathjax.datasets.spatial.space_ranger import listed
from pathjax.datasets.spatial.visium_hd import DEFAULT_UM
from pathjax.files import reading
from pathjax.optional_deps import need

ELEMENTS = ("images", "labels", "shapes", "points", "tables", "table")
TABLES = ("tables", "table")  # "table" in versions of the library before 0.1
PLACED = ("shapes", "labels")
REDUCED = ("hires", "lowres", "thumbnail", "cytassist")
BIN_NAME = re.compile(r"square_(\d+)um")
AXES = ("x", "y")


class SpatialDataStore(Format):
    """A folder written by `SpatialData.write`, or one element's in it (shapes/NAME)."""

    name = "SpatialData"
    needs = "a .zarr folder with images/, shapes/ or labels/, and tables/"

    def recognises(self, path: Path) -> bool:
        return _is_store(path) or _is_element(path)

    def samples(self, path: Path) -> list[Path]:
        """A sample for each element that the only table describes."""
        tables = [table for name in TABLES for table in (path / name).glob("*/uns")]
        if not _is_store(path) or len(tables) != 1:
            return [path]
        zarr = need("zarr", "spatial")
        try:
            group = zarr.open_group(tables[0] / "spatialdata_attrs", mode="r")
            regions = np.atleast_1d(anndata.io.read_elem(group["region"])).tolist()
        except (OSError, KeyError, ValueError, TypeError, RuntimeError):
            return [path]  # reading it says what is wrong
        if len(regions) == 1:
            return [path]
        kinds = {
            name: next((kind for kind in PLACED if (path / kind / name).is_dir()), "")
            for name in map(str, regions)
        }
        return [path / (kinds[name] or PLACED[0]) / name for name in kinds]

    def read(self, path: Path, options: SpatialOptions) -> SpatialSample:
        store, region = (
            (path, None) if _is_store(path) else (path.parents[1], path.name)
        )
        if not any((store / name).is_dir() for name in TABLES):
            raise SpatialError(
                f"{store} has no table of counts (tables/): {listed(store)}"
            )
        spatialdata = need("spatialdata", "spatial")
        notes = missing_chunks(store)
        with reading(store, SpatialError, "SpatialData"):
            sdata = spatialdata.read_zarr(store)
        name = f"{store.stem}_{region}" if region else store.stem
        sample = sample_of_spatialdata(sdata, name, str(store), options, region)
        return dataclasses.replace(sample, notes=(*sample.notes, *notes))


def _is_store(path: Path) -> bool:
    return (
        path.is_dir()
        and any((path / mark).is_file() for mark in ZARR_MARKS)
        and any((path / element).is_dir() for element in ELEMENTS)
    )


def _is_element(path: Path) -> bool:
    return path.is_dir() and path.parent.name in PLACED and _is_store(path.parents[1])


def regions_of(sdata: Any) -> list[str | None]:
    """The elements that the only table describes; None where the table is to be chosen."""
    described = list(_described(sdata).values())
    return list(described[0]) if len(described) == 1 else [None]


def _described(sdata: Any) -> dict[str, list[str]]:
    """The shapes and labels that each table describes."""
    regions = {}
    for name, table in sdata.tables.items():
        if attributes := table.uns.get("spatialdata_attrs"):
            regions[name] = np.atleast_1d(attributes["region"]).tolist()
    return regions


def sample_of_spatialdata(
    sdata: Any,
    name: str,
    where: str,
    options: SpatialOptions,
    region: str | None = None,
) -> SpatialSample:
    """A sample of a SpatialData object; `region` may be None if there is only one.

    Raises:
      SpatialError: There is no table of raw counts, not one image, or no transformation
        between them.
    """
    need("spatialdata", "spatial")
    table_name, region = _table(sdata, where, options, region)
    table = sdata.tables[table_name]
    keys = [
        table.uns["spatialdata_attrs"][key] for key in ("region_key", "instance_key")
    ]
    table = table[(table.obs[keys[0]] == region).to_numpy()]
    if not table.n_obs:
        raise SpatialError(f"{where}: table {table_name} has no row of {region}")
    image_name, image, xy, scale = _placed(sdata, region, where, options)
    positions = _in_order(table, xy, where)
    adata = table.copy()
    adata.obsm = {"spatial": positions}
    adata.uns = {}
    adata.obs = adata.obs.drop(columns=keys)
    notes = (f"the image is {image_name}",) if len(sdata.images) > 1 else ()
    reader = sdata.attrs.get("spatialdata_io_reader", "")
    evidence = {}
    spot_um = None
    technology = None
    if reader == "xenium" and region in sdata.shapes:
        # spatialdata-io keeps Xenium's shapes in micrometres.
        evidence["shapes in micrometres"] = 1 / scale
        technology = "Xenium"
    if bin_um := BIN_NAME.search(table_name):
        spot_um, technology = float(bin_um[1]), "Visium HD"
        step = _bin_px(adata, positions)
        if step:
            evidence["bin pitch"] = spot_um / step
    return sample_of(
        adata,
        name,
        where,
        options,
        image=image,
        mpp=evidence,
        technology=technology,
        spot_um=spot_um,
        notes=notes,
    )


def _table(
    sdata: Any, where: str, options: SpatialOptions, region: str | None
) -> tuple[str, str]:
    """The table to use, and the one element that it describes."""
    regions = _described(sdata)
    if not regions:
        raise SpatialError(
            f"{where} has no table that describes shapes or labels; tables: "
            f"{', '.join(sdata.tables) or 'none'}"
        )
    if region is not None:
        regions = {name: [region] for name, all in regions.items() if region in all}
        if not regions:
            raise SpatialError(f"{where}: no table describes {region}")
    elif len(regions) > 1:
        named = f"{options.bin_um or DEFAULT_UM:03.0f}um"
        regions = {
            name: all for name, all in regions.items() if named in name
        } or regions
    if len(regions) > 1:
        raise SpatialError(
            f"{where} has {len(regions)} tables ({', '.join(regions)}): choose a bin "
            "size by --bin-um, or give the path of one element, such as "
            f"{where}/{PLACED[0]}/{next(iter(regions.values()))[0]}"
        )
    ((name, elements),) = regions.items()
    if len(elements) > 1:
        raise SpatialError(
            f"{where}: table {name} describes {len(elements)} elements "
            f"({', '.join(elements)}): give the path of one, such as "
            f"{where}/{PLACED[0]}/{elements[0]}"
        )
    if elements[0] not in sdata.shapes and elements[0] not in sdata.labels:
        raise SpatialError(
            f"{where}: table {name} describes {elements[0]}, which is not in its shapes "
            "or labels"
        )
    return name, elements[0]


def _placed(sdata: Any, region: str, where: str, options: SpatialOptions):
    """The image's name, the image, centroids in its pixels, and pixels per unit."""
    names = _colour_images(sdata)
    if options.image in names:
        names = [options.image]
    elif options.image in REDUCED:
        names = [name for name in names if options.image in name]
    elif options.image is None:
        full = [n for n in names if not any(word in n.lower() for word in REDUCED)]
        if not full and names:
            raise SpatialError(
                f"{where} has only reduced images ({', '.join(names)}): give the "
                "full-resolution one by --image, or one of these by its name"
            )
        names = full if len(full) < 2 else _beside(sdata, region, full)
    else:
        return _with_file(sdata, region, where, options.image)
    if len(names) != 1:
        raise SpatialError(
            f"{where}: expected one colour image, got {len(names)} "
            f"({', '.join(names) or 'none'}): name one by --image"
        )
    (name,) = names
    to_image = _transformation(sdata, region, name, where)
    source = ImageSource.of_array(_lazy(sdata.images[name], where), name)
    return name, source, *_apply(sdata, region, to_image)


def _beside(sdata: Any, region: str, names: list[str]) -> list[str]:
    """The images that share a coordinate system with the region, best one of its own."""
    from spatialdata.transformations import get_transformation

    ours = set(get_transformation(sdata[region], get_all=True))
    shared = {
        name: ours & set(get_transformation(sdata.images[name], get_all=True))
        for name in names
    }
    own = [name for name in names if shared[name] - {"global"}]
    return own or [name for name in names if shared[name]] or names


def _with_file(sdata: Any, region: str, where: str, file: str):
    """An image beside the store: positions are in the pixels of a coordinate system."""
    from spatialdata.transformations import get_transformation

    systems = get_transformation(sdata[region], get_all=True)
    name = "global" if "global" in systems else next(iter(systems))
    matrix = systems[name].to_affine_matrix(AXES, AXES)
    return file, ImageSource.open(Path(file)), *_apply(sdata, region, matrix)


def _colour_images(sdata: Any) -> list[str]:
    return [
        name
        for name, image in sdata.images.items()
        if _finest(image).sizes.get("c") in (3, 4)
    ]


def _finest(image: Any) -> Any:
    """The array `[c, y, x]` of an image, the finest of a pyramid."""
    if hasattr(image, "children"):
        first = next(iter(image.children.values()))
        return next(iter(first.data_vars.values()))
    return image


def _lazy(image: Any, where: str) -> Any:
    """The image as a lazy array `[H, W, 3]`."""
    array = _finest(image)
    if array.dtype != np.uint8:
        raise SpatialError(f"{where}: expected an image of uint8, got {array.dtype}")
    return on_white(array.transpose("y", "x", "c").data)


def _transformation(
    sdata: Any, region: str, image: str, where: str
) -> Float[np.ndarray, "3 3"]:
    """From the region's own coordinates to the image's pixels.

    Through a coordinate system that both are in, so that the choice among several does
    not matter if they agree.
    """
    from spatialdata.transformations import get_transformation

    ours = get_transformation(sdata[region], get_all=True)
    theirs = get_transformation(sdata.images[image], get_all=True)
    shared = [name for name in ours if name in theirs]
    if not shared:
        raise SpatialError(
            f"{where}: {region} and image {image} share no coordinate system: "
            f"{', '.join(ours)}; {', '.join(theirs)}"
        )
    matrices = []
    for name in shared:
        to_system = ours[name].to_affine_matrix(AXES, AXES)
        from_image = theirs[name].to_affine_matrix(AXES, AXES)
        if abs(np.linalg.det(from_image[:2, :2])) < 1e-12:
            raise SpatialError(f"{where}: the transformation of {image} is degenerate")
        matrices.append(np.linalg.inv(from_image) @ to_system)
    for other, name in zip(matrices[1:], shared[1:], strict=True):
        if not np.allclose(other, matrices[0], rtol=1e-3, atol=1.0):
            raise SpatialError(
                f"{where}: coordinate systems {shared[0]} and {name} place {region} "
                f"differently in {image}"
            )
    return matrices[0]


def _apply(sdata: Any, region: str, matrix: Float[np.ndarray, "3 3"]):
    """Centroids of a region in pixels by instance, and pixels per unit of the region."""
    from spatialdata import get_centroids
    from spatialdata.transformations import Identity, get_transformation

    element = sdata[region]
    systems = get_transformation(element, get_all=True)
    # Centroids are computed in a coordinate system; one that is the region's own
    # frame is not always there, so its map is taken back.
    name = next(iter(systems))
    system = systems[name]
    points = get_centroids(element, coordinate_system=name).compute()
    xy = points[list(AXES)].to_numpy(np.float64)
    if not isinstance(system, Identity):
        back = np.linalg.inv(system.to_affine_matrix(AXES, AXES))
        xy = apply(back, xy)
    points[list(AXES)] = apply(matrix, xy)
    return points, scale_of(matrix)


def _in_order(table: Any, points: Any, where: str) -> Float[np.ndarray, "n 2"]:
    """Positions of the table's rows; NaN where it names no shape."""
    key = table.uns["spatialdata_attrs"]["instance_key"]
    if key not in table.obs:
        raise SpatialError(f"{where}: the table has no column {key} that names shapes")
    if points.index.has_duplicates:
        raise SpatialError(f"{where}: two shapes have one name")
    place = points.index.get_indexer(table.obs[key])
    if (place < 0).all():
        raise SpatialError(
            f"{where}: the table's column {key} names no shape: {table.obs[key].iloc[0]} "
            f"and {points.index[0]}"
        )
    positions = points[list(AXES)].to_numpy()[place]
    positions[place < 0] = np.nan
    return positions


def _bin_px(adata: Any, positions: Float[np.ndarray, "n 2"]) -> float | None:
    """Pixels between neighbouring bins of Visium HD."""
    if not set(ARRAY_COLUMNS) <= set(adata.obs):
        return None
    finite = np.isfinite(positions).all(axis=1)
    array = adata.obs[list(ARRAY_COLUMNS)].to_numpy(int)[finite]
    step = median_step(array, positions[finite], (0, 1))
    return None if step is None else float(np.linalg.norm(step))
