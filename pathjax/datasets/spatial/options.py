"""The options of `pathjax data spatial`; imports nothing heavy."""

import dataclasses
from typing import Annotated, Literal


@dataclasses.dataclass(frozen=True)
class SpatialOptions:
    """How samples are read and tiles are cut; each field is a command-line option."""

    tile_um: Annotated[
        float, "side of a tile in micrometres (default: 112; a Visium spot has 55)"
    ] = 112.0
    tile_px: Annotated[int, "side of a tile in pixels (default: 224)"] = 224
    image: Annotated[
        str | None,
        "full-resolution image of the only sample; or hires or lowres, to use the "
        "reduced images of Space Ranger",
    ] = None
    mpp: Annotated[
        float | None,
        "micrometres per pixel of the image, overruling all evidence in the samples",
    ] = None
    bin_um: Annotated[
        float | None,
        "side of a Visium HD bin in micrometres (default: 16): a size that is there, or "
        "a multiple of 2 to pool",
    ] = None
    spot_um: Annotated[
        float | None,
        "side of the squares into which cells are pooled (Xenium); 0: a sample per cell",
    ] = None
    min_counts: Annotated[int, "leave out spots with fewer counts (default: 1)"] = 1
    genes_join: Annotated[
        Literal["inner", "outer"],
        "genes that all samples have (inner), or that any has (outer)",
    ] = "inner"
    normalise: Annotated[
        Literal["log1p_cp10k", "log1p_cp10k_shared", "log1p", "none"],
        "what X is: log1p of counts per 10,000 of all genes, or of the genes that all "
        "samples measured; log1p of counts; or counts",
    ] = "log1p_cp10k"
    name: Annotated[str, "name of the study"] = "spatial"
    strict: Annotated[bool, "fail where there would be a warning"] = False
