"""Tables, splits and a random encoder for launch/real.sh, from the raw data's file names.

    python launch/real_tables.py DATA OUT
    python launch/real_tables.py DATA OUT --splits

It writes OUT/tables/idc.csv and organ.csv for `pathjax data images`, mob.csv and lung.csv
for `pathjax data spatial`, and OUT/random, an encoder of OUT/base's shape that nothing has
trained. With `--splits` it adds the splits of the studies OUT/mob and OUT/lung.
"""

import csv
import dataclasses
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from pathjax.data.add_split import add_split
from pathjax.data.study import Split, Study
from pathjax.models.model_file import FILE, Model, load_model, save_model
from pathjax.models.vit import ViT

# IDC patches do not state their scale. 50 pixels are taken as 200 micrometres: the
# patient's slide is then 11 mm wide, as large as such slides are.
IDC_UM = 4.0
REGION_UM = 1000.0
FOLDS = 5
MONUSEG_UM = 0.25  # 40x
# The lung's image does not state its scale either: a quarter of the resolution of
# Xenium's morphology image (0.2125 um per pixel) is assumed.
LUNG_UM = 0.85
ORGANS = {
    "BRCA": "breast",
    "PRAD": "prostate",
    "BLCA": "bladder",
    "STAD": "stomach",
    **dict.fromkeys(("KIRC", "KIRP", "KICH"), "kidney"),
    **dict.fromkeys(("LUAD", "LUSC"), "lung"),
    **dict.fromkeys(("COAD", "READ"), "colon"),
}


def write(path: Path, rows: list[dict]) -> None:
    """Writes a table; all rows have the columns of the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def idc(data: Path) -> list[dict]:
    """Patches with label and place; regions of 1 mm are kept whole, in folds.

    All patches are of one patient. Regions with tumour and regions without are dealt to
    the folds in turn, so that every fold has both classes.
    """
    rows = []
    for path in sorted((data / "idc_patches").rglob("*.png")):
        named = re.fullmatch(r"(\d+)_idx5_x(\d+)_y(\d+)_class([01])", path.stem)
        if not named:
            raise SystemExit(f"{path}: expected PATIENT_idx5_xX_yY_classC.png")
        patient, x, y, label = named.groups()
        across, down = (int(int(v) * IDC_UM // REGION_UM) for v in (x, y))
        rows.append(
            {
                "path": path.resolve(),
                "patient_id": patient,
                "slide_id": f"{patient} region {across},{down}",
                "mpp": IDC_UM,
                "tissue": "IDC" if label == "1" else "non-IDC",
                "pixel_x": x,
                "pixel_y": y,
                "source_mpp": IDC_UM,
            }
        )
    tumour = {row["slide_id"] for row in rows if row["tissue"] == "IDC"}
    order = np.random.default_rng(0)
    fold = {}
    for group in (tumour, {row["slide_id"] for row in rows} - tumour):
        for place, region in enumerate(order.permutation(sorted(group))):
            fold[str(region)] = f"fold{place % FOLDS}"
    return [row | {"fold": fold[row["slide_id"]]} for row in rows]


def organ(data: Path) -> list[dict]:
    """Regions of TCGA slides with the organ of the patient's cancer type, in folds."""
    labels = data / "tcga_slide_labels" / "tcga_patient_to_cancer_type.csv"
    with open(labels, encoding="utf-8") as file:
        types = {line[0]: line[1] for line in csv.reader(file)}
    rows = [
        {
            "path": path.resolve(),
            "patient_id": path.stem[:12],
            "mpp": MONUSEG_UM,
            "organ": ORGANS.get(types.get(path.stem[:12], ""), ""),
        }
        for path in sorted((data / "monuseg").rglob("TCGA-*.jpg"))
    ]
    rows.sort(key=lambda row: (row["organ"], row["patient_id"]))
    return [row | {"fold": f"fold{n % FOLDS}"} for n, row in enumerate(rows)]


def spatial(data: Path) -> dict[str, list[dict]]:
    """Manifests: both sections of the olfactory bulb, and the lung.

    Whether the two sections are of one mouse is not stated; they are taken to be.
    """
    bulb = data / "mob_mouse"
    sections = [
        {
            "sample": name,
            "patient": "mouse",
            "path": (bulb / f"{name}.tsv.gz").resolve(),
        }
        for name in ("MOB1", "MOB2")
    ]
    lung = (data / "spatial_formats" / "hest_xenium_lung").resolve()
    return {
        "mob": sections,
        "lung": [{"patient": "NCBI858", "path": lung, "mpp": LUNG_UM}],
    }


def add_splits(out: Path) -> None:
    """Of the bulb by section, of the lung by the left and right half of its section."""
    mob = Study(out / "mob")
    sections = {name: (name,) for name in ("MOB1", "MOB2")}
    add_split(mob, Split("sections", sections, "slide_id", ("mouse",)))
    lung = Study(out / "lung")
    samples = lung.samples
    left = samples["pixel_x"] < samples["pixel_x"].median()
    halves = {
        "left": tuple(samples["sample_id"][left]),
        "right": tuple(samples["sample_id"][~left]),
    }
    add_split(lung, Split("halves", halves, "sample_id", ("NCBI858",)))


def random_encoder(base: Path, out: Path) -> None:
    """Saves an encoder of the base's shape with random parameters, timm's distributions.

    Without LayerScale, whose small factors would leave CLS the same for all images until
    it is trained.
    """
    model = load_model(base)
    vit = dataclasses.replace(model.vit, layerscale=None)
    images = jnp.zeros((1, vit.image_px, vit.image_px, 3))
    params = jax.device_get(ViT(vit).init(jax.random.key(0), images)["params"])
    kept = ("objective", "image_px", "preprocess", "panel", "init", "seed", "versions")
    meta = {key: model.meta[key] for key in kept} | {"name": "random", "audit": []}
    meta["untrained"] = True  # by which the audit knows that it has seen no patient
    out.mkdir(parents=True, exist_ok=True)
    save_model(out, Model({"vit": params}, vit, meta))


def main() -> None:
    """Writes all of it; an encoder that is there is kept."""
    data, out = map(Path, sys.argv[1:3])
    if "--splits" in sys.argv[3:]:
        add_splits(out)
        return
    for name, rows in spatial(data).items():
        write(out / "tables" / f"{name}.csv", rows)
    write(out / "tables" / "idc.csv", idc(data))
    write(out / "tables" / "organ.csv", organ(data))
    if not (out / "random" / FILE).exists():
        random_encoder(out / "base", out / "random")


if __name__ == "__main__":
    main()
