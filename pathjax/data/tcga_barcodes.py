"""TCGA barcodes: whose tissue a slide, an aliquot or a file name speaks of.

    "TCGA-3C-AALI-01Z-00-DX1.F6E9A5DF-....svs" -> patient, site, sample type, slide

    TCGA-3C-AALI                          patient: project, tissue source site, person
    TCGA-3C-AALI-01                       sample: and its type, 01 a primary tumour
    TCGA-3C-AALI-01A-11R-A41B-07          aliquot: vial, portion, analyte, plate, centre
    TCGA-3C-AALI-01Z-00-DX1               slide: diagnostic (DX), or frozen (TS, MS, BS)

Grammar and codes: NCI GDC, "TCGA Barcode" and "TCGA Code Tables". Reads names only;
whether two names belong together is `pairing.py`'s to say.
"""

import dataclasses
import re

_BARCODE = (
    r"TCGA-(?P<site>[A-Z0-9]{2})-(?P<person>[A-Z0-9]{4})"
    r"(?:-(?P<sample_type>[0-9]{2})(?P<vial>[A-Z])?"
    r"(?:-(?P<portion>[0-9]{2})(?P<analyte>[A-Z])?"
    r"(?:-(?P<slide>(?:DX|TS|MS|BS)[A-Z0-9]{1,2})"
    r"|-(?P<plate>[A-Z0-9]{4})-(?P<centre>[0-9]{2}))?)?)?"
)
_WHOLE = re.compile(_BARCODE, re.IGNORECASE)
_INSIDE = re.compile(rf"(?<![A-Z0-9]){_BARCODE}(?![A-Z0-9])", re.IGNORECASE)
DIAGNOSTIC = "DX"
# Top, middle and bottom sections of the frozen portion that gave the RNA.
FROZEN = ("TS", "MS", "BS")


class BarcodeError(ValueError):
    """A name is no TCGA barcode, holds none, or holds those of several patients."""


@dataclasses.dataclass(frozen=True)
class Barcode:
    """The parts of one barcode; what it leaves out is "".

    Attributes:
      site: tissue source site, 2 characters.
      person: 4 characters.
      sample_type: 2 digits; 01 to 09 are tumours, 10 to 19 normal tissue.
      vial, portion, analyte, plate, centre: as written.
      slide: DX1, TS1, BSA, ...
    """

    site: str
    person: str
    sample_type: str = ""
    vial: str = ""
    portion: str = ""
    analyte: str = ""
    plate: str = ""
    centre: str = ""
    slide: str = ""

    @property
    def patient(self) -> str:
        """The case, 12 characters."""
        return f"TCGA-{self.site}-{self.person}"

    @property
    def sample(self) -> str:
        """Patient and sample type, 15 characters; "" without a sample type."""
        return f"{self.patient}-{self.sample_type}" if self.sample_type else ""

    @property
    def is_tumour(self) -> bool:
        return "01" <= self.sample_type <= "09"

    @property
    def is_normal(self) -> bool:
        return "10" <= self.sample_type <= "19"

    @property
    def is_aliquot(self) -> bool:
        """True when it names one vessel, down to plate and centre."""
        return bool(self.plate)

    @property
    def is_diagnostic(self) -> bool:
        """True of a slide of the formalin-fixed block."""
        return self.slide.startswith(DIAGNOSTIC)

    @property
    def is_frozen(self) -> bool:
        """True of a slide of the frozen portion."""
        return self.slide.startswith(FROZEN)


def parse(text: str) -> Barcode:
    """The barcode that `text` is, as a whole; lower case is taken as upper.

    Raises:
      BarcodeError: `text` is no barcode.
    """
    match = _WHOLE.fullmatch(text)
    if match is None:
        raise BarcodeError(
            f"{text!r} is no TCGA barcode; expected one such as TCGA-3C-AALI, "
            "TCGA-3C-AALI-01, TCGA-3C-AALI-01A-11R-A41B-07 or TCGA-3C-AALI-01Z-00-DX1"
        )
    return _from(match)


def find(name: str) -> Barcode:
    """The longest barcode inside a name, such as a slide's or a tile's file name.

    A barcode ends where its grammar does: what follows, such as a UUID after a dot or a
    place after an underscore, is not looked at.

    Raises:
      BarcodeError: there is none, or there are those of several patients.
    """
    found = [_from(match) for match in _INSIDE.finditer(name)]
    patients = sorted({one.patient for one in found})
    if len(patients) != 1:
        what = f"those of {', '.join(patients)}" if patients else "none"
        raise BarcodeError(
            f"{name!r} should hold the barcode of one patient, such as TCGA-3C-AALI or "
            f"TCGA-3C-AALI-01Z-00-DX1, and holds {what}"
        )
    return max(found, key=lambda one: sum(map(len, dataclasses.astuple(one))))


def _from(match: re.Match[str]) -> Barcode:
    return Barcode(**{k: (v or "").upper() for k, v in match.groupdict().items()})
