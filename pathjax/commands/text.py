"""`pathjax text` and `pathjax data reports`: report texts into studies and vectors."""

import argparse
import dataclasses
import shutil
from pathlib import Path
from typing import Annotated

from pathjax.buckets import shown
from pathjax.commands.options import add_fields, read_fields
from pathjax.commands.output import add_shard, refuse_unused, remember_defaults
from pathjax.files import short_name


@dataclasses.dataclass(frozen=True)
class Server:
    """Options of `--backend openai`, which `OpenAIBackend` takes."""

    model: str = "text-embedding-3-small"
    base_url: Annotated[str | None, "default: $OPENAI_BASE_URL, or OpenAI's"] = None
    key_variable: Annotated[str, "environment variable that holds the key", "NAME"] = (
        "OPENAI_API_KEY"
    )
    batch: Annotated[int, "texts per request"] = 64
    retries: int = 8
    timeout: Annotated[float, "of a request", "SECONDS"] = 60.0
    insecure: Annotated[bool, "allow unencrypted http to other machines"] = False


@dataclasses.dataclass(frozen=True)
class Spending:
    """Options of `--backend openai` on what it may cost."""

    price: Annotated[float | None, "price per million tokens", "USD"] = None
    max_cost: Annotated[float | None, "accept a cost up to this amount", "USD"] = None
    yes: Annotated[bool, "accept any cost"] = False
    dry_run: Annotated[bool, "print the cost and send nothing"] = False


OF_TABLES = ("min_words", "encoding")
# Options that only some backends have.
PIECES = ("max_tokens", "long", "cache", "shard")
OPTIONS = {
    "openai": (*PIECES, "dimensions", *vars(Server()), *vars(Spending())),
    "minilm": (*PIECES, "model_dir"),
    "tfidf": ("dimensions", "fit_on", "seed"),
}


def add(commands) -> None:
    """Adds `text`."""
    text = commands.add_parser("text", help="embed report texts")
    kinds = text.add_subparsers(title="commands", metavar="COMMAND", required=True)
    embed = kinds.add_parser(
        "embed",
        help="embed the reports of a study or a table into one file of vectors",
        description="With --backend openai the reports are sent to another machine, "
        "unless --base-url is local: see docs/text.md. minilm and tfidf send nothing.",
    )
    embed.add_argument("target", type=Path, metavar="STUDY|FILE")
    embed.add_argument(
        "--backend", choices=("openai", "minilm", "tfidf"), required=True
    )
    embed.add_argument("--out", type=Path, required=True, metavar="FILE.h5")
    embed.add_argument("--dimensions", type=int, help="length of the vectors")
    embed.add_argument(
        "--max-tokens", type=int, help="maximum tokens per piece of text"
    )
    embed.add_argument(
        "--long",
        choices=("average", "truncate"),
        default="average",
        help="how to embed longer texts (default: average)",
    )
    embed.add_argument(
        "--cache",
        type=Path,
        metavar="FILE",
        help="cache of vectors (default: in ~/.cache/pathjax)",
    )
    embed.add_argument(
        "--strict", action="store_true", help="embed nothing if a text is left out"
    )
    add_shard(embed, "texts")
    add_table_options(embed)
    http = embed.add_argument_group("--backend openai")
    add_fields(http, Server)
    add_fields(http, Spending)
    local = embed.add_argument_group("--backend minilm")
    local.add_argument(
        "--model-dir",
        type=Path,
        metavar="DIR",
        help="folder of another BERT sentence encoder",
    )
    fitted = embed.add_argument_group("--backend tfidf")
    fitted.add_argument(
        "--fit-on",
        metavar="SPLIT:FOLD",
        help="fit on these patients only (default: all)",
    )
    fitted.add_argument("--seed", type=int, default=0)
    remember_defaults(embed, set().union(OF_TABLES, *OPTIONS.values()))
    embed.set_defaults(run=run_embed)
    show = kinds.add_parser("show", help="describe a file of vectors")
    show.add_argument("file", type=Path)
    show.set_defaults(run=run_show)


def add_reports(kinds) -> None:
    """Adds `data reports`."""
    reports = kinds.add_parser(
        "reports",
        help="add report texts to a study, which changes its fingerprint",
        description="Reads TCGA_Reports.csv (patient_filename, text), or a CSV, TSV or "
        "Parquet with sample_id or patient_id and text.",
    )
    reports.add_argument("study", type=Path)
    reports.add_argument("--reports", type=Path, required=True, metavar="FILE")
    reports.add_argument(
        "--replace", action="store_true", help="replace existing reports"
    )
    reports.add_argument(
        "--strict",
        action="store_true",
        help="add nothing if rows are left out or are of no sample",
    )
    add_table_options(reports)
    reports.set_defaults(run=run_reports)


def add_table_options(parser: argparse.ArgumentParser) -> None:
    """How a table of reports is read."""
    parser.add_argument(
        "--min-words",
        type=int,
        default=5,
        metavar="N",
        help="skip texts with fewer words (default: 5)",
    )
    parser.add_argument(
        "--encoding", default="utf-8", help="encoding of a CSV (default: utf-8)"
    )


def run_reports(args: argparse.Namespace) -> None:
    from pathjax.data.study import Study, listing
    from pathjax.text.reports import add_reports, match, read_reports

    table = read_reports(args.reports, min_words=args.min_words, encoding=args.encoding)
    study = Study(args.study)
    joined = match(study, table)
    left_out = [note for note in (*table.notes, *joined.notes) if "left out" in note]
    if joined.unmatched:
        left_out.append(
            f"{len(joined.unmatched)} reports are of no sample, first "
            f"{list(joined.unmatched[:3])}"
        )
    if args.strict and left_out:
        raise ValueError(f"--strict: {args.reports}: {listing(left_out)}")
    study, changed = add_reports(study, joined, table.source, replace=args.replace)
    for note in (*table.notes, *joined.notes):
        print(f"note: {note}")
    for what, ids in (
        ("reports are of no sample", joined.unmatched),
        ("samples have no report", joined.without),
    ):
        if ids:
            print(
                f"{len(ids)} {what}: {', '.join(ids[:10])}{', ...' * (len(ids) > 10)}"
            )
    done = "added" if changed else "were there already"
    print(f"{study.root}: reports of {len(joined.texts)} samples {done}")
    print(f"fingerprint: {study.fingerprint}")


def run_embed(args: argparse.Namespace) -> None:
    from pathjax.data.study import listing
    from pathjax.data.text_store import write_text
    from pathjax.text.embed import load_texts

    others = set().union(*OPTIONS.values()) - set(OPTIONS[args.backend])
    refuse_unused(args, sorted(others), f"--backend {args.backend} has no such option")
    if args.target.is_dir():
        refuse_unused(args, OF_TABLES, "a study's reports were read from their table")
    texts = load_texts(args.target, min_words=args.min_words, encoding=args.encoding)
    left_out = [note for note in texts.notes if "left out" in note]
    if args.strict and left_out:
        raise ValueError(f"--strict: {args.target}: {listing(left_out)}")
    for note in texts.notes:
        print(f"note: {note}")
    made = (embed_tfidf if args.backend == "tfidf" else embed_pieces)(args, texts)
    if made is not None:
        write_text(args.out, made)
        print(
            f"{shown(args.out)}: {len(made.values)} texts, {made.values.shape[1]} numbers each"
        )
        shutil.rmtree(shards_of(args.out), ignore_errors=True)


def shards_of(out: Path) -> Path:
    """Where the shards of FILE.h5 keep their vectors."""
    return out.with_name(short_name(f"{out.name}.partial"))


def embed_tfidf(args: argparse.Namespace, texts):
    """The vectors of `--backend tfidf`."""
    from pathjax.text import embed

    fit_on = None
    if args.fit_on:
        split, _, fold = args.fit_on.partition(":")
        fit_on = (split, fold or "train")
    else:
        print(
            "note: fitted to all texts; for a test on patients held out name --fit-on"
        )
    made = embed.embed_tfidf(
        texts,
        fit_on=fit_on,
        dimensions=256 if args.dimensions is None else args.dimensions,
        seed=args.seed,
    )
    if made.meta["without_known_words"]:
        print(f"note: {made.meta['without_known_words']} texts share no word: zeros")
    return made


def embed_pieces(args: argparse.Namespace, texts):
    """The vectors of the other backends; None for a shard or after a dry run."""
    from pathjax.data.text_store import TextError
    from pathjax.parallel.shard import Shard, begun, held, missing
    from pathjax.progress import stage
    from pathjax.text import cost, embed
    from pathjax.text.cache import VectorCache, default_cache

    backend, folder = backend_of(args), shards_of(args.out)
    shard, total = Shard.parse(args.shard), len(texts.texts)
    if shard and args.cache:
        raise ValueError(f"--cache would not be used: shards keep vectors in {folder}")
    path = folder / shard.name if shard else args.cache or default_cache()
    mine = shard.rows(total) if shard else range(total)
    with held(folder, shard, TextError), VectorCache(path) as cache:
        shards = [] if shard else begun(folder)
        for one in shards:
            if (folder / one.name).exists():
                cache.take_all(folder / one.name)
        plan = embed.make_plan([texts.texts[i] for i in mine], backend, cache)
        gaps = set(plan.missing)
        if lacking := [
            one
            for one in shards
            if any(gaps.intersection(plan.pieces[i]) for i in one.rows(total))
        ]:
            raise TextError(missing(folder, lacking, f"{total} texts"))
        check = None
        if args.backend == "openai":
            quote = cost.quote(plan, backend, args.price)
            for line in quote.lines:
                print(line)
            if args.dry_run:
                print("nothing was sent (--dry-run)")
                return None
            paid = bool(plan.missing) and not (backend.local and not quote.usd)
            cost.agree(quote, yes=args.yes, max_cost=args.max_cost, paid=paid)
            check = cost.stop_over(backend, quote.price, args.max_cost)
        with stage("texts", max(1, len(plan.missing))) as bar:

            def progress(done: int, total: int) -> None:
                bar(done)
                if check:
                    check(done, total)

            made = None
            if shard:
                embed.fetch(plan, backend, cache, progress)
            else:
                made = embed.embed_pieces(texts, backend, cache, plan, progress)
    if args.backend == "openai" and backend.billed:
        print(f"the server counted {backend.billed} tokens")
    if shard:
        print(f"{args.out}, shard {shard}: {len(mine)} texts")
    return made


def backend_of(args: argparse.Namespace):
    """The chosen backend."""
    options = {"max_tokens": args.max_tokens, "long": args.long}
    if args.backend == "minilm":
        from pathjax.text.minilm import MiniLMBackend

        return MiniLMBackend(args.model_dir, **options)
    from pathjax.text.openai import OpenAIBackend

    server = vars(read_fields(args, Server))
    return OpenAIBackend(**server, dimensions=args.dimensions, **options)


def run_show(args: argparse.Namespace) -> None:
    from pathjax.data.text_store import read_text

    file = read_text(args.file)
    print(f"{args.file}: {len(file.values)} texts, first {file.sample_ids[:3]}")
    for key, value in sorted(file.meta.items()):
        print(f"{key}: {value}")
