"""Whole slides to a study of tiles, at a stated micrometres per pixel.

    manifest.py        a folder or a CSV -> which slides, whose, at what mpp
    slide.py           a path -> an open slide, whatever its format
      openslide_file.py  what OpenSlide reads
      tiff_file.py       TIFF and OME-TIFF that OpenSlide does not
      image_file.py      PNG, JPEG and other plain pictures
    scale.py           mpp of a slide; which level a tile is read from, and how large
    overview.py        the slide at about 8 micrometres per pixel, and marks on it
    tissue.py          overview -> where tissue is
    grid.py            tissue -> where tiles are, in level-0 pixels
    coordinates.py     the same from files of TRIDENT and CLAM
    cut.py             places -> encoded tiles, in order, in little memory
    tile.py            one slide -> one shard: the unit of work, safe to repeat
    cluster.py         many slides, here or on Dask's workers
    build.py           the study

docs/tiling.md states the rules. Needs the extra `pathjax[wsi]`.
"""
