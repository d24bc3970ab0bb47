"""Small trees in the layouts that are published, one function per benchmark."""

import dataclasses
import io

import h5py
import numpy as np
import pytest
from PIL import Image

from pathjax.datasets.benchmarks import BENCHMARKS, BenchmarkError
from pathjax.datasets.benchmarks.build import build_benchmark


def image_bytes(form, size=(12, 8), colour=(200, 90, 160)):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, form)
    return buffer.getvalue()


FORM = {".tif": "TIFF", ".png": "PNG", ".jpg": "JPEG"}


def put(path, size=(12, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(image_bytes(FORM[path.suffix], size))


def bach(root):
    photos = root / "ICIAR2018_BACH_Challenge" / "Photos"
    for label, prefix in zip(
        BENCHMARKS["bach"].classes, ("b", "is", "iv", "n"), strict=True
    ):
        for number in range(1, 101):
            put(photos / label / f"{prefix}{number:03d}.tif")
    (photos / "microscopy_ground_truth.csv").write_text("n001.tif,Normal\n")


def crc(root):
    for folder in ("NCT-CRC-HE-100K", "CRC-VAL-HE-7K"):
        for label in BENCHMARKS["crc"].classes:
            for letters in ("AAQEFMRI", "YYYHKNMK"):
                put(root / folder / label / f"{label}-{letters}.tif")


def crc_msi(root):
    for fold, patients in (("TRAIN", ("CM-6171", "AA-3845")), ("TEST", ("AY-4070",))):
        for label in ("MSIMUT", "MSS"):
            for i, patient in enumerate(patients):
                for letters in ("THPNGVSFMQPH", "YYNNMCRNWWEP"):
                    slide = f"TCGA-{patient[:-1]}{i}-01Z-00-DX1"
                    if label == "MSS":
                        slide = slide.replace("-01Z", "-01A")
                    folder = root / f"CRC_DX_{fold}_{label}" / label
                    put(folder / f"blk-{letters}-{slide}.png")


def mhist(root):
    votes = "Number of Annotators who Selected SSA (Out of 7)"
    rows = [f"Image Name,Majority Vote Label,{votes},Partition"]
    for i, (label, fold) in enumerate(
        [("SSA", "train"), ("HP", "train"), ("HP", "test"), ("SSA", "test")]
    ):
        name = f"MHIST_aa{'abcd'[i]}.png"
        put(root / "images" / name)
        rows.append(f"{name},{label},{i},{fold}")
    (root / "annotations.csv").write_text("\n".join(rows) + "\n")


BREAKHIS_FOLDERS = {
    "A": "benign/SOB/adenosis",
    "F": "benign/SOB/fibroadenoma",
    "TA": "benign/SOB/tubular_adenoma",
    "MC": "malignant/SOB/mucinous_carcinoma",
    "DC": "malignant/SOB/ductal_carcinoma",
}


def breakhis(root, patients=None):
    breast = root / "BreaKHis_v1" / "histology_slides" / "breast"
    patients = patients or {
        "A": ("22549AB",),
        "F": ("9133", "23060CD"),
        "TA": ("3411F", "16184CD", "16184"),
        "MC": ("19979", "13413"),
        "DC": ("2773", "2980"),
    }
    for label, names in patients.items():
        side = "B" if "benign" in BREAKHIS_FOLDERS[label] else "M"
        for patient in names:
            slide = (
                breast / BREAKHIS_FOLDERS[label] / f"SOB_{side}_{label}_14-{patient}"
            )
            for power in ("40", "100"):
                stem = f"SOB_{side}_{label}-14-{patient}-{power}"
                for number in (1, 2):
                    put(slide / f"{power}X" / f"{stem}-{number:03d}.png")


def gleason(root):
    cores = ("ZT76_39_A_1_1", "ZT111_4_B_4_6", "ZT199_1_A_2_2", "ZT204_6_B_7_8")
    for i, core in enumerate(cores):
        for patch in (3, 12):
            name = f"{core}_patch_{patch}_class_{i}.jpg"
            put(root / "train_validation_patches_750" / core / name)
    for who, label in (("patho_1", 1), ("patho_2", 2)):
        core = "ZT80_38_A_1_2"
        name = f"{core}_patch_18_class_{label}.jpg"
        put(root / "test_patches_750" / who / core / name)


def bracs(root):
    for i, fold in enumerate(("train", "val", "test")):
        for number, label in enumerate(BENCHMARKS["bracs"].classes):
            folder = root / "BRACS_RoI" / "latest_version" / fold / label
            slide = 264 + i
            stem = f"BRACS_{slide}_{label.partition('_')[2]}_{number}"
            put(folder / f"{stem}.png", (12 + 4 * number, 16))


def pcam(root, count=5, meta=True):
    root.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for fold in ("train", "valid", "test"):
        stem = f"camelyonpatch_level_2_split_{fold}"
        images = random.integers(0, 256, (count, 96, 96, 3), np.uint8)
        with h5py.File(root / f"{stem}_x.h5", "w") as file:
            file["x"] = images
        with h5py.File(root / f"{stem}_y.h5", "w") as file:
            labels = np.arange(count, dtype=np.uint8) % 2
            file["y"] = labels.reshape(-1, 1, 1, 1)
        if meta:
            lines = [",coord_y,coord_x,tumor_patch,center_tumor_patch,wsi"]
            lines += [
                f"{i},{10 * i},{20 * i},True,True,camelyon16_{fold}_{i // 2}"
                for i in range(count)
            ]
            text = "\n".join(lines) + "\n"
            (root / f"{stem}_meta.csv").write_text(text)


TREES = {
    "bach": bach,
    "pcam": pcam,
    "mhist": mhist,
    "crc": crc,
    "crc-msi": crc_msi,
    "breakhis": breakhis,
    "gleason": gleason,
    "bracs": bracs,
}


@pytest.fixture
def trees():
    """Functions that make the published tree of a benchmark in a folder."""
    return TREES


@pytest.fixture
def put_image():
    """Writes one small image."""
    return put


@pytest.fixture
def small():
    """A benchmark with small stored tiles and, for PCam, checksums of its own."""

    def made(name, **changes):
        benchmark = BENCHMARKS[name]
        if name == "pcam":  # its tiles have one size, and checksums are published
            parts = [dataclasses.replace(p, md5="") for p in benchmark.parts]
            changes = {"parts": tuple(parts)} | changes
        else:
            changes = {"tile_px": 8} | changes
        return dataclasses.replace(benchmark, **changes)

    return made


@pytest.fixture
def refuses(tmp_path):
    """Requires that the files in `tmp_path` are no set of a name, by the message."""

    def require(name, message, benchmark=None):
        benchmark = benchmark or BENCHMARKS[name]
        with pytest.raises(BenchmarkError, match=message):
            build_benchmark(
                benchmark, tmp_path / "out", manual_dir=tmp_path, partial=True
            )

    return require
