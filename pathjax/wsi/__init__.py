"""Whole slides to a study of tiles at a given micrometres per pixel (mpp).

`build.tile_study` reads a manifest, tiles each slide (`tile.py`; on Dask by
`cluster.py`) and writes the study. `base.py` defines a slide, `slide.py` opens one with
the readers. docs/tiling.md states the rules. Needs the extra `pathjax[wsi]`.
"""
