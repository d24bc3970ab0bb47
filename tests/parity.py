"""Compares our ViT with the libraries that public models are run in.

For each entry of the registry: build the architecture in timm or transformers, fill it
with random numbers in which no part is trivial, convert, and compare outputs; then
import the same weights from a file, export them to timm, and compare what timm loads.

    python tests/parity.py --out docs/parity.md

Needs torch, timm and transformers (`pip install 'pathjax[parity]'`). Published weights
are not read: the comparison is at the real width, MLP and token layout, for any weights.
"""

import argparse
import contextlib
import dataclasses
import functools
import gc
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import timm
import torch
import transformers
from jaxtyping import Float
from safetensors.numpy import load_file
from safetensors.torch import save_file

import pathjax
from pathjax.files import write_text
from pathjax.models.blocks import from_plain
from pathjax.models.variants import ViTConfig
from pathjax.models.vit import ViT
from pathjax.zoo import names
from pathjax.zoo.convert import from_state, to_state
from pathjax.zoo.entry import Entry
from pathjax.zoo.export import TIMM_EPS, export
from pathjax.zoo.importing import import_model
from pathjax.zoo.registry import get

# Tolerances, as norm of the difference over norm.
AT_GRID, ELSEWHERE = 1e-5, 1e-4
# Wider models than ViT-L would need more memory than a laptop has.
FULL_WIDTH, CUT_DEPTH = 1024, 2
SEED = 0

HEAD = """\
# Parity

Does pathjax compute what timm and transformers compute? Each model of the registry is
built in the library its users run it in, at its real width, MLP and token layout, and
filled with random numbers in which nothing is trivially 0 or 1. It is then imported and
run on the same random normalised images, all in float32 on a CPU. No published weights
are involved. Models that differ in mean, std and pool only share one comparison.

- **CLS, patches**: norm of the difference over norm, at the size of the checkpoint's
  grid; expected at most {at_grid:g}.
- **elsewhere**: the larger of both at another size, where position embeddings are
  resized; expected at most {elsewhere:g}.
- **bits**: imported, exported and loaded by timm strictly, each number is what it was.
- **exported**: all tokens of that export, run by timm, against the first library;
  expected at most {at_grid:g}.

Published weights on real tissue are compared too, where they are at hand: DINOv2
ViT-S/14 on tiles of her2st and MoNuSeg, CLS and patch tokens at 224 and 518 px, with
transformers and timm (relative 1e-5 in float32, cosine above 0.999 in bfloat16), and
its export in timm (1e-6): `tests/zoo/test_real_weights_peer.py`.

| model | reference | blocks | px | CLS | patches | px | elsewhere | bits | exported |
|---|---|---|---|---|---|---|---|---|---|"""

Tokens = Float[np.ndarray, "B T D"]
Images = Float[np.ndarray, "B 3 H W"]


@dataclasses.dataclass(frozen=True)
class Parity:
    """Errors of one model, as norm of difference over norm.

    Attributes:
      depth: Blocks in the comparison, of `full_depth`.
      cls, patches: Errors at the size of the checkpoint's grid.
      elsewhere: The larger of both at `other_px`.
      exact: Imported and exported, timm loads what the peer held, bit for bit (for
        Hugging Face's layouts: those weights under timm's names).
      exported: Error of all tokens of the exported model in timm against the peer.
    """

    name: str
    reference: str
    depth: int
    full_depth: int
    image_px: int
    other_px: int
    cls: float
    patches: float
    elsewhere: float
    exact: bool
    exported: float

    @property
    def passed(self) -> bool:
        at_grid = max(self.cls, self.patches, self.exported) <= AT_GRID
        return at_grid and self.elsewhere <= ELSEWHERE and self.exact


_DONE: dict[str, Parity] = {}


def compare_named(name: str, full_width: int = FULL_WIDTH) -> Parity:
    """Compares a model of the registry; models of one architecture share one run.

    What they do not share, the mean and std of pixels and the pool, is not compared.
    Models wider than `full_width` are compared with CUT_DEPTH blocks.
    """
    entry, full = get(name), get(name).vit.depth
    vit = entry.vit.replace(depth=CUT_DEPTH if entry.vit.width > full_width else full)
    plain = vit.replace(mean=(0.5,) * 3, std=(0.5,) * 3, pool="cls")
    key = repr((plain, entry.layout, entry.reference))
    if key not in _DONE:
        _DONE[key] = compare(dataclasses.replace(entry, vit=vit))
    return dataclasses.replace(_DONE[key], name=name, full_depth=full)


def compare(entry: Entry) -> Parity:
    """Compares an entry at its own depth; takes up to 5 GB and frees them again."""
    vit = entry.vit
    # The other size has a grid smaller than a large one, and larger than a small one.
    patches = 16 if vit.grid > 28 else vit.grid + 3 if vit.grid < 28 else 19
    sizes = vit.image_px, patches * vit.patch
    # Two images show a batch that is mixed up; one will do where it takes seconds.
    batch = 1 if vit.width >= FULL_WIDTH or vit.grid > 28 else 2
    images = [
        np.random.default_rng(px).normal(size=(batch, 3, px, px)).astype(np.float32)
        for px in sizes
    ]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        peer = build(entry)
        fill(peer)
        theirs = [peer_tokens(peer, image) for image in images]
        file = save(peer, folder)
        del peer
        gc.collect()
        model = import_model(entry, file, folder / "imported").model
        ours = our_tokens(model.vit, model.params["vit"], images)
        errors = [split_errors(vit, a, b) for a, b in zip(ours, theirs, strict=True)]
        del model
        export(folder / "imported", "timm", folder / "timm")
        loaded = load_exported(folder / "timm", vit)
        exact = same_bits(entry, file, loaded)
        exported = relative(peer_tokens(loaded, images[0]), theirs[0])
        del loaded
        gc.collect()
    return Parity(
        name=entry.name,
        reference=f"{library(entry)} {entry.reference[0]}",
        depth=vit.depth,
        full_depth=vit.depth,
        image_px=sizes[0],
        other_px=sizes[1],
        cls=errors[0][0],
        patches=errors[0][1],
        elsewhere=max(errors[1]),
        exact=exact,
        exported=exported,
    )


def library(entry: Entry) -> str:
    """The library that an entry is compared with."""
    return "timm" if entry.layout == "timm" else "transformers"


def build(entry: Entry) -> torch.nn.Module:
    """The entry's `reference`, with uninitialised weights."""
    name, keywords = entry.reference
    homes = {"mlp_layer": timm.layers, "act_layer": torch.nn}
    # On "meta", as initialising a billion numbers takes longer than using them.
    with torch.device("meta"):
        if library(entry) == "timm":
            arguments = {
                key: getattr(homes[key], value) if key in homes else value
                for key, value in keywords.items()
            }
            arguments["depth"] = entry.vit.depth
            model = timm.create_model(name, **arguments)
        else:
            made = getattr(transformers, name)
            depth = {"num_hidden_layers": entry.vit.depth}
            model = made(made.config_class(**keywords | depth))
    return model.to_empty(device="cpu").eval()


def fill(model: torch.nn.Module) -> None:
    """Random numbers everywhere, so that a part left out or swapped cannot hide.

    Linears keep the scale of an initialisation, norms' and LayerScale's factors are
    spread around their centre, biases are far from 0. The input of the first block is
    so small that the epsilon of its norm matters.
    """
    random = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.normal_(generator=random)
            if "ls1" in name or "ls2" in name or "layer_scale" in name:
                tensor.mul_(0.1).add_(0.3)
            elif "norm" in name and name.endswith("weight"):
                tensor.mul_(0.2).add_(1)
            elif name.endswith("bias"):
                tensor.mul_(0.1)
            elif name.endswith("weight"):
                tensor.mul_(tensor[0].numel() ** -0.5)
            if "embed" in name or "token" in name:
                tensor.mul_(0.02)


def peer_tokens(model: torch.nn.Module, images: Images) -> Tokens:
    """All tokens after the final norm."""
    with torch.inference_mode():
        pixels = torch.from_numpy(images)
        if hasattr(model, "forward_features"):
            return model.forward_features(pixels).numpy()
        # Of both Hugging Face models only ViT needs a flag to resize positions.
        is_vit = isinstance(model, transformers.ViTModel)
        resize = {"interpolate_pos_encoding": True} if is_vit else {}
        return model(pixels, **resize).last_hidden_state.numpy()


def our_tokens(
    vit: ViTConfig, params: dict[str, Any], images: Sequence[Images]
) -> list[Tokens]:
    """CLS and patches of our ViT, which does not return its registers."""
    config = vit.replace(scan=True)  # 24 blocks compile in the time of one
    apply = jax.jit(ViT(config).apply)
    variables = {"params": jax.device_put(from_plain(config, params))}
    results = []
    with jax.default_matmul_precision("highest"):
        for image in images:
            outputs = apply(variables, image.transpose(0, 2, 3, 1))
            tokens = outputs.cls[:, None], outputs.patches
            results.append(np.concatenate([np.asarray(x) for x in tokens], axis=1))
    return results


def split_errors(vit: ViTConfig, ours: Tokens, theirs: Tokens) -> tuple[float, float]:
    """Errors of CLS and of patches; theirs have registers between."""
    patches = theirs[:, 1 + vit.registers :]
    return relative(ours[:, 0], theirs[:, 0]), relative(ours[:, 1:], patches)


def relative(actual: np.ndarray, expected: np.ndarray) -> float:
    """Norm of the difference over norm, in float64."""
    if actual.shape != expected.shape:
        raise ValueError(f"expected shape {expected.shape}, got {actual.shape}")
    exact = expected.astype(np.float64)
    return float(np.linalg.norm(actual - exact) / np.linalg.norm(exact))


def save(model: torch.nn.Module, folder: Path) -> Path:
    """The file that the peer itself would publish, in its own names."""
    file = folder / "peer" / "model.safetensors"
    if isinstance(model, transformers.PreTrainedModel):
        model.save_pretrained(file.parent, max_shard_size="100GB")
    else:
        file.parent.mkdir()
        save_file(model.state_dict(), file)
    return file


def load_exported(folder: Path, vit: ViTConfig) -> torch.nn.Module:
    """The exported model, loaded by timm strictly, as its card says."""
    extra: dict[str, Any] = {}
    if vit.norm_eps != TIMM_EPS:
        extra["norm_layer"] = functools.partial(timm.layers.LayerNorm, eps=vit.norm_eps)
    return timm.create_model(f"local-dir:{folder}", pretrained=True, **extra).eval()


def same_bits(entry: Entry, file: Path, loaded: torch.nn.Module) -> bool:
    """Whether timm holds the tensors of the file, name by name and bit by bit."""
    original = load_file(file)
    if entry.layout != "timm":
        converted = from_state(original, entry.vit)
        original = to_state(converted.params, converted.config, "timm")
    state = loaded.state_dict()
    return state.keys() == original.keys() and all(
        state[name].shape == array.shape
        and np.array_equal(state[name].numpy().view(np.int32), array.view(np.int32))
        for name, array in original.items()
    )


def table(results: Sequence[Parity], command: str) -> str:
    """docs/parity.md."""
    modules = (pathjax, jax, torch, timm, transformers)
    versions = ", ".join(f"{one.__name__} {one.__version__}" for one in modules)
    lines = [HEAD.format(at_grid=AT_GRID, elsewhere=ELSEWHERE)]
    for one in results:
        full = "" if one.depth == one.full_depth else f" of {one.full_depth}"
        lines.append(
            f"| {one.name} | {one.reference} | {one.depth}{full} | {one.image_px} "
            f"| {one.cls:.1e} | {one.patches:.1e} | {one.other_px} "
            f"| {one.elsewhere:.1e} | {'equal' if one.exact else 'DIFFERENT'} "
            f"| {one.exported:.1e} |"
        )
    passed = sum(one.passed for one in results)
    end = f"{passed} of {len(results)} pass. Written by `{command}` with {versions}."
    return "\n".join([*lines, "", end]) + "\n"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the libraries' progress bars."""
    transformers.utils.logging.disable_progress_bar()
    yield
    transformers.utils.logging.enable_progress_bar()


def main(argv: Sequence[str] | None = None) -> int:
    """Compares all models, or those named, and writes the table."""
    parser = argparse.ArgumentParser(prog="python tests/parity.py")
    parser.add_argument("models", nargs="*", help="all if none")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    args = parser.parse_args(argv)
    results = []
    with quiet():
        for name in args.models or names():
            results.append(compare_named(name))
            print(results[-1], flush=True)
    text = table(results, f"python tests/parity.py --out {args.out}")
    if args.out:
        write_text(args.out, text)
    return 0 if all(one.passed for one in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
