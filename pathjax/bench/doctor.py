"""`pathjax doctor`: what this machine and installation have, and what would fail here.

It starts no run, sends nothing over a network, and never shows a token or key. Each check
is a function without arguments or of the folder; a check that breaks is a failure too.
"""

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from pathjax.bench.report import machine
from pathjax.bench.worker import time_calls
from pathjax.files import cache_folder
from pathjax.parallel import allocator

GB = 1e9
# `pathjax demo` peaks at 1.2 GB, a LoRA step of ViT-S/14 at 3.4 (docs/performance.md).
LEAST_MEMORY, LORA_MEMORY = 2.5 * GB, 3.5 * GB
LEAST_DISK = 5 * GB  # a study, checkpoints and embeddings of a first run
PROBE_BYTES = 64 << 20  # written and read to measure a file system
SIDE = 1536  # of the matrices whose product is timed
# Forward and backward of ViT-S/16 at 224 px: three times 2 x 4.6e9 multiply-adds
# (Touvron et al. 2021, DeiT-S).
STEP_FLOPS = 3 * 2 * 4.6e9
PACKAGES = ("pathjax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain")
KEYS = ("OPENAI_API_KEY",)  # of `pathjax text embed`


@dataclass(frozen=True)
class Finding:
    """One line of the page.

    Attributes:
      what: Part of the machine or installation.
      state: "fail" would make a run fail; "note" limits what can be run.
      text: What was found, and what to do.
    """

    what: str
    state: Literal["ok", "note", "fail"]
    text: str


def examine(folder: Path) -> Iterator[Finding]:
    """All findings, in the order of the page.

    Args:
      folder: Where runs and studies are to lie.
    """
    checks: list[Callable[[], Iterator[Finding]]] = [
        _versions,
        _extras,
        _memory,
        _threads,
        lambda: _disk(folder),
        _cache,
        _access,
        _devices,
        _rates,
    ]
    for check in checks:
        try:
            yield from check()
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            yield Finding("check", "fail", f"{type(error).__name__}: {error}"[:300])


def _requirements(package: str = "pathjax") -> Iterator[tuple[str, Requirement]]:
    """Extra ("" for the package itself) and requirement of an installed package."""
    meta = importlib.metadata.metadata(package)
    requirements = [Requirement(r) for r in meta.get_all("Requires-Dist") or ()]
    for extra in ("", *(meta.get_all("Provides-Extra") or ())):
        for requirement in requirements:
            marker = requirement.marker
            applies = marker is None or marker.evaluate({"extra": extra})
            # Those of the package itself apply with any extra.
            own = marker is None or marker.evaluate({"extra": ""})
            if applies and own == (not extra):
                yield extra, requirement


def _problem(requirement: Requirement) -> str:
    """Why a requirement is not met, or ""."""
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{requirement.name} is missing"
    if not requirement.specifier.contains(version, prereleases=True):
        return f"{requirement.name} is {version}, expected {requirement.specifier}"
    for extra, inner in _requirements(requirement.name) if requirement.extras else ():
        if extra in requirement.extras and (problem := _problem(inner)):
            return problem
    return ""


def _versions() -> Iterator[Finding]:
    problems = [
        text for extra, r in _requirements() if not extra if (text := _problem(r))
    ]
    if problems:
        advice = "; ".join(problems)
        yield Finding("versions", "fail", f"{advice}: run pip install pathjax again")
    found = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # said above
            found.append(f"{name} {importlib.metadata.version(name)}")
    yield Finding("versions", "ok", ", ".join(found))


def _extras() -> Iterator[Finding]:
    missing: dict[str, list[str]] = {}
    for extra, requirement in _requirements():
        if extra:
            problem = _problem(requirement)
            missing.setdefault(extra, []).extend([problem] if problem else [])
    installed = [extra for extra, problems in missing.items() if not problems]
    yield Finding("extras", "ok", "installed: " + (", ".join(installed) or "none"))
    if absent := [extra for extra, problems in missing.items() if problems]:
        names = ", ".join(absent)
        yield Finding(
            "extras", "note", f"not installed: {names} (pip install 'pathjax[NAME]')"
        )


def _memory() -> Iterator[Finding]:
    total, free = machine()["memory_bytes"], None
    for line in _lines("/sys/fs/cgroup/memory.max"):
        total = total if line == "max" else min(total, int(line))
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free = min(total, int(line.split()[1]) * 1024)
    text = f"{total / GB:.1f} GB"
    if free is not None:
        text += f", {free / GB:.1f} available"
    least = total if free is None else free
    if least < LEAST_MEMORY:
        yield Finding("memory", "fail", f"{text}; `pathjax demo` needs 2.5")
    elif least < LORA_MEMORY:
        yield Finding(
            "memory", "note", f"{text}; LoRA on ViT-S at batch 64 takes 3.5 on a CPU"
        )
    else:
        yield Finding("memory", "ok", text)
    yield Finding("memory", "ok", f"allocator: {allocator.choose().reason}")


def _threads() -> Iterator[Finding]:
    cores = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    text = f"{machine()['processor']}, {usable} of {cores} cores usable"
    quota = _lines("/sys/fs/cgroup/cpu.max")
    words = quota[0].split() if quota else ["max"]
    if words[0] != "max" and (share := int(words[0]) / int(words[1])) < usable:
        text += f", limited to {share:.1f} by the container"
    names = ("XLA_FLAGS", "JAX_PLATFORMS", "OMP_NUM_THREADS")
    chosen = [f"{name}={os.environ[name]}" for name in names if os.environ.get(name)]
    load = os.getloadavg()[0]
    busy = load > usable
    if busy:
        text += f"; {load:.1f} processes are running, so measured rates are too low"
    yield Finding("cores", "note" if busy else "ok", "; ".join([text, *chosen]))


def _disk(folder: Path) -> Iterator[Finding]:
    if not folder.is_dir():
        yield Finding(
            "disk", "fail", f"{folder} is not a folder: create it or give another"
        )
        return
    free = shutil.disk_usage(folder).free
    state = "ok" if free >= LEAST_DISK else "fail"
    yield Finding(
        "disk",
        state,
        f"{free / GB:.1f} GB free below {folder}; a first run takes up to 5",
    )
    if free < 2 * PROBE_BYTES:
        return
    data = os.urandom(PROBE_BYTES)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
            start = time.perf_counter()
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            written = time.perf_counter()
            if hasattr(os, "posix_fadvise"):  # or the page cache would be measured
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            file.seek(0)
            if file.read() != data:
                raise OSError(f"{folder} gave back other bytes than were written")
            rates = [PROBE_BYTES / 1e6 / (written - start)]
            rates.append(PROBE_BYTES / 1e6 / (time.perf_counter() - written))
    except PermissionError:
        yield Finding(
            "disk", "fail", f"{folder} cannot be written: choose another --folder"
        )
        return
    yield Finding(
        "disk", "ok", f"{rates[0]:.0f} MB/s written, {rates[1]:.0f} MB/s read"
    )


def _cache() -> Iterator[Finding]:
    folder = cache_folder()
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    if os.access(existing, os.W_OK):
        yield Finding("cache", "ok", f"compiled programs are kept in {folder}")
    else:
        yield Finding(
            "cache",
            "note",
            f"{folder} cannot be written, so every start compiles anew: set XDG_CACHE_HOME",
        )


def _access() -> Iterator[Finding]:
    if importlib.util.find_spec("huggingface_hub") is None:
        text = "the hub's client is not installed: weights come from files (--weights)"
        yield Finding("gated models", "note", text)
    else:
        from huggingface_hub import get_token

        if get_token():
            yield Finding("gated models", "ok", "a Hugging Face token is set")
        else:
            text = "no Hugging Face token: set HF_TOKEN, or give files by --weights"
            yield Finding("gated models", "note", text)
    for name in KEYS:
        state = "is set" if os.environ.get(name) else "is not set"
        yield Finding("keys", "ok", f"{name} {state}")


def _devices() -> Iterator[Finding]:
    import jax

    kinds: dict[str, list] = {}
    for device in jax.devices():
        kinds.setdefault(f"{device.platform} {device.device_kind}", []).append(device)
    for kind, devices in kinds.items():
        text = f"{len(devices)} x {kind}"
        if limit := (devices[0].memory_stats() or {}).get("bytes_limit"):
            text += f", {limit / GB:.1f} GB each for JAX"
        yield Finding("devices", "ok", text)
    on_cpu = all(device.platform == "cpu" for device in jax.devices())
    if on_cpu and not os.environ.get("JAX_PLATFORMS"):
        if Path("/dev/nvidia0").exists():
            text = "a GPU is there, and JAX does not see it: pip install 'jax[cuda12]'"
            yield Finding("devices", "fail", text)
        if Path("/dev/accel0").exists() or Path("/dev/vfio/0").exists():
            text = "a TPU is there, and JAX does not see it: pip install 'jax[tpu]'"
            yield Finding("devices", "fail", text)


def _rates() -> Iterator[Finding]:
    import jax
    import jax.numpy as jnp

    for dtype in ("float32", "bfloat16"):
        a = jnp.ones((SIDE, SIDE), dtype)
        product = jax.jit(jnp.matmul)
        seconds = min(time_calls(lambda a=a, f=product: f(a, a).block_until_ready()))
        rate = 2 * SIDE**3 / seconds
        yield Finding(
            "speed",
            "ok",
            f"{dtype} products on one device: {rate / 1e9:,.0f} GFLOP/s, which allows at "
            f"most {rate / STEP_FLOPS:,.1f} tiles of 224 px a second when training ViT-S/16",
        )


def _lines(path: str) -> list[str]:
    """Lines of a file of the kernel; none where it does not exist."""
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
