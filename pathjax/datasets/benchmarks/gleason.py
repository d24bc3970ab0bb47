"""Gleason (Arvaniti): prostate tissue microarrays in four grades, split by array.

The published archives hold whole cores and masks; the patches are cut from them by
the authors' own script, which pathjax does not replace. The second pathologist's
labels of the test cores are not read.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from pathjax.datasets.benchmarks.benchmark import (
    Benchmark,
    BenchmarkError,
    Part,
    Record,
    images_below,
)

CLASSES = ("benign", "gleason_3", "gleason_4", "gleason_5")
FOLD_OF_ARRAY = {"ZT76": "val", "ZT111": "train", "ZT199": "train", "ZT204": "train"}
BY_HAND = (
    "download the archives of https://doi.org/10.7910/DVN/OCYCMP, unpack them into one "
    "folder and run create_patches.py of https://github.com/eiriniar/gleason_CNN"
)


def read(parts: Mapping[str, Path]) -> Iterator[Record]:
    """Records of both folders.

    Raises:
      BenchmarkError: a name does not say array, core and class.
    """
    for key in ("discovery", "test"):
        for path in images_below(parts[key], ".jpg"):
            # ZT76_39_A_1_1_patch_12_class_0.jpg: array and core, patch, class
            core, patch, rest = path.stem.partition("_patch_")
            number = rest.rpartition("_class_")[2]
            array = core.split("_")[0]
            fold = FOLD_OF_ARRAY.get(array) if key == "discovery" else "test"
            known = number in ("0", "1", "2", "3")
            if not (patch and known and fold):
                raise BenchmarkError(
                    f"{path}: array {array!r}, class {number!r}; wanted a name as "
                    "ZT76_39_A_1_1_patch_12_class_0.jpg with classes 0 to 3, in "
                    f"{parts['discovery'].name} an array of {', '.join(FOLD_OF_ARRAY)}"
                    ": remove it, or cut the patches anew"
                )
            yield Record(
                f"{key}/{path.stem}",
                CLASSES[int(number)],
                fold,
                path,
                patient_id=f"gleason:{core}",
                slide_id=core,
            )


GLEASON = Benchmark(
    name="gleason",
    title="Gleason (Arvaniti): prostate, benign or Gleason pattern 3, 4, 5",
    parts=(
        Part("discovery", ("train_validation_patches_750",), by_hand=BY_HAND),
        Part("test", ("test_patches_750/patho_1",), by_hand=BY_HAND),
    ),
    classes=CLASSES,
    counts={"train": 15_303, "val": 2_482, "test": 4_967},
    scored="val",
    native="750 x 750",
    mpp=0.23,
    tile_px=224,
    read=read,
    rule="by array: ZT76 val; ZT111, ZT199, ZT204 train; patho_1 of the test cores "
    "test (unstable, and unused by kaiko's eva)",
    patients="a core stands for its patient; a patient with several cores is not known",
    licence="CC0 1.0",
    source="Arvaniti et al. 2018, doi:10.1038/s41598-018-30535-1; "
    "Harvard Dataverse doi:10.7910/DVN/OCYCMP",
)
