"""Which files belong to which section. Reads names only, never content.

Two layouts are known: the repository's (almaan/her2st) and that of the four archives
published as Zenodo record 3957257, unpacked beside each other. Both may be gzipped.

    counts       data/ST-cnts/C2.tsv.gz                     count-matrices/C2.tsv.gz
    spots        data/ST-spotfiles/C2_selection.tsv         spot-selections/...
    image        data/ST-imgs/C/C2/*.jpg                    images/HE/C2.jpg
    pathologist  data/ST-pat/lbl/C2_labeled_coordinates.tsv meta/...
    cluster      res/ST-cluster/lbl/C2-cluster-annotation.tsv.gz

Where the image is absent, the reduced copy that the authors' viewer shows is taken
(app/www/imgs/C2_HE_image_dark.png): the same frame, fewer pixels, the background
blanked to black and a small annotated map pasted into the upper right corner.
"""

import dataclasses
import re
from pathlib import Path

from pathjax.data.study import StudyError

SECTION = re.compile(r"[A-Z][1-9][0-9]?")  # patient letter, number of the section

TABLES = {
    "counts": ("data/ST-cnts/{s}.tsv", "count-matrices/{s}.tsv"),
    "spots": (
        "data/ST-spotfiles/{s}_selection.tsv",
        "spot-selections/{s}_selection.tsv",
    ),
    "pathologist": (
        "data/ST-pat/lbl/{s}_labeled_coordinates.tsv",
        "meta/{s}_labeled_coordinates.tsv",
    ),
    "cluster": ("res/ST-cluster/lbl/{s}-cluster-annotation.tsv",),
}
IMAGES = ("data/ST-imgs/{p}/{s}/*", "images/HE/{s}.*")
VIEWER_IMAGES = ("app/www/imgs/{s}_HE_image_dark.*",)
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")


class SectionError(StudyError):
    """One section cannot be used, the others can; the message names the file."""


@dataclasses.dataclass(frozen=True)
class SectionFiles:
    """The files of one section.

    Attributes:
      section: its name, such as "C2".
      counts, spots, pathologist, cluster: tables; None where there is none.
      images: full-resolution images found; exactly one is right.
      viewer_images: reduced copies for the authors' viewer.
    """

    section: str
    counts: Path | None
    spots: Path | None
    pathologist: Path | None
    cluster: Path | None
    images: tuple[Path, ...]
    viewer_images: tuple[Path, ...]

    @property
    def patient(self) -> str:
        return self.section[0]

    def wanted(self, kind: str) -> Path:
        """The table of `kind` ("counts" or "spots").

        Raises:
          SectionError: there is none; the message says where it was looked for.
        """
        path = getattr(self, kind)
        if path is None:
            places = " or ".join(f"{p}[.gz]" for p in TABLES[kind])
            raise SectionError(
                f"no {kind} file: wanted {places.format(s=self.section)}"
            )
        return path

    def image(self, *, viewer: bool = True) -> tuple[Path, bool]:
        """The image, and whether it is the viewer's reduced copy.

        Args:
          viewer: take the viewer's copy where there is no other.

        Raises:
          SectionError: no image, or several and no rule to choose.
        """
        found = self.images or (self.viewer_images if viewer else ())
        if len(found) == 1:
            return found[0], not self.images
        if found:
            raise SectionError(
                f"{len(found)} images where one is wanted: "
                f"{', '.join(str(path) for path in found)}; remove those not meant"
            )
        places = " or ".join(IMAGES + (VIEWER_IMAGES if viewer else ()))
        extra = ""
        if self.viewer_images:
            extra = f"; {self.viewer_images[0]} is a reduced copy, unfit here"
        raise SectionError(
            f"no image: wanted {places.format(p=self.patient, s=self.section)}{extra}"
        )


def find_sections(source: str | Path) -> dict[str, SectionFiles]:
    """All sections that have counts, spots or an image, by name, sorted.

    Args:
      source: the folder that holds data/ and res/, or count-matrices/ and the rest.

    Raises:
      StudyError: there is no such folder, or nothing of her2st in it.
    """
    source = Path(source)
    if not source.is_dir():
        raise StudyError(
            f"no folder {source}: wanted the unpacked her2st data, a clone of "
            "github.com/almaan/her2st or the archives of Zenodo record 3957257"
        )
    names = sorted(set(_names(source)))
    if not names:
        wanted = ", ".join(p.format(s="*") for p in TABLES["counts"])
        raise StudyError(
            f"{source} holds no her2st section: wanted files such as {wanted} "
            "(gzipped or not)"
        )
    return {name: _files(source, name) for name in names}


def _names(source: Path) -> list[str]:
    names = []
    for kind in ("counts", "spots"):
        for pattern in TABLES[kind]:
            suffix = pattern.split("{s}")[1]
            for path in source.glob(pattern.format(s="*") + "*"):
                names.append(path.name.removesuffix(".gz").removesuffix(suffix))
    for path in source.glob("data/ST-imgs/*/*"):
        names.append(path.name)
    for path in source.glob("images/HE/*"):
        names.append(path.stem)
    return [name for name in names if SECTION.fullmatch(name)]


def _files(source: Path, section: str) -> SectionFiles:
    tables = {}
    for kind, patterns in TABLES.items():
        plain = [source / pattern.format(s=section) for pattern in patterns]
        # The gzipped file is the published one; an unzipped copy stands in for it.
        places = [p for one in plain for p in (one.with_name(one.name + ".gz"), one)]
        tables[kind] = next((path for path in places if path.is_file()), None)
    return SectionFiles(
        section=section,
        images=_images(source, section, IMAGES),
        viewer_images=_images(source, section, VIEWER_IMAGES),
        **tables,
    )


def _images(source: Path, section: str, patterns: tuple[str, ...]) -> tuple[Path, ...]:
    found = []
    for pattern in patterns:
        for path in source.glob(pattern.format(p=section[0], s=section)):
            # Archives packed on a Mac carry "._name" companions that are no images.
            if path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith("."):
                found.append(path)
    return tuple(sorted(found))
