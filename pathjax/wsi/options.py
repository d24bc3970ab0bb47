"""How slides are tiled; each field is an option of `pathjax tile`.

Imports nothing heavy, so that the command line can list the options.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

if TYPE_CHECKING:
    from pathjax.data.study_writer import StudyWriter

RULES_VERSION = 1  # of what decides a tile's pixels and place besides the options


@dataclasses.dataclass(frozen=True)
class TileOptions:
    """How slides are tiled; the same for all slides of a study.

    Raises:
      ValueError: All values that are out of range.
    """

    mpp: Annotated[float, "micrometres per pixel of the tiles"] = 0.5
    tile_px: Annotated[int, "side of a tile in pixels"] = 224
    overlap: Annotated[int, "pixels that neighbours share"] = 0
    min_tissue: Annotated[float, "minimum share of tissue in a tile, 0 to 1"] = 0.35
    max_tiles: Annotated[int | None, "maximum tiles per slide, chosen at random"] = None
    seed: Annotated[int, "random seed of --max-tiles"] = 0
    tissue: Annotated[Literal["otsu", "saturation"], "how tissue is found"] = "otsu"
    quality: Annotated[int, "JPEG quality"] = 90
    coordinates: Annotated[
        str | None, "folder of TRIDENT's or CLAM's h5 files, instead of finding tissue"
    ] = None

    def __post_init__(self):
        rules = [
            ("mpp", "above 0 and at most 100", 0 < self.mpp <= 100),
            ("tile_px", "of 8 to 4096", 8 <= self.tile_px <= 4096),
            ("overlap", "of 0 to tile_px - 1", 0 <= self.overlap < self.tile_px),
            ("min_tissue", "of 0 to 1", 0 <= self.min_tissue <= 1),
            ("max_tiles", "of 1 or more", self.max_tiles is None or self.max_tiles > 0),
            ("tissue", "otsu or saturation", self.tissue in ("otsu", "saturation")),
            ("quality", "of 1 to 100", 1 <= self.quality <= 100),
        ]
        wrong = [
            f"expected {name} {text}, got {getattr(self, name)}"
            for name, text, holds in rules
            if not holds
        ]
        if wrong:
            raise ValueError("; ".join(wrong))

    def writer(
        self, root: str | Path, name: str = "tiles", **provenance
    ) -> "StudyWriter":
        """The writer of the study at `root`; refuses one begun with other options."""
        from pathjax.data.study_writer import StudyWriter

        build = dataclasses.asdict(self)
        build["coordinates"] = self.coordinates is not None
        return StudyWriter(
            root,
            name=name,
            tile_px=self.tile_px,
            mpp=self.mpp,
            provenance=provenance,
            build={**build, "rules": RULES_VERSION},
        )
