"""TCGA barcodes: the patient, sample and slide that a name refers to.

    "TCGA-3C-AALI-01Z-00-DX1.F6E9A5DF-....svs" -> patient, site, sample type, slide

    TCGA-3C-AALI                          patient: project, tissue source site, person
    TCGA-3C-AALI-01                       sample: and its type, 01 a primary tumour
    TCGA-3C-AALI-01A-11R-A41B-07          aliquot: vial, portion, analyte, plate, centre
    TCGA-3C-AALI-01Z-00-DX1               slide: diagnostic (DX), or frozen (TS, MS, BS)

Grammar and codes: NCI GDC, "TCGA Barcode" and "TCGA Code Tables". Reads names only.
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


@dataclasses.dataclass(frozen=True)
class Barcode:
    """The parts of one barcode; missing parts are "".

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
        """True when it is complete down to plate and centre."""
        return bool(self.plate)

    @property
    def is_diagnostic(self) -> bool:
        """True for a slide of the formalin-fixed block."""
        return self.slide.startswith(DIAGNOSTIC)

    @property
    def is_frozen(self) -> bool:
        """True for a slide of the frozen portion."""
        return self.slide.startswith(FROZEN)


def parse(text: str) -> Barcode:
    """Parses `text`, in upper or lower case, as one barcode.

    Raises:
      ValueError: `text` is not a barcode.
    """
    match = _WHOLE.fullmatch(text)
    if match is None:
        raise ValueError(
            f"expected a TCGA barcode such as TCGA-3C-AALI, TCGA-3C-AALI-01, TCGA-3C-"
            f"AALI-01A-11R-A41B-07 or TCGA-3C-AALI-01Z-00-DX1, got {text!r}"
        )
    return _from(match)


def find(name: str) -> Barcode:
    """The longest barcode inside a name, such as the file name of a slide or tile.

    A barcode ends where its grammar does: what follows, such as a UUID after a dot or a
    place after an underscore, is ignored.

    Raises:
      ValueError: There is none, or there are those of several patients.
    """
    barcodes = [_from(match) for match in _INSIDE.finditer(name)]
    patients = sorted({barcode.patient for barcode in barcodes})
    if len(patients) != 1:
        raise ValueError(
            f"{name!r}: expected the TCGA barcode of one patient, such as TCGA-3C-AALI "
            f"or TCGA-3C-AALI-01Z-00-DX1, got {', '.join(patients) or 'none'}"
        )
    return max(barcodes, key=lambda code: sum(map(len, dataclasses.astuple(code))))


def _from(match: re.Match[str]) -> Barcode:
    return Barcode(**{k: (v or "").upper() for k, v in match.groupdict().items()})
