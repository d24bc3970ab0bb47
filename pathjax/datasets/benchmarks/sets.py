"""The benchmarks, as data. To add one, add it to BENCHMARKS."""

from pathjax.datasets.benchmarks.benchmark import Benchmark, Part
from pathjax.datasets.benchmarks.readers import ImageFiles, read_mhist, read_pcam

# kaiko's eva chose these positions (end exclusive) so that no patient is on both sides.
BACH_VALIDATION = ((41, 59), (60, 90), (139, 169), (240, 258), (260, 273), (345, 368))

# The archive also has unlabelled challenge images and whole slides.
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
    classes=("Benign", "InSitu", "Invasive", "Normal"),
    counts={"train": 268, "val": 132},
    scored="val",
    native="2048 x 1536",
    mpp=0.42,
    tile_px=224,
    read=ImageFiles(
        ".tif",
        complete=True,
        fold=lambda position, _: (
            "val" if any(a <= position < b for a, b in BACH_VALIDATION) else "train"
        ),
    ),
    rule="kaiko eva's index ranges over the sorted listing of all 400",
    patients="not in the files; each image is its own, and the ranges keep patients "
    "apart",
    licence="CC BY-NC-ND 4.0",
    source="Aresta et al. 2019, doi:10.1016/j.media.2019.05.010; Zenodo 3632035",
    notes="at 224 px a pixel is 2.88 micrometres, coarser than encoders are usually "
    "trained on",
)

PCAM_PAGE = "https://zenodo.org/records/2546921"
PCAM_FILES = {"train": "train", "val": "valid", "test": "test"}
PCAM_MD5 = {  # of the uncompressed files
    "train x": "01844da899645b4d6f84946d417ba453",
    "train y": "0781386bf6c2fb62d58ff18891466aca",
    "val x": "81cf9680f1724c40673f10dc88e909b1",
    "val y": "94d8aacc249253159ce2a2e78a86e658",
    "test x": "2614b2e6717d6356be141d9d6dbfcb7e",
    "test y": "11ed647efe9fe457a4eb45df1dba19ba",
}


def _pcam_part(fold: str, kind: str) -> Part:
    stem = f"camelyonpatch_level_2_split_{PCAM_FILES[fold]}_{kind}"
    if kind == "meta":
        return Part(f"{fold} meta", (f"{stem}.csv",), by_hand=PCAM_PAGE, optional=True)
    return Part(
        f"{fold} {kind}",
        places=(f"{stem}.h5",),
        archive=f"{stem}.h5.gz",
        url=f"{PCAM_PAGE}/files/{stem}.h5.gz",
        md5=PCAM_MD5[f"{fold} {kind}"],
        md5_of="content",
        by_hand=PCAM_PAGE,
    )


PCAM = Benchmark(
    name="pcam",
    title="PatchCamelyon: lymph node metastases",
    parts=tuple(
        _pcam_part(fold, kind) for fold in PCAM_FILES for kind in ("x", "y", "meta")
    ),
    classes=("no_tumor", "tumor"),
    counts={"train": 262_144, "val": 32_768, "test": 32_768},
    scored="test",
    native="96 x 96",
    mpp=1.0,
    tile_px=96,
    read=read_pcam,
    rule="the published files",
    patients="a slide stands for its patient where the files ..._meta.csv lie beside "
    "the images; without them each image is its own, and intervals are too narrow",
    licence="CC0 1.0",
    source="Veeling et al. 2018, arXiv:1806.03962; Zenodo 2546921",
    notes="made from Camelyon16",
)

MHIST_PAGE = "request it at https://bmirds.github.io/MHIST/#accessing-dataset"

MHIST = Benchmark(
    name="mhist",
    title="MHIST: colorectal polyps, SSA or HP",
    parts=(
        Part("annotations", ("annotations.csv",), by_hand=MHIST_PAGE),
        Part("images", ("images",), "images.zip", inside="images", by_hand=MHIST_PAGE),
    ),
    classes=("SSA", "HP"),
    counts={"train": 2_175, "test": 977},
    scored="test",
    native="224 x 224",
    mpp=2.0,
    tile_px=224,
    read=read_mhist,
    rule="column Partition of annotations.csv (kaiko's eva calls its test val)",
    patients="not in the files; each image is its own",
    licence="research use agreement of its authors",
    source="Wei et al. 2021, arXiv:2101.12355; bmirds.github.io/MHIST",
)

# The version without colour normalisation (NONORM) is another set.
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
            md5=md5,
            by_hand="https://zenodo.org/records/1214456",
            fold=fold,
        )
        for fold, folder, md5 in (
            ("train", "NCT-CRC-HE-100K", "035777cf327776a71a05c95da6d6325f"),
            ("val", "CRC-VAL-HE-7K", "2fd1651b4f94ebd818ebf90ad2b6ce06"),
        )
    ),
    classes=("ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM"),
    counts={"train": 100_000, "val": 7_180},
    scored="val",
    native="224 x 224",
    mpp=0.5,
    tile_px=224,
    read=ImageFiles(".tif", tile_id="{fold}/{stem}"),  # a name may be in both folds
    rule="the published folders: 100K train, 7K val",
    patients="not in the files; each image is its own, and the two folders come from "
    "different patients (the second from 50)",
    licence="CC BY 4.0",
    source="Kather et al. 2019, doi:10.1371/journal.pmed.1002730; Zenodo 1214456",
    notes="colour-normalised (Macenko) by its authors",
)

# The stomach slides (STAD) of the same publication are not read.
CRC_MSI = Benchmark(
    name="crc-msi",
    title="CRC-MSI: colorectal cancer, MSI or highly mutated against MSS",
    parts=tuple(
        Part(
            f"{fold} {label}",
            places=(f"{folder}_{label}/{label}", f"{folder}/{label}"),
            archive=f"{folder}_{label}.zip",
            inside=label,
            url=f"https://zenodo.org/record/2530835/files/{folder}_{label}.zip",
            by_hand="https://zenodo.org/record/2530835",
            fold=fold,
            label=label,
        )
        for fold, folder in (("train", "CRC_DX_TRAIN"), ("test", "CRC_DX_TEST"))
        for label in ("MSS", "MSIMUT")
    ),
    classes=("MSS", "MSIMUT"),
    counts={"train": 93_408, "test": 98_904},
    scored="test",
    native="224 x 224",
    mpp=256 / 224,
    tile_px=224,
    read=ImageFiles(
        ".png",
        name=r"blk-[A-Z]+-(?P<slide>(?P<patient>TCGA-(?P<site>[A-Z0-9]{2})-[A-Z0-9]{4})"
        r"-[A-Z0-9]{3}-[A-Z0-9]{2}-DX[0-9A-Z]+)",
        example="blk-LETTERS-TCGA-XX-XXXX-01Z-00-DX1.png",
        tile_id="{fold}/{label}/{stem}",
        patient_id="{patient}",
        slide_id="{slide}",
        site="{site}",
    ),
    rule="the published archives",
    patients="known: the TCGA barcode in each name, its first 12 characters",
    licence="CC BY 4.0 (not checked at the source); TCGA open tier",
    source="Kather et al. 2019, doi:10.1038/s41591-019-0462-y; Zenodo 2530835",
    notes="mpp is of 256 micrometres a side, while descriptions of the archive say "
    "0.5: not settled; colour-normalised (Macenko); train is balanced, "
    "test is not (MSS 70,569, MSIMUT 28,335); models trained on TCGA have seen these "
    "patients",
)

# Chosen by kaiko's eva.
BREAKHIS_VALIDATION = frozenset(
    ("18842D", "19979", "15275", "15792", "16875", "3909", "5287", "16716")
    + ("2773", "5695", "16184CD", "23060CD", "21998CD", "21998EF")
)

# Other magnifications show the same places. The four ignored types have too few patients
# to be split by patient.
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
    classes=("TA", "MC", "F", "DC"),
    counts={"train": 1_132, "val": 339},
    scored="val",
    native="700 x 460",
    mpp=0.25,
    tile_px=224,
    read=ImageFiles(
        ".png",
        # procedure_B/M_TYPE-year-patient-magnification-number
        name=r"(?:[^-]*_)?(?P<label>[^-_]*)-[^-]*-(?P<patient>[^-]*)-[^-]*-[^-]*",
        example="SOB_B_TA-14-3411F-40-001.png",
        fold=lambda _, groups: (
            "val" if groups["patient"] in BREAKHIS_VALIDATION else "train"
        ),
        ignored=("A", "PT", "LC", "PC"),
        folder="40X",
        patient_id="breakhis:{patient}",
    ),
    rule="kaiko eva's list of 14 patients is val; types A, PT, LC, PC are dropped",
    patients="known: third field of each name",
    licence="CC BY 4.0",
    source="Spanhol et al. 2016, doi:10.1109/TBME.2015.2496264",
    notes="ids that differ in their last letters only (as 16184 and 16184CD) count as "
    "different patients, as in eva; whether they are is not published. mpp as in eva",
)

GLEASON_PAGE = (
    "download the archives of https://doi.org/10.7910/DVN/OCYCMP, unpack them into one "
    "folder and run create_patches.py of https://github.com/eiriniar/gleason_CNN"
)
GLEASON_FOLDS = {"ZT76": "val", "ZT111": "train", "ZT199": "train", "ZT204": "train"}
GLEASON_CLASSES = ("benign", "gleason_3", "gleason_4", "gleason_5")

# The archives hold whole cores and masks; the authors' script cuts the patches. The
# second pathologist's labels of the test cores are not read.
GLEASON = Benchmark(
    name="gleason",
    title="Gleason (Arvaniti): prostate, benign or Gleason pattern 3, 4, 5",
    parts=(
        Part("discovery", ("train_validation_patches_750",), by_hand=GLEASON_PAGE),
        Part("test", ("test_patches_750/patho_1",), by_hand=GLEASON_PAGE, fold="test"),
    ),
    classes=GLEASON_CLASSES,
    counts={"train": 15_303, "val": 2_482, "test": 4_967},
    scored="val",
    native="750 x 750",
    mpp=0.23,
    tile_px=224,
    read=ImageFiles(
        ".jpg",
        name=r"(?P<core>(?P<array>[^_]*).*?)_patch_.*_class_(?P<label>[0-3])",
        example="ZT76_39_A_1_1_patch_12_class_0.jpg",
        fold=lambda _, groups: GLEASON_FOLDS.get(groups["array"]),
        labels={str(i): label for i, label in enumerate(GLEASON_CLASSES)},
        tile_id="{part}/{stem}",
        patient_id="gleason:{core}",
        slide_id="{core}",
    ),
    rule="by array: ZT76 val; ZT111, ZT199, ZT204 train; patho_1 of the test cores "
    "test (unstable, and unused by kaiko's eva)",
    patients="a core stands for its patient; a patient with several cores is not known",
    licence="CC0 1.0",
    source="Arvaniti et al. 2018, doi:10.1038/s41598-018-30535-1; "
    "Harvard Dataverse doi:10.7910/DVN/OCYCMP",
)

# Whole slides are not read.
BRACS = Benchmark(
    name="bracs",
    title="BRACS, regions of interest: breast lesion types",
    parts=tuple(
        Part(
            fold,
            places=(f"BRACS_RoI/latest_version/{fold}", f"BRACS_RoI/{fold}"),
            by_hand="register at https://www.bracs.icar.cnr.it/download/",
            fold=fold,
        )
        for fold in ("train", "val", "test")
    ),
    classes=("0_N", "1_PB", "2_UDH", "3_FEA", "4_ADH", "5_DCIS", "6_IC"),
    counts={"train": 3_657, "val": 312, "test": 570},
    scored="test",
    native="varies",
    mpp=0.25,
    tile_px=224,
    read=ImageFiles(
        ".png",
        name=r"(?P<slide>BRACS_\d+)_[A-Z]+_\d+",  # slide, class, number
        example="BRACS_264_N_5.png",
        patient_id="{slide}",
        slide_id="{slide}",
    ),
    rule="the published folders",
    patients="not in the files; a slide stands for its patient, and the folders hold "
    "different patients",
    licence="CC BY-NC 4.0",
    source="Brancati et al. 2022, doi:10.1093/database/baac093",
    notes="tiles differ in mpp, because regions differ in size; the study's is the "
    "median, each tile's stands in its table",
    sizes_vary=True,
)

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (BACH, PCAM, MHIST, CRC, CRC_MSI, BREAKHIS, GLEASON, BRACS)
}
