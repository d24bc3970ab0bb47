"""Tiles, RNA and labels as a TCGA study is built from, of patients with barcodes."""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from pathjax.data.images import encode_jpeg
from pathjax.data.study import Split, Study
from pathjax.data.study_writer import StudyWriter

PATIENTS = [f"TCGA-A{i % 6}-00{i:02d}" for i in range(24)]
PX = 32


def tile_study(root: Path, slides, skipped=(), tiles=3) -> Study:
    """A study as `pathjax tile` makes it; a tile's colour tells of its slide."""
    writer = StudyWriter(root, name="tiles", tile_px=PX, mpp=0.5, synthetic=True)
    for number, slide in enumerate(slides):
        with writer.shard(slide) as shard:
            for k in range(tiles):
                picture = np.full((PX, PX, 3), (10 * number + k) % 256, np.uint8)
                shard.add(
                    encode_jpeg(picture, 100),
                    tile_id=f"{slide}_{k}",
                    sample_id=slide,
                    patient_id=slide[:12],
                    site=slide[5:7],
                    x=k,
                )
    table = pd.DataFrame({"slide_id": [*slides, *skipped]})
    table["status"] = ["tiled"] * len(slides) + ["skipped"] * len(skipped)
    table["reason"] = [""] * len(slides) + ["no tissue"] * len(skipped)
    table["patient_id"] = table["slide_id"].str[:12]
    table["sample_id"] = table["slide_id"]
    table["site"] = table["slide_id"].str[5:7]
    table = table.assign(
        path="", width=9, height=9, mpp=0.5, mpp_source="file", tissue=1.0
    )
    ids = table["slide_id"][: len(slides)]
    patients = tuple(sorted({one[:12] for one in slides}))
    return writer.finish(
        samples=table[["sample_id", "patient_id", "site"]][: len(ids)],
        splits=[Split("all", {"all": patients})],
        slides=table,
    )


def rna_file(path: Path, samples, genes=12) -> Path:
    values = np.random.default_rng(0).gamma(2.0, size=(len(samples), genes))
    obs = pd.DataFrame(
        {
            "case_id": [one[:12] for one in samples],
            "sample_type": [one[13:15] for one in samples],
            "aliquot": "",
            "sample": samples,
            "project": "",
        },
        index=samples,
    )
    anndata.AnnData(
        X=values.astype(np.float32),
        obs=obs,
        var=pd.DataFrame(index=[f"G{i}" for i in range(genes)]),
        uns={"pathjax": {"x": "log2(TPM+1)"}},
    ).write_h5ad(path)
    return path


def tcga_parts(tmp_path: Path) -> dict[str, object]:
    """Options of `Tcga`, and `out`: 24 patients, one with two slides, one without RNA.

    A frozen and a normal slide, a skipped one, RNA of normal tissue, and one patient
    whose TP53 the sources disagree on.
    """
    slides = [f"{one}-01Z-00-DX1" for one in PATIENTS]
    slides.insert(2, f"{PATIENTS[1]}-01Z-00-DX2")
    slides += [f"{PATIENTS[0]}-01A-01-TS1", f"{PATIENTS[0]}-11A-01-TS1"]
    tile_study(tmp_path / "tiles", slides, [f"{PATIENTS[5]}-01Z-00-DX2"])
    rna = [f"{one}-01A" for one in PATIENTS[:23]] + [f"{PATIENTS[0]}-11A"]
    rna_file(tmp_path / "rna.h5ad", rna)
    types = "\n".join(
        f"{one},{'LUAD' if i % 2 else 'BRCA'},{i % 3 % 2}"
        for i, one in enumerate(PATIENTS)
    )
    (tmp_path / "a.csv").write_text(f"patient_id,cancer_type,tp53\n{types}\n")
    (tmp_path / "b.csv").write_text(f"case_id,tp53\n{PATIENTS[0]},1\n")
    return {
        "slides": tmp_path / "tiles",
        "rna": tmp_path / "rna.h5ad",
        "labels": [tmp_path / "a.csv", tmp_path / "b.csv"],
        "out": tmp_path / "study",
    }
