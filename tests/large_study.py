"""A study of many tiles and little disk: its shards are hard links to one.

    python tests/large_study.py STUDY RUN SLIDES    # 110 slides are 10^6 tiles

RUN is a tiny encoder with random parameters, to embed it. Each slide is a sample of its
own; ten slides are a patient's. Every slide has 9,091 tiles of 16 px, all alike, with
rows of its own: what is measured is the bookkeeping, not the disk or the encoder.
"""

import io
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from PIL import Image

from pathjax.data.study import Split, Study
from pathjax.data.study_writer import StudyWriter
from pathjax.models.model_file import Model, save_model
from pathjax.models.vit import ViT, vit_config

TILES, PX = 9091, 16


def make_study(root: Path, slides: int, tiles: int = TILES) -> Study:
    writer = StudyWriter(
        *(root,),
        name="large",
        tile_px=PX,
        mpp=0.5,
        gene_id_type=None,
        synthetic=True,
        provenance={},
        build={},
    )
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (PX, PX, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "png")
    names = [f"S{i:05d}" for i in range(slides)]
    owners = {name: f"P{i // 10:04d}" for i, name in enumerate(names)}

    def rows(name: str) -> list[dict]:
        return [
            {"tile_id": f"{name}_{i * PX}_0", "sample_id": name, "site": "",
             "patient_id": owners[name], "x": i * PX, "y": 0, "mpp": 0.5}
            for i in range(tiles)
        ]  # fmt: skip

    with writer.shard(names[0]) as shard:
        for row in rows(names[0]):
            shard.add(buffer.getvalue(), **row)
    first = root / "tiles" / f"{names[0]}.array_record"
    for name in names[1:]:
        table = pd.DataFrame(rows(name)).assign(shard=name, slide_id=name)
        writer.adopt(name, first, table.assign(row=np.arange(tiles)))
    patients = sorted(set(owners.values()))
    samples = {"sample_id": names, "patient_id": owners.values(), "site": ""}
    table = {**samples, "slide_id": names, "path": "", "status": "tiled", "reason": "",
             "width": 0, "height": 0, "mpp": 0.5, "mpp_source": "made", "tissue": 1.0}  # fmt: skip
    return writer.finish(
        samples=pd.DataFrame(samples),
        targets=[],
        splits=[Split("all", {"all": tuple(patients)})],
        slides=pd.DataFrame(table),
    )


def make_run(root: Path) -> None:
    vit = vit_config("Xs/8", width=24, depth=1, image_px=PX)
    params = jax.jit(ViT(vit).init)(jax.random.key(0), jnp.zeros((1, PX, PX, 3)))
    params = jax.tree.map(np.asarray, params["params"])
    meta = {"image_px": PX, "audit": [], "objective": {"name": "dino"}}
    save_model(root, Model({"vit": params}, vit, meta))


if __name__ == "__main__":
    make_run(Path(sys.argv[2]))
    print(len(make_study(Path(sys.argv[1]), int(sys.argv[3]))), "tiles")
