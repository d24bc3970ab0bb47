"""Reads the published files of a benchmark as records.

`ImageFiles` reads folders of images that carry labels and patients in their names. MHIST
has a table and PatchCamelyon HDF5 files.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pathjax.datasets.benchmarks.benchmark import Benchmark, BenchmarkError, Record

Groups = Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Images in folders, read in the order of their sorted paths.

    Formats may name `{stem}`, `{part}`, `{label}`, `{fold}` and groups of `name`.

    Attributes:
      suffix: Ending of the files.
      name: Regular expression of a name without ending. The group `label` is the label;
        without it the label is the part's, or else the name of the top folder.
      example: A valid name, for errors.
      fold: Fold by position in the listing and groups, of parts without a fold; None is
        an error.
      labels: Labels as they are published, if the benchmark's classes differ.
      ignored: Labels whose images are left out.
      folder: Read only images directly in folders of this name.
      complete: All published images are needed.
      tile_id, patient_id, slide_id, site: Formats; empty if unknown.
    """

    suffix: str
    name: str = ".*"
    example: str = ""
    fold: Callable[[int, Groups], str | None] = lambda position, groups: None
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    folder: str = ""
    complete: bool = False
    tile_id: str = "{stem}"
    patient_id: str = ""
    slide_id: str = ""
    site: str = ""

    def __call__(
        self, benchmark: Benchmark, paths: Mapping[str, Path]
    ) -> Iterator[Record]:
        """The records of all parts.

        Raises:
          BenchmarkError: A name, folder or number of images is not as published.
        """
        pattern = re.compile(self.name)
        for part in benchmark.parts:
            root = paths[part.key]
            by_folder = not part.label and "label" not in pattern.groupindex
            files = self._files(root, benchmark.classes if by_folder else None)
            expected = sum(benchmark.counts.values())
            if self.complete and len(files) != expected:
                raise BenchmarkError(
                    f"{root} has {len(files)} images, expected {expected}: a fold is a "
                    "range of positions in the complete listing, so an incomplete set "
                    "cannot be split; unpack the whole archive"
                )
            for position, path in enumerate(files):
                match = pattern.fullmatch(path.stem)
                groups = match.groupdict() if match else {}
                top = path.relative_to(root).parts[0]
                label = part.label or groups.get("label", top)
                label = self.labels.get(label, label)
                if match and label in self.ignored:
                    continue
                fold = part.fold or (match and self.fold(position, groups))
                if not match or not fold or label not in benchmark.classes:
                    raise BenchmarkError(
                        f"{path}: expected a name like {self.example}, with a published "
                        f"label and fold: remove it, or get it from {part.by_hand}"
                    )
                values = {"stem": path.stem, "part": part.key}
                values |= groups | {"label": label, "fold": fold}
                yield Record(
                    self.tile_id.format(**values),
                    label,
                    fold,
                    path,
                    patient_id=self.patient_id.format(**values) or None,
                    slide_id=self.slide_id.format(**values) or None,
                    site=self.site.format(**values) or None,
                )

    def _files(self, root: Path, classes: tuple[str, ...] | None) -> list[Path]:
        """Images below `root`, sorted, without the hidden files of macOS.

        With `classes`, only those in folders of these names; other folders are an error.
        """
        files = sorted(
            path
            for path in root.rglob("*")
            if path.suffix.lower() == self.suffix
            and not path.name.startswith(".")
            and self.folder in ("", path.parent.name)
        )
        if classes is None:
            return files
        folders = {path.name for path in root.iterdir() if path.is_dir()}
        unknown = [name for name in folders if not name.startswith((".", "__"))]
        unknown = sorted(set(unknown) - set(classes))
        if unknown:
            raise BenchmarkError(
                f"{root} has the folders {', '.join(unknown[:5])}, which are not "
                f"classes; expected {', '.join(sorted(classes))}: unpack the published "
                "archive again"
            )
        known = folders & set(classes)
        return [path for path in files if path.relative_to(root).parts[0] in known]


def _csv_rows(
    path: Path, columns: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Line numbers and rows of a published table."""
    # pandas is heavy, and the command line lists the benchmarks.
    from pathjax.data.tables import read_table

    try:
        table = read_table(path, columns, required=columns, only=True)
    except ValueError as error:
        raise BenchmarkError(f"{error}: use the published file") from error
    yield from zip(table.index, table.to_dict("records"), strict=True)


def read_mhist(benchmark: Benchmark, paths: Mapping[str, Path]) -> Iterator[Record]:
    """Records in the order of annotations.csv.

    Raises:
      BenchmarkError: Columns are missing, a label or partition is unknown, or the name
        of an image is a path.
    """
    table = paths["annotations"]
    columns = ("Image Name", "Majority Vote Label", "Partition")
    for line, row in _csv_rows(table, columns):
        name, label, fold = (row[column] for column in columns)
        known = label in benchmark.classes and fold in benchmark.counts
        if not known or Path(name).name != name:
            raise BenchmarkError(
                f"{table}, line {line}: image {name!r}, label {label!r}, partition "
                f"{fold!r}; expected a file name, {' or '.join(benchmark.classes)}, "
                f"{' or '.join(benchmark.counts)}: use the published file"
            )
        yield Record(Path(name).stem, label, fold, paths["images"] / name)


class _Rows:
    """The images of one HDF5 file; keeps the last block that was read."""

    BLOCK = 256  # rows per read: 7 MB

    def __init__(self, path: Path):
        self.path = path
        self._start, self._block = -1, None

    def read(self, row: int):
        import h5py

        start = row - row % self.BLOCK
        if start != self._start:
            with h5py.File(self.path) as file:
                self._block = file["x"][start : start + self.BLOCK]
            self._start = start
        return self._block[row - start]


def read_pcam(benchmark: Benchmark, paths: Mapping[str, Path]) -> Iterator[Record]:
    """Records in the order of the files.

    With the published meta files the slide is used as the patient; without them each
    image is its own patient.

    Raises:
      BenchmarkError: A dataset is missing, shapes do not fit, or a label is not 0 or 1.
    """
    for fold in benchmark.counts:
        images = paths[f"{fold} x"]
        labels = _pcam_labels(images, paths[f"{fold} y"], benchmark.tile_px)
        slides, meta = [(None, 0, 0)] * len(labels), paths.get(f"{fold} meta")
        if meta is not None:
            slides = [
                (row["wsi"], int(row["coord_x"]), int(row["coord_y"]))
                for _, row in _csv_rows(meta, ("wsi", "coord_x", "coord_y"))
            ]
            if len(slides) != len(labels):
                raise BenchmarkError(
                    f"{meta} has {len(slides)} rows for {len(labels)} images: use the "
                    "published file, or remove it"
                )
        rows = _Rows(images)
        for row, (label, (slide, x, y)) in enumerate(zip(labels, slides, strict=True)):
            name, source = f"{fold}-{row:06d}", functools.partial(rows.read, row)
            label = benchmark.classes[label]
            yield Record(name, label, fold, source, slide, slide, None, x, y)


def _pcam_labels(images: Path, labels: Path, px: int) -> list[int]:
    import h5py

    try:
        with h5py.File(images) as file, h5py.File(labels) as other:
            for path, there, key in ((images, file, "x"), (labels, other, "y")):
                if key not in there:
                    raise BenchmarkError(
                        f"{path} has no dataset {key!r} but {sorted(there)}: download "
                        "it again"
                    )
            shape, values = file["x"].shape, other["y"][:].reshape(-1)
    except OSError as error:
        raise BenchmarkError(
            f"{images} or {labels} is not a complete HDF5 file ({error}): download it "
            "again"
        ) from error
    if shape != (len(values), px, px, 3):
        raise BenchmarkError(
            f"{images} has shape {shape}, expected {(len(values), px, px, 3)} for the "
            f"{len(values)} labels of {labels}: they are not from the same set"
        )
    unknown = sorted(set(values.tolist()) - {0, 1})
    if unknown:
        raise BenchmarkError(
            f"{labels} has the labels {unknown[:5]}, expected 0 and 1: download it again"
        )
    return [int(value) for value in values]
