"""The benchmarks by name. To add one, add its facts and its line here."""

from pathjax.datasets.benchmarks.benchmark import Benchmark
from pathjax.datasets.benchmarks.image_folders import (
    BACH,
    BRACS,
    BREAKHIS,
    CRC,
    CRC_MSI,
    GLEASON,
)
from pathjax.datasets.benchmarks.mhist import MHIST
from pathjax.datasets.benchmarks.pcam import PCAM

BENCHMARKS: dict[str, Benchmark] = {
    one.name: one for one in (BACH, PCAM, MHIST, CRC, CRC_MSI, BREAKHIS, GLEASON, BRACS)
}
