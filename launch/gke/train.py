#!/usr/bin/env python3
"""Trains on TPU slices of a GKE cluster: plans, fills in jobset.yaml, applies it.

    python launch/gke/train.py NAME --target=v5e:4x4 --image=IMAGE [--claim=CLAIM] [options]
        -- --config=FILE.py:ARG --workdir=WHERE [--config.KEY=VALUE ...]

WHERE is gs://BUCKET/RUN or s3://BUCKET/RUN, or /data/RUN with a claim, which is
ReadWriteMany (Filestore) and stands at /data in all pods. JobSet must be installed in the
cluster, and a node pool of the target's shape must be there (README.md has both
commands). The Python standard library is enough.

`--dry-run` prints the manifest and the commands, and runs nothing.
"""

import argparse
import json
import math
import re
import shlex
import string
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# Node label, the most chips of a single-host slice, and one host's
# share of a larger slice (https://cloud.google.com/kubernetes-engine/docs/concepts/tpus).
ACCELERATORS = {
    "v4": ("tpu-v4-podslice", 4, 4),
    "v5e": ("tpu-v5-lite-podslice", 8, 4),
    "v5p": ("tpu-v5p-slice", 4, 4),
    "v6e": ("tpu-v6e-slice", 8, 4),
}
NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
BUCKET = r"(gs|s3)://[^/]+/."
SPOT = """
                cloud.google.com/gke-spot: "true"
              tolerations:
                - key: cloud.google.com/gke-spot
                  operator: Equal
                  value: "true"
                  effect: NoSchedule"""


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The options before `--`, and as `train` the words after it."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        usage="%(prog)s NAME --target=v5e:4x4 --image=IMAGE [--claim=CLAIM] [options] "
        "-- --config=FILE.py:ARG --workdir=(/data/RUN | gs://BUCKET/RUN)",
    )
    parser.add_argument("name")
    parser.add_argument("--target", required=True, help="target as for `pathjax plan`")
    parser.add_argument(
        "--image", required=True, help="image made by launch/build_image.sh tpu"
    )
    parser.add_argument(
        "--claim", help="ReadWriteMany volume claim, unless --workdir is in a bucket"
    )
    parser.add_argument("--slices", type=int, default=1)
    parser.add_argument("--namespace", default="default")
    parser.add_argument(
        "--service-account", default="default", help="Kubernetes service account"
    )
    parser.add_argument("--max-restarts", type=int, default=50)
    parser.add_argument("--spot", action="store_true", help="use Spot nodes")
    parser.add_argument("--skip-plan", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    words = list(words)
    cut = words.index("--") if "--" in words else len(words)
    args = parser.parse_args(words[:cut])
    args.train = words[cut + 1 :]

    wrong = [
        f"{what}={value}: wanted lower-case letters, digits and -"
        for what, value in (
            ("NAME", args.name),
            ("--claim", args.claim),
            ("--namespace", args.namespace),
            ("--service-account", args.service_account),
        )
        if value is not None and not NAME.fullmatch(value)
    ]
    if not re.fullmatch(r"[\w./:@-]+", args.image):
        wrong.append(f"--image={args.image}: wanted REGISTRY/NAME:TAG")
    if args.slices < 1 or args.max_restarts < 0:
        wrong.append("--slices from 1 and --max-restarts from 0 wanted")
    options = dict(word.partition("=")[::2] for word in args.train)
    wrong += [
        f"after -- wanted {name}="
        for name in ("--config", "--workdir")
        if name not in options
    ]
    workdir = options.get("--workdir", "/data/")
    if not re.match(BUCKET if args.claim is None else rf"/data/|{BUCKET}", workdir):
        wrong.append(
            f"--workdir={workdir} is lost with the pod: wanted gs://BUCKET/RUN, or --claim "
            "and /data/RUN"
        )
    try:
        args.accelerator, args.hosts, args.chips = shape(args.target)
    except ValueError as error:
        wrong.append(str(error))
    if wrong:
        parser.error("; ".join(wrong))
    return args


def shape(target: str) -> tuple[str, int, int]:
    """`v5e:4x4` to the node label, the hosts of a slice and the chips of each.

    Raises:
      ValueError: no such target.
    """
    kind, _, topology = target.partition(":")
    if kind not in ACCELERATORS or not re.fullmatch(
        r"[1-9]\d*(x[1-9]\d*){1,2}", topology
    ):
        raise ValueError(
            f"--target={target}: wanted KIND:AxB or KIND:AxBxC, KIND one of "
            f"{', '.join(ACCELERATORS)}"
        )
    label, alone, share = ACCELERATORS[kind]
    chips = math.prod(int(side) for side in topology.split("x"))
    if chips <= alone:
        return label, 1, chips
    if chips % share:
        raise ValueError(
            f"--target={target}: {chips} chips are no whole hosts of {share}"
        )
    return label, chips // share, share


def manifest(args: argparse.Namespace) -> str:
    """jobset.yaml filled in."""
    text = (Path(__file__).parent / "jobset.yaml").read_text(encoding="utf-8")
    command = json.dumps(["pathjax", "train", *args.train, "--multihost"])
    return string.Template(text[text.index("apiVersion:") :]).substitute(
        NAME=args.name,
        NAMESPACE=args.namespace,
        MAX_RESTARTS=args.max_restarts,
        SLICES=args.slices,
        HOSTS=args.hosts,
        CHIPS=args.chips,
        ACCELERATOR=args.accelerator,
        TOPOLOGY=args.target.partition(":")[2],
        SPOT=SPOT if args.spot else "",
        SERVICE_ACCOUNT=args.service_account,
        IMAGE=args.image,
        # JSON's lists of strings are YAML's too; Kubernetes would expand $(NAME).
        COMMAND=command.replace("$(", "$$("),
        # Without a claim /data is each pod's own, and empty.
        VOLUME=f"persistentVolumeClaim: {{claimName: {args.claim}}}"
        if args.claim
        else "emptyDir: {}",
    )


def main(words: Sequence[str]) -> int:
    """Plans and applies; returns the exit status."""
    args = parse(words)
    config = [word for word in args.train if word.startswith("--config")]
    plan = ["pathjax", "plan", *config, f"--target={args.target}"]
    apply = ["kubectl", "apply", "-f", "-"]
    text = manifest(args)
    if args.dry_run:
        print(text)
        print("" if args.skip_plan else f"# {shlex.join(plan)}")
        print(f"# {shlex.join(apply)} < the above")
        return 0
    if not args.skip_plan:
        subprocess.run(plan, check=True)
    subprocess.run(apply, input=text, text=True, check=True)
    place = f"--namespace={args.namespace}"
    print(
        f"watch:  kubectl logs {place} -f -l run={args.name},"
        "batch.kubernetes.io/job-completion-index=0\n"
        f"state:  kubectl get jobset {place} {args.name}\n"
        f"delete: kubectl delete jobset {place} {args.name}"
    )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        sys.exit(f"{shlex.join(error.cmd)} ended with {error.returncode}")
