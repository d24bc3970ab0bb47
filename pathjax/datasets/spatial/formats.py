"""The formats that `pathjax data spatial` recognises, by content."""

from pathlib import Path

from pathjax.datasets.spatial.anndata_file import AnnDataFile
from pathjax.datasets.spatial.hest import Hest
from pathjax.datasets.spatial.sample import Format, SpatialError
from pathjax.datasets.spatial.space_ranger import listed
from pathjax.datasets.spatial.spatialdata_store import SpatialDataStore
from pathjax.datasets.spatial.st import Her2st, SpotTables
from pathjax.datasets.spatial.stimage import STimage
from pathjax.datasets.spatial.visium import Visium
from pathjax.datasets.spatial.visium_hd import VisiumHD
from pathjax.datasets.spatial.xenium import Xenium

# The first that recognises a path reads it: the more particular ones come first.
FORMATS: tuple[Format, ...] = (
    Hest(),
    Xenium(),
    SpatialDataStore(),
    STimage(),
    Her2st(),
    VisiumHD(),
    Visium(),
    SpotTables(),
    AnnDataFile(),
)


def recognise(path: Path) -> Format:
    """The format of a path.

    Raises:
      SpatialError: There is nothing, or nothing known; says what was seen.
    """
    if not path.exists():
        raise SpatialError(f"{path} does not exist")
    for known in FORMATS:
        if known.recognises(path):
            return known
    seen = listed(path) if path.is_dir() else f"it is a {path.suffix or 'plain'} file"
    needs = "; ".join(f"{known.name}: {known.needs}" for known in FORMATS)
    raise SpatialError(f"{path} is of no known format: {seen}. Expected {needs}")
