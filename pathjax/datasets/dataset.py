"""What a dataset is: a class whose fields are its options and that builds a study.

Imports nothing heavy, so that the command line can list datasets and their options. It
reads and writes no data: `build` does, with a `pathjax.data.study_writer.StudyWriter`.
"""

import abc
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pathjax.data.study import Study

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Dataset(abc.ABC):
    """Base class of datasets; subclasses are frozen dataclasses.

    The first line of the subclass's docstring describes it in `pathjax data --help`.
    Each field becomes a command-line option, `Annotated` with its help text:
    `tile_px: Annotated[int, "side of a tile"] = 64` is `--tile-px 64`. Types are int,
    float, str, bool, Path, `Literal["a", "b"]`, `tuple[str, ...]`, and these `| None`.
    A field without a default is required.

    Attributes:
      source: Help text of `--source`; empty for a dataset that needs no source.
    """

    source: ClassVar[str] = "folder or file to read"

    @classmethod
    def title(cls) -> str:
        """The first line of the docstring, without its full stop."""
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0].rstrip(".")

    @abc.abstractmethod
    def build(self, source: Path | None, out: Path, progress: Progress) -> "Study":
        """Builds the study, or what is missing of it when an earlier build was killed.

        Args:
          source: Value of `--source`; None if the dataset needs none.
          out: Directory of the study.
          progress: Call it with (items done, total number of items).
        """
