"""`pathjax bench tile --peer`: histolab's grid tiler, by an interpreter that has it.

histolab 0.7 needs Python 3.10, so nothing but worker.py is imported of pathjax. `check`
is "tissue" for its default, which looks for tissue in each tile, or "all", which keeps
every tile of the slide and so does less than any study needs.
"""

import os
import shutil
from importlib.metadata import version

from pathjax.bench.worker import Contestant, serve


def save(tile, path):
    """In place of histolab's, which fails: it hands RGBA to the JPEG encoder.

    PNG, its default, would be slower and no fair comparison.
    """
    tile.image.convert("RGB").save(path, quality=90)


class Histolab(Contestant):
    """The grid tiler."""

    def __init__(self, options):
        from histolab.slide import Slide
        from histolab.tile import Tile
        from histolab.tiler import GridTiler

        Tile.save = save
        self._open = Slide
        self._slide, self._out = options["slide"], options["out"]
        self._tiler = GridTiler(
            tile_size=(224, 224),
            level=0,
            check_tissue=options["check"] == "tissue",
            tissue_percent=35.0,
            suffix=".jpg",
        )
        self.info = {
            "unit": "tiles",
            "versions": {"histolab": version("histolab")},
            "threads": 1,
            "note": os.path.basename(self._slide),
        }

    def prepare(self):
        shutil.rmtree(self._out, ignore_errors=True)
        os.makedirs(self._out)

    def run(self, count):
        """Cuts the slide `count` times into one folder."""
        for _ in range(count):
            slide = self._open(self._slide, processed_path=self._out)
            self._tiler.extract(slide, log_level="ERROR")
        tiles = sum(name.endswith(".jpg") for name in os.listdir(self._out))
        return count * tiles


if __name__ == "__main__":
    serve(Histolab)
