"""The benchmarks by name. Adding one is a module beside this and its line here."""

from pathjax.data.sources.benchmarks.bach import BACH
from pathjax.data.sources.benchmarks.benchmark import Benchmark
from pathjax.data.sources.benchmarks.bracs import BRACS
from pathjax.data.sources.benchmarks.breakhis import BREAKHIS
from pathjax.data.sources.benchmarks.crc import CRC
from pathjax.data.sources.benchmarks.crc_msi import CRC_MSI
from pathjax.data.sources.benchmarks.gleason import GLEASON
from pathjax.data.sources.benchmarks.mhist import MHIST
from pathjax.data.sources.benchmarks.pcam import PCAM

BENCHMARKS: dict[str, Benchmark] = {
    one.name: one for one in (BACH, PCAM, MHIST, CRC, CRC_MSI, BREAKHIS, GLEASON, BRACS)
}
