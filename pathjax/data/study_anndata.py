"""A study as AnnData, with places and pictures where scanpy and squidpy look for them."""

import anndata
import numpy as np
import pandas as pd
from PIL import Image

PIXELS = ["pixel_x", "pixel_y"]


def to_anndata(study) -> anndata.AnnData:
    """See `Study.to_anndata`."""
    adata = study.expression()
    obs = study.samples.set_index("sample_id").loc[adata.obs_names]
    obs.index.name = None
    # Its own columns too: without the panel of each sample all genes seem measured.
    obs = obs.join(adata.obs[[name for name in adata.obs if name not in obs]])
    for name in obs:
        if not pd.api.types.is_numeric_dtype(obs[name]):
            obs[name] = obs[name].astype("category")
    adata.obs = obs
    if not set(PIXELS) <= set(obs):
        return adata
    adata.obsm["spatial"] = obs[PIXELS].to_numpy(np.float64)
    libraries = {}
    samples = study.meta.get("provenance", {}).get("samples", {})
    for name, about in samples.items():
        path = study.root / "thumbnails" / f"{name}.jpg"
        factors = {"tissue_hires_scalef": about["thumbnail_scale"]}
        factors["spot_diameter_fullres"] = about["spot_um"] / about["mpp"]
        images = {}
        if path.is_file():
            with Image.open(path) as image:
                images["hires"] = np.asarray(image.convert("RGB"))
        libraries[name] = {"images": images, "scalefactors": factors}
    if libraries:
        adata.uns["spatial"] = libraries
    return adata
