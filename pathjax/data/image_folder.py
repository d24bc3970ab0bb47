"""A folder of images as tiles to embed: found, named, read; broken ones passed over.

Every PNG, JPEG and TIFF below the folder, in the order of their paths. One file that
cannot be read costs that file and is told with its reason; nothing is written here.
"""

import functools
import hashlib
import io
import os
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from pathjax.data.images import JPEG_MAGIC, decode_tile
from pathjax.data.pipeline import Batch, read_ahead

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")

# `8863_idx5_x51_y1251_class0.png` (the IDC set), `slide-x51-y1251.png`, `x51_y1251.png`
_PLACE = re.compile(r"(?:^|[_-])x(\d{1,9})[_-]y(\d{1,9})(?=[_-]|$)", re.IGNORECASE)


class ImageFolderError(ValueError):
    """A folder without images."""


class ImageFolder:
    """The images below a folder, a TileSource.

    Hidden files and folders are left out: macOS puts a `._NAME.png` that is no image
    beside each file it copies.

    Args:
      root: the folder.

    Attributes:
      paths: of the images, relative to `root`, sorted, with forward slashes.

    Raises:
      ImageFolderError: there is no such folder or no image in it.
    """

    kind = "images"

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self.name = self.root.resolve().name
        if not self.root.is_dir():
            raise ImageFolderError(
                f"{self.root} is no folder: wanted a study or a folder of images"
            )
        self.paths = sorted(_images_below(self.root))
        if not self.paths:
            raise ImageFolderError(
                f"{self.root} holds no image ({', '.join(SUFFIXES)}) and no "
                "study.json: wanted a folder of images or a whole study"
            )

    def __len__(self) -> int:
        return len(self.paths)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of the images' paths, sizes and times; their bytes are not read."""
        hashed = hashlib.sha256()
        for path in self.paths:
            stat = (self.root / path).stat()
            line = f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n"
            hashed.update(line.encode("utf-8", "surrogateescape"))
        return hashed.hexdigest()

    def batches(
        self,
        rows: Int[np.ndarray, "n"],
        *,
        batch: int,
        px: int,
        prepare: Callable[[np.ndarray], np.ndarray],
        threads: int = 2,
    ) -> Iterator[Batch]:
        """See TileSource; a broken image is masked and stands in `skipped`."""

        def load(index: int) -> Batch:
            part = rows[index * batch : (index + 1) * batch]
            image = np.zeros((batch, px, px, 3), np.uint8)
            mask = np.zeros(batch, bool)
            skipped, sizes = [], set()
            for i, row in enumerate(part.tolist()):
                try:
                    tile = read_image(self.root / self.paths[row])
                except ValueError as error:
                    skipped.append((row, str(error)))
                    continue
                sizes.add(tile.shape[:2])
                image[i], mask[i] = prepare(tile), True
            return {"image": image, "mask": mask, "skipped": skipped, "sizes": sizes}

        return read_ahead(-(-len(rows) // batch), load, threads)

    def tile_ids(self, rows: Int[np.ndarray, "n"]) -> list[str]:
        """The relative paths."""
        return [self.paths[row] for row in rows]

    def coords(self, rows: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n 2"]:
        """What a name says as `..._x51_y1251...`, else 0, 0."""
        places = (_PLACE.search(Path(self.paths[row]).stem) for row in rows)
        found = [tuple(map(int, p.groups())) if p else (0, 0) for p in places]
        return np.array(found, np.int64).reshape(-1, 2)

    def attributes(self, sizes: Collection[tuple[int, int]]) -> dict[str, Any]:
        """The name, and the side where all images are squares of one size.

        Files say nothing trustworthy of magnification, so that is left out.
        """
        known: dict[str, Any] = {"name": self.name}
        sides = {side for size in sizes for side in size}
        if len(sides) == 1:
            known["patch_size"] = sides.pop()
        return known


def _images_below(root: Path) -> Iterator[str]:
    """Relative paths; folders that cannot be opened are an error, not left out."""

    def refuse(error: OSError) -> None:
        raise error

    for folder, below, files in os.walk(root, onerror=refuse):
        below[:] = [name for name in below if not name.startswith(".")]
        for name in files:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield (Path(folder) / name).relative_to(root).as_posix()


def read_image(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """Reads one image as RGB.

    Raises:
      ValueError: it cannot be read, is not whole, or has more than 8 bits a channel,
        which would be cut off and not scaled.
    """
    # Pillow's plugins raise almost anything on damaged files (SyntaxError, KeyError,
    # struct.error, DecompressionBombError), and a folder must survive each.
    try:
        data = path.read_bytes()
        if not data.startswith(JPEG_MAGIC):
            with Image.open(io.BytesIO(data)) as image:
                mode = image.mode
            if mode == "F" or mode.startswith("I"):
                raise ValueError(f"pixels of mode {mode}, wanted 8 bits a channel")
        return decode_tile(data)
    except Exception as error:
        raise ValueError(str(error) or type(error).__name__) from error
