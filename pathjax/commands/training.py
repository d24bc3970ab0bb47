"""`pathjax train` and `pathjax embed`."""

import argparse
import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pathjax.buckets import shown
from pathjax.commands.config_help import add_config
from pathjax.commands.output import add_shard, print_skipped


def add(commands) -> None:
    """Adds both."""
    train = commands.add_parser(
        "train",
        help="run or resume one training",
        add_help=False,  # add_config adds it
        epilog="--config.KEY=VALUE overrides a value of the config; "
        "--config.help lists the keys.",
    )
    add_config(train)
    train.add_argument("--workdir", type=Path, required=True)
    train.add_argument(
        "--profile",
        metavar="START:STEPS",
        help="profile STEPS steps after START into WORKDIR/profile",
    )
    train.add_argument(
        "--compilation-cache",
        metavar="DIR",
        help='where compiled programs are kept for the next start; "off" keeps none '
        "(JAX_COMPILATION_CACHE_DIR, or else ~/.cache/pathjax/jax)",
    )
    add_processes(train)
    train.set_defaults(run=run_train, takes_overrides=True)

    embed = commands.add_parser(
        "embed", help="embed the tiles of a study or the images of a folder"
    )
    embed.add_argument("model", type=Path, help="run folder or model.safetensors")
    embed.add_argument("input", type=Path, help="study or folder of images")
    embed.add_argument("--out", type=Path, required=True, metavar="FILE.h5")
    embed.add_argument(
        "--pool",
        choices=("cls", "mean", "cls_mean"),
        help="pooling of the tokens (default: the model's own)",
    )
    embed.add_argument(
        "--image-px",
        type=int,
        metavar="N",
        help="side of the images that a public model sees (default: as imported)",
    )
    embed.add_argument("--batch", type=int, default=64, help="tiles per step")
    embed.add_argument(
        "--overwrite",
        action="store_true",
        help="replace FILE.h5, even if it holds other embeddings",
    )
    embed.add_argument(
        "--strict",
        action="store_true",
        help="exit with 1 if an image was skipped or not used",
    )
    add_shard(embed, "tiles")
    add_processes(embed)
    embed.set_defaults(run=run_embed)


def add_processes(parser: argparse.ArgumentParser) -> None:
    """How the processes of one run find each other."""
    together = parser.add_argument_group(
        "several processes", "one run on several machines (docs/multihost.md)"
    )
    together.add_argument(
        "--multihost",
        action="store_true",
        help="find the other processes through Cloud TPU, GKE, Slurm or Open MPI",
    )
    together.add_argument(
        "--coordinator", metavar="HOST:PORT", help="address of process 0"
    )
    together.add_argument(
        "--processes", type=int, metavar="N", help="number of processes"
    )
    together.add_argument(
        "--process", type=int, metavar="I", help="index of this process, from 0"
    )


def is_one_of_several(
    args: argparse.Namespace, environ: Mapping[str, str] = os.environ
) -> bool:
    """Whether `parallel/launch.py` will connect this command with others; without JAX."""
    if not hasattr(args, "multihost"):
        return False
    return args.multihost or any(
        getattr(args, name) is not None or f"PATHJAX_{name.upper()}" in environ
        for name in ("coordinator", "processes", "process")
    )


def overrides(rest: Sequence[str]) -> dict[str, str]:
    """`--config.optim.lr=3e-5` or `--config.optim.lr 3e-5` to `{"optim.lr": "3e-5"}`.

    Raises:
      ValueError: anything else.
    """
    found: dict[str, str] = {}
    words = iter(rest)
    for word in words:
        key, equals, value = word.partition("=")
        if not key.startswith("--config."):
            raise ValueError(
                f"unknown argument {word}: values of the config are set by "
                "--config.KEY=VALUE"
            )
        if not equals:
            value = next(words, None)
            if value is None:
                raise ValueError(f"{key} has no value: write {key}=VALUE")
        found[key.removeprefix("--config.")] = value
    return found


def keep_compiled(folder: str | None) -> None:
    """Sets where JAX keeps compiled programs; to be called before JAX is imported.

    With several processes the first one writes and all read, so they may share it.
    """
    if folder == "off":
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "0"
    elif folder:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder


def train_overrides(args: argparse.Namespace) -> dict[str, str]:
    """Overrides of the config, those among them that have a flag of their own.

    Raises:
      ValueError: a flag cannot be read.
    """
    given = overrides(args.rest)
    if args.profile:
        start, colon, steps = args.profile.partition(":")
        if not (colon and start.isdigit() and steps.isdigit()):
            raise ValueError(
                f"--profile {args.profile}: expected START:STEPS, such as 20:5"
            )
        given["log.profile"] = f"[{start}, {steps}]"
    return given


def run_train(args: argparse.Namespace) -> None:
    keep_compiled(args.compilation_cache)
    from pathjax.config import load
    from pathjax.parallel.collective import is_first
    from pathjax.parallel.launch import launch_of, session
    from pathjax.progress import stage
    from pathjax.train.trainer import train

    launch = launch_of(args.multihost, args.coordinator, args.processes, args.process)
    with session(launch):
        config = load(args.config, train_overrides(args))
        progress = contextlib.nullcontext()
        if is_first():
            progress = stage(config.name or "train", config.optim.steps)
        with progress as bar:
            result = train(config, args.workdir, bar)
        if is_first():
            best = "" if result.best is None else f", best {result.best:.4g}"
            print(f"{shown(result.model)}: {result.step} steps{best}")


def run_embed(args: argparse.Namespace) -> int:
    from pathjax.parallel.launch import launch_of, session
    from pathjax.parallel.shard import Shard

    launch = launch_of(args.multihost, args.coordinator, args.processes, args.process)
    shard = Shard.parse(args.shard)
    if launch and shard:
        raise ValueError(
            f"--shard {shard} is for jobs that do not know of each other, and these "
            "processes share the work out by themselves: leave out --shard"
        )
    with session(launch):
        if launch is None:
            return embed(args, shard)
        import jax

        from pathjax.parallel.collective import barrier, first_does

        embed(args, Shard(jax.process_index() + 1, jax.process_count()))
        # Every process comes here when its own rows are there.
        barrier("rows")
        return first_does(lambda: embed(args, None)) or 0


def embed(args: argparse.Namespace, shard) -> int:
    """Embeds all tiles or those of a shard, prints what was done, returns the status."""
    from pathjax.data.study import sha256
    from pathjax.data.tile_source import open_source
    from pathjax.embeddings.embed import at_image_px, embed_to_file
    from pathjax.models.model_file import FILE, load_model
    from pathjax.progress import stage

    model = at_image_px(load_model(args.model), args.image_px)
    source = open_source(args.input)
    file = args.model / FILE if args.model.is_dir() else args.model
    tiles = len(shard.rows(len(source), args.batch) if shard else source)
    with stage("embed", tiles) as bar:
        made = embed_to_file(
            model,
            source,
            args.out,
            model_id=f"sha256:{sha256(file)}",
            meta={"model": shown(args.model), "audit": model.meta["audit"]},
            pool=args.pool,
            batch=args.batch,
            overwrite=args.overwrite,
            shard=shard,
            progress=lambda done, total: bar(done),
        )
    unused = [
        {"what": what, "reason": reason}
        for what, reason in getattr(source, "unused", ())
    ]
    print_skipped([*made.skipped, *unused], args.out)
    part = f", shard {shard}" if shard else ""
    if made.kept > tiles:  # FILE.h5 was there already
        part, tiles = "", len(source)
    kept = f", {made.kept} of {tiles} tiles by an earlier run" if made.kept else ""
    print(f"{shown(args.out)}{part}: {made.rows} x {made.width}{kept}")
    return 1 if args.strict and (made.skipped or unused) else 0
