"""Builds a study shard by shard, so that an interrupted build resumes.

A shard is written beside its final name and renamed when whole; its rows are kept in
`.build/` until `finish` joins them. study.json is written last: a directory with one is
a whole study. What is in a study is up to the sources.
"""

import contextlib
import dataclasses
import json
import logging
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import pathjax
from pathjax.data import additions
from pathjax.data.check import IndexCheck, table_problems
from pathjax.data.study import SCHEMA, Split, Study, StudyError, Target, listing, sha256
from pathjax.data.study_tables import (
    complete_slides,
    join,
    schema_of,
    slide_problems,
    stream,
)
from pathjax.files import atomic_path, command_line, link, write_json

# Names of shards and splits: with ending and `atomic_path`'s part at most 255 bytes.
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,219}")
# One record per group: random reads are 5 to 10 times slower otherwise.
RECORD_OPTIONS = "group_size:1,uncompressed"
log = logging.getLogger(__name__)


class ShardWriter:
    """Takes the tiles of one shard; made by `StudyWriter.shard`."""

    def __init__(self, records, name: str, mpp: float):
        self._records = records
        self._name = name
        self._mpp = mpp
        self.rows: list[dict[str, Any]] = []

    def add(
        self,
        data: bytes,
        *,
        tile_id: str,
        sample_id: str,
        patient_id: str,
        site: str,
        x: int = 0,
        y: int = 0,
        mpp: float | None = None,
        slide_id: str | None = None,
        **targets: Any,
    ) -> None:
        """Appends one encoded tile.

        Args:
          data: JPEG or PNG bytes.
          tile_id: Unique in the study.
          sample_id, patient_id, site: Whose tile it is.
          x, y: Top left corner in the slide, level-0 pixels, where there is one.
          mpp: Micrometres per pixel of the tile as stored; None for the study's.
          slide_id: The slide, where a shard holds several; else the shard's name.
          **targets: Tile-level targets by name.
        """
        self._records.write(data)
        self.rows.append(
            {
                "tile_id": tile_id,
                "sample_id": sample_id,
                "patient_id": patient_id,
                "site": site,
                "slide_id": self._name if slide_id is None else slide_id,
                "x": int(x),
                "y": int(y),
                "mpp": float(self._mpp if mpp is None else mpp),
                "shard": self._name,
                "row": len(self.rows),
                **targets,
            }
        )


class StudyWriter:
    """Builds one study.

    Args:
      root: Directory; made when missing.
      name: The study's name.
      tile_px: Side of a stored tile in pixels.
      mpp: Micrometres per pixel of stored tiles.
      gene_id_type: What `var_names` are ("symbol", "ensembl"), None without genes; an
        attribute, which may be set until `finish`.
      synthetic: Labels everything made from it as synthetic.
      provenance: Sources, licences, checksums, free text.
      build: Parameters that decide the tiles' content; shards of others do not mix.

    Raises:
      StudyError: The directory was begun with other parameters.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        name: str,
        tile_px: int,
        mpp: float,
        gene_id_type: str | None = None,
        synthetic: bool = False,
        provenance: dict[str, Any] | None = None,
        build: dict[str, Any] | None = None,
    ):
        build = build or {}
        self.root = Path(root)
        self.mpp = float(mpp)
        self.gene_id_type = gene_id_type
        self._meta = {
            "schema": SCHEMA,
            "name": name,
            "synthetic": synthetic,
            "tile_px": int(tile_px),
            "mpp": self.mpp,
            "gene_id_type": gene_id_type,
            "provenance": {
                **(provenance or {}),
                "pathjax": pathjax.__version__,
                "command": command_line(),
            },
            "build": build,
        }
        self._skipped: list[dict[str, str]] = []
        self._order: list[str] = []
        self._whole: set[str] = set()  # compared with their checksums already
        (self.root / "tiles").mkdir(parents=True, exist_ok=True)
        path = self.root / ".build" / "parameters.json"
        if not path.exists():
            write_json(path, build)
        begun = json.loads(path.read_text(encoding="utf-8"))
        build = json.loads(json.dumps(build))
        changes = [
            f"{key}: {begun.get(key)!r} there, {build.get(key)!r} now"
            for key in sorted(set(begun) | set(build))
            if begun.get(key) != build.get(key)
        ]
        if changes:
            raise StudyError(
                f"{self.root} was begun with other parameters "
                f"({listing(changes)}): choose another directory, or remove it"
            )

    def _rows_path(self, shard: str) -> Path:
        return self.root / ".build" / f"{shard}.parquet"

    def _shard(self, shard: str) -> Path:
        return self.root / "tiles" / f"{shard}.array_record"

    def has_shard(self, shard: str) -> bool:
        """True when the shard is whole already; it then counts as part of the study.

        Whole is one with the size and the SHA-256 that it was written with, read once.
        Another, such as after a crash of the file system, is to be written again.
        """
        rows, path = self._rows_path(shard), self._shard(shard)
        if not rows.exists() or not path.exists():
            return False
        if shard not in self._whole:
            if problem := self._damage(shard):
                log.warning("%s %s: it is written again", path, problem)
                return False
            self._whole.add(shard)
        if shard not in self._order:
            self._order.append(shard)
        return True

    def _damage(self, shard: str) -> str:
        """How a shard differs from what was written; "" if it does not."""
        try:
            about = pq.read_metadata(self._rows_path(shard)).metadata
        except pa.ArrowInvalid:
            return "has unreadable rows"
        size, written = self._shard(shard).stat().st_size, about[b"bytes"].decode()
        if str(size) != written:
            return f"has {size} bytes, {written} were written"
        if about[b"sha256"].decode() != sha256(self._shard(shard)):
            return "has other bytes than were written"
        return ""

    @contextlib.contextmanager
    def shard(self, shard: str) -> Iterator[ShardWriter]:
        """Opens a shard for the tiles of one slide, section or group of patients.

        The shard appears when the block ends; an exception discards it.

        Raises:
          StudyError: The name cannot be a file name, or the shard would be empty.
        """
        from array_record.python.array_record_module import ArrayRecordWriter

        check_name(shard, "shard")
        with atomic_path(self._shard(shard)) as partial:
            records = ArrayRecordWriter(str(partial), RECORD_OPTIONS)
            writer = ShardWriter(records, shard, self.mpp)
            try:
                yield writer
            finally:
                records.close()
            if not writer.rows:
                raise StudyError(f"shard {shard} got no tile: use skip() instead")
            # Rows of an earlier shard of this name are not those of the new one.
            self._rows_path(shard).unlink(missing_ok=True)
        self._keep_rows(shard, pd.DataFrame(writer.rows))

    def _keep_rows(
        self, shard: str, rows: pd.DataFrame, checksum: str | None = None
    ) -> None:
        """Written after the shard: their presence says that the shard is whole.

        With its checksum, taken while its bytes are still in the page cache.
        """
        path = self._shard(shard)
        about = {"sha256": checksum or sha256(path), "bytes": str(path.stat().st_size)}
        self._whole.add(shard)
        table = pa.Table.from_pandas(rows, preserve_index=False)
        with atomic_path(self._rows_path(shard)) as partial:
            pq.write_table(table.replace_schema_metadata(about), partial)
        if shard not in self._order:
            self._order.append(shard)

    def _checksum(self, shard: str) -> str:
        return pq.read_metadata(self._rows_path(shard)).metadata[b"sha256"].decode()

    def adopt(
        self, shard: str, records: Path, rows: pd.DataFrame, checksum: str | None = None
    ) -> None:
        """Takes over a whole shard of another study, by a hard link where possible.

        Args:
          shard: The shard's name; also in the rows' column `shard`.
          records: The ArrayRecord file, made by a StudyWriter.
          rows: A row per record in order, TILE_COLUMNS and tile-level targets.
          checksum: SHA-256 of `records` where known, as in the other study.json.

        Raises:
          StudyError: The name cannot be a file name.
          OSError: The file cannot be read.
        """
        check_name(shard, "shard")
        path = self._shard(shard)
        self._rows_path(shard).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        link(records, path)
        self._keep_rows(shard, rows, checksum)

    def skip(self, what: str, reason: str) -> None:
        """Records in study.json that `what` is not in the study, and why."""
        self._skipped.append({"what": what, "reason": reason})

    def finish(
        self,
        *,
        samples: pd.DataFrame,
        targets: Sequence[Target] = (),
        splits: Sequence[Split] = (),
        expression=None,
        reports: pd.DataFrame | None = None,
        slides: pd.DataFrame | None = None,
    ) -> Study:
        """Joins the shards, writes the tables and, last, study.json.

        Args:
          samples: A row per sample, SAMPLE_COLUMNS and sample-level targets.
          targets: What the columns mean.
          splits: Named folds.
          expression: AnnData whose obs_names are sample ids.
          reports: Columns sample_id and text.
          slides: A row per slide, skipped ones too, with SLIDE_COLUMNS; each tiled
            slide has one shard and each shard is of one slide. `tiles`, `first_row` and
            `shard` are filled in where those columns are absent.

        Raises:
          StudyError: No shard, inconsistent tables, or additions that would be lost.
        """
        targets, splits = list(targets), list(splits)
        if not self._order:
            reasons = [f"{one['what']}: {one['reason']}" for one in self._skipped]
            raise StudyError(
                f"no shard was written to {self.root}; skipped: "
                + (listing(reasons) or "nothing")
            )
        parts = [self._rows_path(shard) for shard in self._order]
        schema, sizes = schema_of(parts)
        counts = dict(zip(self._order, sizes, strict=True))
        index = IndexCheck(schema.names, sum(sizes), counts, targets)
        shards = {self._shard(shard): self._checksum(shard) for shard in self._order}
        written = []

        def new(name: str) -> contextlib.AbstractContextManager[Path]:
            written.append(self.root / name)
            return atomic_path(written[-1])

        with new("tiles.parquet") as partial:
            join(parts, partial, schema, index.add)
            problems = index.problems(stream(partial, ["tile_id"]))
            problems += table_problems(index, samples, targets, splits, expression)
            if slides is not None:
                slides = complete_slides(slides, counts)
                problems += slide_problems(slides, counts, index.owners)
            if problems:
                raise StudyError(
                    f"study {self._meta['name']} is inconsistent: {listing(problems)}"
                )
            own = ["reports.parquet"] if reports is not None else []
            own += [f"splits/{split.name}.json" for split in splits]
            samples = samples.reset_index(drop=True)
            added, entries = additions.kept(
                *(self.root, own, samples, schema.names, index.owners)
            )
        with new("samples.parquet") as partial:
            samples.to_parquet(partial, index=False)
        if expression is not None:
            with new("expression.h5ad") as partial:
                expression.write_h5ad(partial, compression="gzip")
        if slides is not None:
            with new("slides.parquet") as partial:
                slides.to_parquet(partial, index=False)
        if reports is not None:
            with new("reports.parquet") as partial:
                reports[["sample_id", "text"]].to_parquet(partial, index=False)
        for split in splits:
            written.append(write_split(self.root, split))

        self._meta |= {
            "gene_id_type": self.gene_id_type,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "targets": [dataclasses.asdict(target) for target in targets],
            "shards": [
                {"path": f"tiles/{shard}.array_record", "tiles": counts[shard]}
                for shard in self._order
            ],
            "skipped": self._skipped,
            "files": {
                str(path.relative_to(self.root)): {
                    "sha256": shards.get(path) or sha256(path),
                    "bytes": path.stat().st_size,
                }
                for path in [*shards, *written]
            }
            | added,
        }
        if entries:
            self._meta["added"] = entries
        write_json(self.root / "study.json", self._meta)
        return Study(self.root)


def write_split(root: Path, split: Split) -> Path:
    """Writes splits/NAME.json of a study; study.json has to list it afterwards."""
    entry = dataclasses.asdict(split)
    path = root / "splits" / f"{entry.pop('name')}.json"
    write_json(path, entry)
    return path


def check_name(name: str, what: str) -> None:
    """Raises StudyError for what cannot name a file of a shard or split."""
    if not SAFE_NAME.fullmatch(name):
        raise StudyError(
            f"{name!r} cannot name a {what}: use at most 220 letters, digits, '.', '_' "
            "and '-', starting with a letter or digit"
        )
