"""Spatial transcriptomics with H&E, in the formats that people have it.

A path is recognised by its content (formats.py), read as a `SpatialSample` (one module
a format), checked (scale.py, registration.py) and written as a study (build.py). Reads
no whole slides without positions: that is `pathjax.wsi`.
"""
