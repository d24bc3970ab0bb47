"""Opens a slide of any format with the first reader that can read it."""

from pathlib import Path

from pathjax.wsi.base import IMAGE_SUFFIXES, TIFF_SUFFIXES, Slide, SlideError
from pathjax.wsi.image_file import ImageFile
from pathjax.wsi.openslide_file import OpenSlideFile
from pathjax.wsi.tiff_file import TiffFile


def open_slide(path: str | Path) -> Slide:
    """Opens a slide.

    Raises:
      SlideError: No such file, an empty file, or one that no reader can open; the
        message has what each reader said.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise SlideError(f"{path} does not exist")
        if path.is_dir() or path.stat().st_size == 0:
            raise SlideError(f"{path} is {'a folder' if path.is_dir() else 'empty'}")
        return _open(path)
    except OSError as error:  # of this file alone: a name too long, no permission
        raise SlideError(f"{path} cannot be read ({error.strerror})") from error


def _open(path: Path) -> Slide:
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return ImageFile(path)
    errors = []
    for reader in (OpenSlideFile, TiffFile):
        if reader is TiffFile and suffix not in TIFF_SUFFIXES:
            continue
        try:
            return reader(path)
        except SlideError as error:
            errors.append(str(error))
    raise SlideError("; ".join(dict.fromkeys(errors)))
