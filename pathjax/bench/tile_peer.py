"""histolab's grid tiler on a slide: run by an interpreter that has histolab 0.7.

    PYTHON tile_peer.py SLIDE OUT [CHECK]      prints JSON: tiles, seconds

It imports nothing of pathjax, whose Python is newer than histolab's. CHECK is "tissue"
for its default, which looks for tissue in each tile, or "all", which keeps every tile
of the slide and so does less than any study needs.
"""

import json
import os
import sys
import time
from importlib.metadata import version


def main() -> None:
    from histolab.slide import Slide
    from histolab.tile import Tile
    from histolab.tiler import GridTiler

    def save(tile, path):
        tile.image.convert("RGB").save(path, quality=90)

    # Its own fails: it hands OpenSlide's RGBA to the JPEG encoder. PNG, its default,
    # would be slower and no fair comparison.
    Tile.save = save
    slide, out, check = [*sys.argv[1:], "tissue"][:3]
    tiler = GridTiler(
        tile_size=(224, 224),
        level=0,
        check_tissue=check == "tissue",
        tissue_percent=35.0,
        suffix=".jpg",
    )
    start = time.perf_counter()
    tiler.extract(Slide(slide, processed_path=out), log_level="ERROR")
    seconds = time.perf_counter() - start
    tiles = sum(name.endswith(".jpg") for name in os.listdir(out))
    found = {"tiles": tiles, "seconds": seconds, "histolab": version("histolab")}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
