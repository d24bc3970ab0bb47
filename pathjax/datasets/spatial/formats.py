"""The formats that `pathjax data spatial` recognises, by content."""

from pathlib import Path
from typing import Protocol

from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.sample import SpatialError, SpatialSample
from pathjax.datasets.spatial.space_ranger import listed
from pathjax.datasets.spatial.visium import Visium


class Format(Protocol):
    """What a module of a format offers.

    Attributes:
      name: Such as "Visium".
      needs: What a path of it has, for the error when nothing is recognised.
    """

    name: str
    needs: str

    def recognises(self, path: Path) -> bool:
        """Whether the path is meant to be of this format; it may still be incomplete."""
        ...

    def read(self, path: Path, options: SpatialOptions) -> SpatialSample:
        """Reads a sample; its name is from the path.

        Raises:
          SpatialError: Something is missing or damaged.
        """
        ...


# The first that recognises a path reads it: the more particular ones come first.
FORMATS: tuple[Format, ...] = (Visium(),)


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
