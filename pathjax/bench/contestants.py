"""Who takes part in which benchmark, and what a ratio compares."""

import dataclasses
from pathlib import Path

from pathjax.bench.duel import Entry
from pathjax.bench.options import (
    BenchError,
    ForwardOptions,
    LoaderOptions,
    StepOptions,
)
from pathjax.parallel.allocator import TUNABLE

PEER_MODULES = {
    "step": ("torch", "timm"),
    "forward": ("torch", "timm"),
    "loader": ("tensorflow",),
}
# A contestant inherits what the command line set for itself; this unsets it again.
AS_IT_COMES = {"GLIBC_TUNABLES": ""}
HUGE_PAGES = {"GLIBC_TUNABLES": TUNABLE}


def vit_entries(what: str, options: StepOptions | ForwardOptions) -> dict[str, Entry]:
    """All contestants of `bench step` or `bench forward`, ours first."""
    from pathjax.models.vit import vit_config

    config = vit_config(options.variant, image_px=options.image_px, gelu=options.gelu)
    shape = ("patch", "width", "depth", "heads", "mlp_dim")
    base = dataclasses.asdict(options) | {
        "vit": {name: getattr(config, name) for name in shape},
        "dtype": "float32",
        "attention": "auto",
        "autocast": False,
    }
    ours, peer = f"pathjax.bench.{what}", f"pathjax.bench.{what}_peer"
    cpu = {"JAX_PLATFORMS": "cpu"}
    xla = base | {"attention": "xla"}
    half, autocast = base | {"dtype": "bfloat16"}, base | {"autocast": True}
    entries = [
        Entry("pathjax", "pathjax float32", ours, base, False, cpu),
        Entry("pathjax-bf16", "pathjax bfloat16", ours, half, False, cpu),
        Entry(
            "untuned",
            "pathjax, allocator as it comes",
            ours,
            base,
            False,
            cpu | AS_IT_COMES,
        ),
        Entry("xla-attention", "pathjax, JAX's attention", ours, xla, False, cpu),
        Entry("torch", "PyTorch eager float32", peer, base, True, AS_IT_COMES),
        Entry(
            "torch-bf16", "PyTorch bfloat16 autocast", peer, autocast, True, AS_IT_COMES
        ),
        Entry(
            "torch-malloc", "PyTorch float32, huge pages", peer, base, True, HUGE_PAGES
        ),
    ]
    return {entry.name: entry for entry in entries}


def loader_entries(options: LoaderOptions, folder: Path) -> dict[str, Entry]:
    """All contestants of `bench loader`, ours first."""
    base = dataclasses.asdict(options) | {"folder": str(folder)}
    ours, peer = "pathjax.bench.loader", "pathjax.bench.loader_peer"

    def entry(name: str, label: str, module: str, kind: str) -> Entry:
        return Entry(name, label, module, base | {"kind": kind}, module == peer)

    entries = [
        entry("pathjax", "pathjax", ours, "loader"),
        entry("limit-threads", "decode and augment, threads", ours, "threads"),
        entry("limit-processes", "decode and augment, processes", ours, "processes"),
        entry("tf.data", "tf.data", peer, "plain"),
        entry("tf.data-fused", "tf.data, decode_and_crop", peer, "fused"),
    ]
    return {entry.name: entry for entry in entries}


OURS = ("pathjax", "pathjax-bf16")
DEFAULT = {
    ("step", False): OURS,
    ("step", True): (*OURS, "torch", "torch-bf16"),
    ("forward", False): OURS,
    ("forward", True): (*OURS, "torch", "torch-bf16"),
    ("loader", False): ("pathjax", "limit-threads", "limit-processes"),
    ("loader", True): (
        "pathjax",
        "limit-threads",
        "limit-processes",
        "tf.data",
        "tf.data-fused",
    ),
}


def choose(
    entries: dict[str, Entry], what: str, peer: bool, wanted: str
) -> dict[str, Entry]:
    """The contestants to run, in the order wanted.

    Raises:
      BenchError: an unknown one, or a peer without --peer.
    """
    names = tuple(filter(None, wanted.split(","))) or DEFAULT[what, peer]
    unknown = [name for name in names if name not in entries]
    if unknown:
        raise BenchError(
            f"contestants {', '.join(unknown)}: no such; there are {', '.join(entries)}"
        )
    guests = [name for name in names if entries[name].peer]
    if guests and not peer:
        raise BenchError(f"contestants {', '.join(guests)} are peers: add --peer")
    return {name: entries[name] for name in names}
