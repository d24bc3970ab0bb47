"""A study of many tiles and little disk: its shards are hard links to one.

    python tests/large_study.py STUDY RUN SLIDES        # 110 slides are 10^6 tiles
    python tests/large_study.py STUDY RUN SLIDES OUT    # with rows for what reads them

RUN is a tiny encoder with random parameters, to embed it, and a head of six genes. Each slide is a sample of its
own; ten slides are a patient's, and every other patient's `status` is 1. Every slide has
9,091 tiles of 16 px, all alike, with rows of its own: what is measured is the
bookkeeping, not the disk or the encoder.

With OUT, `pathjax evaluate model=RUN --tasks OUT/tasks.json --study STUDY --out OUT` and
`pathjax predict RUN STUDY --out OUT` find all tiles embedded, but for their own check and
copy of the rows. Each row is noise plus its patient's status, which a probe of patients
therefore finds.
"""

import io
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from PIL import Image

from pathjax import objectives
from pathjax.data.expression import GenePanel
from pathjax.data.split import Split, Target
from pathjax.data.study import Study, sha256
from pathjax.data.study_writer import StudyWriter
from pathjax.embeddings.cache import identity
from pathjax.embeddings.embedding_rows import EmbeddingRows
from pathjax.models.model_file import Model, save_model
from pathjax.models.vit import vit_config

TILES, PX = 9091, 16


def make_study(
    root: Path, slides: int, tiles: int = TILES, of_a_patient: int = 10
) -> Study:
    writer = StudyWriter(root, name="large", tile_px=PX, mpp=0.5, synthetic=True)
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (PX, PX, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "png")
    names = [f"S{i:05d}" for i in range(slides)]
    owners = {name: f"P{i // of_a_patient:05d}" for i, name in enumerate(names)}

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
    checksum = sha256(first)
    for name in names[1:]:
        table = pd.DataFrame(rows(name)).assign(shard=name, slide_id=name)
        writer.adopt(name, first, table.assign(row=np.arange(tiles)), checksum)
    patients = sorted(set(owners.values()))
    half = len(patients) // 2
    status = [str(int(owners[name][1:]) % 2) for name in names]
    samples = {"sample_id": names, "patient_id": owners.values(), "site": ""}
    table = {**samples, "slide_id": names, "path": "", "status": "tiled", "reason": "",
             "width": 0, "height": 0, "mpp": 0.5, "mpp_source": "made", "tissue": 1.0}  # fmt: skip
    return writer.finish(
        samples=pd.DataFrame(samples | {"status": status}),
        targets=[Target("status", "sample", "class", ("0", "1"), "made")],
        splits=[
            Split("all", {"all": tuple(patients)}),
            Split(
                "cohort",
                {"fit": tuple(patients[half:]), "test": tuple(patients[:half])},
            ),
        ],
        slides=pd.DataFrame(table),
    )


def make_run(root: Path) -> None:
    vit = vit_config("Xs/8", width=24, depth=1, image_px=PX)
    genes = tuple("ABCDEF")
    panel = GenePanel(genes, np.zeros(6, np.float32), np.ones(6, np.float32), 9)
    meta = {"image_px": PX, "audit": [], "objective": {"name": "regression"}}
    meta |= {"panel": panel.to_json(), "tiles": {"px": PX, "mpp": 0.5}}
    batch = {
        "image": jnp.zeros((1, 1, PX, PX, 3), jnp.uint8),
        "expression": jnp.zeros((1, len(genes))),
    }
    objective = objectives.of_model(Model({}, vit, meta))
    params, _ = jax.jit(objective.init)(jax.random.key(0), batch)
    save_model(root, Model(jax.tree.map(np.asarray, params), vit, meta))


def embed_rows(out: Path, study: Study, model: str, width: int = 24) -> None:
    """Leaves every tile embedded in `FILE.h5.partial`, as an interrupted `embed` does."""
    about = {
        "model": model,
        "input": study.fingerprint,
        "pool": "cls",
        "preprocess": {"crop": PX},
    }
    random = np.random.default_rng(0)
    folder = out.with_name(f"{out.name}.partial")
    with EmbeddingRows(folder, about, width) as rows:
        for run_of_tiles in study.runs.itertuples():
            features = random.standard_normal((run_of_tiles.tiles, width), np.float32)
            features += int(run_of_tiles.patient_id[1:]) % 2
            rows.append(features, tiles=len(features), skipped=[], sizes=set())


def prepare_evaluation(out: Path, study: Study, run: Path) -> None:
    """Rows of every tile for `evaluate` and `predict` with `--out OUT`, and a task."""
    file = out / "embeddings" / f"{study.name}-model.h5"
    embed_rows(file, study, identity(run))
    rows, linked = (
        one.with_name(f"{one.name}.partial") for one in (file, out / "embeddings.h5")
    )
    linked.mkdir()
    for name in ("journal.jsonl", "rows.f32"):
        (linked / name).hardlink_to(rows / name)
    task = {"name": "status", "study": study.name, "target": "status", "level": "sample",
            "kind": "classification", "split": "cohort", "fit": "fit", "test": "test"}  # fmt: skip
    (out / "tasks.json").write_text(json.dumps([task]))


if __name__ == "__main__":
    study_folder, run, slides, *rest = sys.argv[1:]
    make_run(Path(run))
    study = make_study(Path(study_folder), int(slides))
    for out in rest:
        prepare_evaluation(Path(out), study, Path(run))
    print(len(study), "tiles")
