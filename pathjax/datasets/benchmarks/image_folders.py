"""The benchmarks that are folders of images: facts, layout and folds of each.

A reader takes the located parts and yields records in published order; it raises
BenchmarkError where a file's name does not say what the published names say.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pathjax.datasets.benchmarks.benchmark import (
    Benchmark,
    BenchmarkError,
    Part,
    Record,
    class_images,
    images_below,
)

# BACH: breast histology in four classes, split by position in the sorted listing.
# The archive's challenge images are unlabelled and its whole slides are not tiles;
# neither is read.
BACH_CLASSES = ("Benign", "InSitu", "Invasive", "Normal")
BACH_IMAGES = 400
# kaiko's eva chose these ranges so that no patient is on both sides; half open.
BACH_VALIDATION = ((41, 59), (60, 90), (139, 169), (240, 258), (260, 273), (345, 368))


def read_bach(parts: Mapping[str, Path]) -> Iterator[Record]:
    """Records in the order of the listing."""
    images = class_images(parts["photos"], BACH_CLASSES, ".tif")
    if len(images) != BACH_IMAGES:
        raise BenchmarkError(
            f"{parts['photos']} has {len(images)} images, expected {BACH_IMAGES}: a fold is a "
            "range of positions in the complete listing, so part of the set cannot be "
            "split; unpack the archive whole"
        )
    for place, (label, path) in enumerate(images):
        held_out = any(start <= place < end for start, end in BACH_VALIDATION)
        yield Record(path.stem, label, "val" if held_out else "train", path)


BACH = Benchmark(
    name="bach",
    title="BACH: breast, normal, benign, in situ or invasive",
    parts=(
        Part(
            "photos",
            places=("ICIAR2018_BACH_Challenge/Photos", "Photos"),
            archive="ICIAR2018_BACH_Challenge.zip",
            inside="ICIAR2018_BACH_Challenge/Photos",
            url="https://zenodo.org/records/3632035/files/ICIAR2018_BACH_Challenge.zip",
            by_hand="https://zenodo.org/records/3632035",
        ),
    ),
    classes=BACH_CLASSES,
    counts={"train": 268, "val": 132},
    scored="val",
    native="2048 x 1536",
    mpp=0.42,
    tile_px=224,
    read=read_bach,
    rule="kaiko eva's index ranges over the sorted listing of all 400",
    patients="not in the files; each image is its own, and the ranges keep patients "
    "apart",
    licence="CC BY-NC-ND 4.0",
    source="Aresta et al. 2019, doi:10.1016/j.media.2019.05.010; Zenodo 3632035",
    notes="at 224 px a pixel is 2.88 micrometres, coarser than encoders are usually "
    "trained on",
)


# BRACS regions of interest: breast lesions in seven classes, in published folds.
# BRACS's whole slides are not read. The site wants a registration, so pathjax downloads
# nothing.
BRACS_CLASSES = ("0_N", "1_PB", "2_UDH", "3_FEA", "4_ADH", "5_DCIS", "6_IC")
BRACS_FOLDS = ("train", "val", "test")
BRACS_NAME = re.compile(
    r"(BRACS_\d+)_[A-Z]+_\d+"
)  # BRACS_264_N_5.png: slide, class, number


def read_bracs(parts: Mapping[str, Path]) -> Iterator[Record]:
    """Records of the three folders."""
    for fold in BRACS_FOLDS:
        for label, path in class_images(parts[fold], BRACS_CLASSES, ".png"):
            match = BRACS_NAME.fullmatch(path.stem)
            if match is None:
                raise BenchmarkError(
                    f"{path} does not name its slide; expected a name as "
                    "BRACS_264_N_5.png: remove it, or download the folder anew"
                )
            slide = match.group(1)
            yield Record(path.stem, label, fold, path, patient_id=slide, slide_id=slide)


BRACS = Benchmark(
    name="bracs",
    title="BRACS, regions of interest: breast lesion types",
    parts=tuple(
        Part(
            fold,
            places=tuple(
                f"{root}{fold}" for root in ("BRACS_RoI/latest_version/", "BRACS_RoI/")
            ),
            by_hand="register at https://www.bracs.icar.cnr.it/download/",
        )
        for fold in BRACS_FOLDS
    ),
    classes=BRACS_CLASSES,
    counts={"train": 3_657, "val": 312, "test": 570},
    scored="test",
    native="varies",
    mpp=0.25,
    tile_px=224,
    read=read_bracs,
    rule="the published folders",
    patients="not in the files; a slide stands for its patient, and the folders hold "
    "different patients",
    licence="CC BY-NC 4.0",
    source="Brancati et al. 2022, doi:10.1093/database/baac093",
    notes="tiles differ in mpp, because regions differ in size; the study's is the "
    "median, each tile's stands in its table",
    sizes_vary=True,
)


# BreakHis at 40X: breast tumours in the four types with patients enough.
# The other magnifications show the same places again, and the four types with few
# patients (A, PT, LC, PC) cannot be split by patient; neither is read.
BREAKHIS_CLASSES = ("TA", "MC", "F", "DC")
BREAKHIS_LEFT_OUT = ("A", "PT", "LC", "PC")
# Of kaiko's eva.
BREAKHIS_VALIDATION = frozenset(
    ("18842D", "19979", "15275", "15792", "16875", "3909", "5287", "16716")
    + ("2773", "5695", "16184CD", "23060CD", "21998CD", "21998EF")
)


def read_breakhis(parts: Mapping[str, Path]) -> Iterator[Record]:
    """Records of all folders called 40X, sorted by path."""
    for path in images_below(parts["slides"], ".png"):
        if path.parent.name != "40X":
            continue
        # SOB_B_TA-14-3411F-40-001.png: procedure_B/M_TYPE-year-patient-40-number
        fields = path.stem.split("-")
        label = fields[0].split("_")[-1]
        if len(fields) != 5 or label not in BREAKHIS_CLASSES + BREAKHIS_LEFT_OUT:
            raise BenchmarkError(
                f"{path} is of type {label!r}, {len(fields)} fields; expected a name as "
                f"SOB_B_TA-14-3411F-40-001.png with {', '.join(BREAKHIS_CLASSES + BREAKHIS_LEFT_OUT)}: "
                "remove it, or unpack the published archive anew"
            )
        if label in BREAKHIS_LEFT_OUT:
            continue
        patient = fields[2]
        fold = "val" if patient in BREAKHIS_VALIDATION else "train"
        yield Record(path.stem, label, fold, path, patient_id=f"breakhis:{patient}")


BREAKHIS = Benchmark(
    name="breakhis",
    title="BreakHis, 40X: breast tumour types",
    parts=(
        Part(
            "slides",
            places=("BreaKHis_v1/histology_slides", "histology_slides"),
            archive="BreaKHis_v1.tar.gz",
            inside="BreaKHis_v1/histology_slides",
            url="http://www.inf.ufpr.br/vri/databases/BreaKHis_v1.tar.gz",
            by_hand="https://web.inf.ufpr.br/vri/databases/"
            "breast-cancer-histopathological-database-breakhis/",
        ),
    ),
    classes=BREAKHIS_CLASSES,
    counts={"train": 1_132, "val": 339},
    scored="val",
    native="700 x 460",
    mpp=0.25,
    tile_px=224,
    read=read_breakhis,
    rule="kaiko eva's list of 14 patients is val; types A, PT, LC, PC are dropped",
    patients="known: third field of each name",
    licence="CC BY 4.0",
    source="Spanhol et al. 2016, doi:10.1109/TBME.2015.2496264",
    notes="ids that differ in their last letters only (as 16184 and 16184CD) count as "
    "different patients, as in eva; whether they are is not published. mpp as in eva",
)


# NCT-CRC-HE-100K and CRC-VAL-HE-7K: colorectal tissue in nine classes.
# The colour-normalised version is read; the one without (NONORM) is another set.
CRC_CLASSES = ("ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM")
CRC_FOLDERS = {"train": "NCT-CRC-HE-100K", "val": "CRC-VAL-HE-7K"}
CRC_MD5 = {
    "train": "035777cf327776a71a05c95da6d6325f",
    "val": "2fd1651b4f94ebd818ebf90ad2b6ce06",
}


def read_crc(parts: Mapping[str, Path]) -> Iterator[Record]:
    """Records of both folders; names may occur in both, so ids carry the fold."""
    for fold in CRC_FOLDERS:
        for label, path in class_images(parts[fold], CRC_CLASSES, ".tif"):
            yield Record(f"{fold}/{path.stem}", label, fold, path)


CRC = Benchmark(
    name="crc",
    title="CRC-100K: colorectal tissue types",
    parts=tuple(
        Part(
            fold,
            places=(folder,),
            archive=f"{folder}.zip",
            inside=folder,
            url=f"https://zenodo.org/records/1214456/files/{folder}.zip",
            md5=CRC_MD5[fold],
            by_hand="https://zenodo.org/records/1214456",
        )
        for fold, folder in CRC_FOLDERS.items()
    ),
    classes=CRC_CLASSES,
    counts={"train": 100_000, "val": 7_180},
    scored="val",
    native="224 x 224",
    mpp=0.5,
    tile_px=224,
    read=read_crc,
    rule="the published folders: 100K train, 7K val",
    patients="not in the files; each image is its own, and the two folders come from "
    "different patients (the second from 50)",
    licence="CC BY 4.0",
    source="Kather et al. 2019, doi:10.1371/journal.pmed.1002730; Zenodo 1214456",
    notes="colour-normalised (Macenko) by its authors",
)


# CRC-MSI: microsatellite instability from tiles of TCGA's colorectal slides (DX).
# A tile's name carries its slide's barcode, so patients are known, and an audit against
# models that saw TCGA is possible. The set's stomach slides (STAD) are not read.
CRC_MSI_CLASSES = ("MSS", "MSIMUT")
CRC_MSI_FOLDS = {"train": "TRAIN", "test": "TEST"}
# blk-THPNGVSFMQPH-TCGA-CM-6171-01Z-00-DX1.png
CRC_MSI_NAME = re.compile(
    r"blk-[A-Z]+-((TCGA-([A-Z0-9]{2})-[A-Z0-9]{4})-[A-Z0-9]{3}-[A-Z0-9]{2}-DX[0-9A-Z]+)"
)


def read_crc_msi(parts: Mapping[str, Path]) -> Iterator[Record]:
    """Records of the four folders."""
    for fold in CRC_MSI_FOLDS:
        for label in CRC_MSI_CLASSES:
            for path in images_below(parts[f"{fold} {label}"], ".png"):
                match = CRC_MSI_NAME.fullmatch(path.stem)
                if match is None:
                    raise BenchmarkError(
                        f"{path} has no slide barcode in its name; expected "
                        "blk-LETTERS-TCGA-XX-XXXX-01Z-00-DX1.png: remove it, or "
                        "unpack the published archive anew"
                    )
                slide, patient, site = match.groups()
                yield Record(
                    f"{fold}/{label}/{path.stem}",
                    label,
                    fold,
                    path,
                    patient_id=patient,
                    slide_id=slide,
                    site=site,
                )


def _crc_msi_part(fold: str, label: str) -> Part:
    name = f"CRC_DX_{CRC_MSI_FOLDS[fold]}_{label}"
    return Part(
        f"{fold} {label}",
        places=(f"{name}/{label}", f"CRC_DX_{CRC_MSI_FOLDS[fold]}/{label}"),
        archive=f"{name}.zip",
        inside=label,
        url=f"https://zenodo.org/record/2530835/files/{name}.zip",
        by_hand="https://zenodo.org/record/2530835",
    )


CRC_MSI = Benchmark(
    name="crc-msi",
    title="CRC-MSI: colorectal cancer, MSI or highly mutated against MSS",
    parts=tuple(
        _crc_msi_part(fold, label)
        for fold in CRC_MSI_FOLDS
        for label in CRC_MSI_CLASSES
    ),
    classes=CRC_MSI_CLASSES,
    counts={"train": 93_408, "test": 98_904},
    scored="test",
    native="224 x 224",
    mpp=256 / 224,
    tile_px=224,
    read=read_crc_msi,
    rule="the published archives",
    patients="known: the TCGA barcode in each name, its first 12 characters",
    licence="CC BY 4.0 (not checked at the source); TCGA open tier",
    source="Kather et al. 2019, doi:10.1038/s41591-019-0462-y; Zenodo 2530835",
    notes="mpp is of 256 micrometres a side, while descriptions of the archive say "
    "0.5: not settled; colour-normalised (Macenko); train is balanced, "
    "test is not (MSS 70,569, MSIMUT 28,335); models trained on TCGA have seen these "
    "patients",
)


# Gleason (Arvaniti): prostate tissue microarrays in four grades, split by array.
# The published archives hold whole cores and masks; the patches are cut from them by
# the authors' own script, which pathjax does not replace. The second pathologist's
# labels of the test cores are not read.
GLEASON_CLASSES = ("benign", "gleason_3", "gleason_4", "gleason_5")
GLEASON_FOLD_OF_ARRAY = {
    "ZT76": "val",
    "ZT111": "train",
    "ZT199": "train",
    "ZT204": "train",
}
GLEASON_BY_HAND = (
    "download the archives of https://doi.org/10.7910/DVN/OCYCMP, unpack them into one "
    "folder and run create_patches.py of https://github.com/eiriniar/gleason_CNN"
)


def read_gleason(parts: Mapping[str, Path]) -> Iterator[Record]:
    """Records of both folders."""
    for key in ("discovery", "test"):
        for path in images_below(parts[key], ".jpg"):
            # ZT76_39_A_1_1_patch_12_class_0.jpg: array and core, patch, class
            core, patch, rest = path.stem.partition("_patch_")
            number = rest.rpartition("_class_")[2]
            array = core.split("_")[0]
            fold = GLEASON_FOLD_OF_ARRAY.get(array) if key == "discovery" else "test"
            known = number in ("0", "1", "2", "3")
            if not (patch and known and fold):
                raise BenchmarkError(
                    f"{path}: array {array!r}, class {number!r}; expected a name as "
                    "ZT76_39_A_1_1_patch_12_class_0.jpg with classes 0 to 3, in "
                    f"{parts['discovery'].name} an array of {', '.join(GLEASON_FOLD_OF_ARRAY)}"
                    ": remove it, or cut the patches anew"
                )
            yield Record(
                f"{key}/{path.stem}",
                GLEASON_CLASSES[int(number)],
                fold,
                path,
                patient_id=f"gleason:{core}",
                slide_id=core,
            )


GLEASON = Benchmark(
    name="gleason",
    title="Gleason (Arvaniti): prostate, benign or Gleason pattern 3, 4, 5",
    parts=(
        Part("discovery", ("train_validation_patches_750",), by_hand=GLEASON_BY_HAND),
        Part("test", ("test_patches_750/patho_1",), by_hand=GLEASON_BY_HAND),
    ),
    classes=GLEASON_CLASSES,
    counts={"train": 15_303, "val": 2_482, "test": 4_967},
    scored="val",
    native="750 x 750",
    mpp=0.23,
    tile_px=224,
    read=read_gleason,
    rule="by array: ZT76 val; ZT111, ZT199, ZT204 train; patho_1 of the test cores "
    "test (unstable, and unused by kaiko's eva)",
    patients="a core stands for its patient; a patient with several cores is not known",
    licence="CC0 1.0",
    source="Arvaniti et al. 2018, doi:10.1038/s41598-018-30535-1; "
    "Harvard Dataverse doi:10.7910/DVN/OCYCMP",
)
