"""The benchmarks by name. Adding one is a module beside this and its line here."""

from pathjax.datasets.benchmarks.bach import BACH
from pathjax.datasets.benchmarks.benchmark import Benchmark
from pathjax.datasets.benchmarks.bracs import BRACS
from pathjax.datasets.benchmarks.breakhis import BREAKHIS
from pathjax.datasets.benchmarks.crc import CRC
from pathjax.datasets.benchmarks.crc_msi import CRC_MSI
from pathjax.datasets.benchmarks.gleason import GLEASON
from pathjax.datasets.benchmarks.mhist import MHIST
from pathjax.datasets.benchmarks.pcam import PCAM

BENCHMARKS: dict[str, Benchmark] = {
    one.name: one for one in (BACH, PCAM, MHIST, CRC, CRC_MSI, BREAKHIS, GLEASON, BRACS)
}
