"""The scripts in launch/: syntax, what Kubernetes is told, and that all are described."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pathjax.cli import build_parser

kubernetes_validate = pytest.importorskip(
    "kubernetes_validate", reason="comes with pathjax[test-all]"
)
LAUNCH = Path(__file__).parents[2] / "launch"
SHELL = sorted([*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")])


def objects_of(name):
    text = (LAUNCH / name).read_text(encoding="utf-8")
    return {
        (one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(text)
    }


@pytest.fixture(scope="module")
def objects():
    return objects_of("tile_kubernetes.yaml")


@pytest.fixture(scope="module")
def array():
    return objects_of("array_kubernetes.yaml")


def pod(one):
    (container,) = one["spec"]["template"]["spec"]["containers"]
    return container


def test_the_readme_names_every_script():
    text = (LAUNCH / "README.md").read_text(encoding="utf-8")
    scripts = {one.name for one in LAUNCH.iterdir() if one.is_file()}
    assert [
        name
        for name in sorted(scripts - {"README.md", "__init__.py"})
        if f"| `{name}" not in text
    ] == []


def test_shell_scripts_pass_shellcheck():
    found = shutil.which("shellcheck", path=Path(sys.executable).parent)
    subprocess.run([found or "shellcheck", *SHELL], check=True)


def test_kubernetes_takes_the_manifests(objects, array):
    for one in [*objects.values(), *array.values()]:
        kubernetes_validate.validate(one, "1.34", strict=True)


def test_kubernetes_finds_the_scheduler_by_its_service(objects):
    service = objects["Service", "pathjax-tile-scheduler"]
    scheduler = objects["Deployment", "pathjax-tile-scheduler"]
    labels = scheduler["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    (port,) = service["spec"]["ports"]
    address = f"tcp://{service['metadata']['name']}:{port['port']}"
    assert str(port["targetPort"]) in pod(scheduler)["command"]
    assert address in pod(objects["Deployment", "pathjax-tile-worker"])["command"]
    assert address in pod(objects["Job", "pathjax-tile"])["command"]


def test_deployments_select_their_own_pods(objects):
    for (kind, _), one in objects.items():
        if kind == "Deployment":
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert one["spec"]["selector"]["matchLabels"] == labels
            assert pod(one)["resources"].keys() == {"requests", "limits"}


def test_the_job_and_the_workers_see_the_same_paths(objects):
    job, worker = (
        objects["Job", "pathjax-tile"],
        objects["Deployment", "pathjax-tile-worker"],
    )
    assert pod(job)["volumeMounts"] == pod(worker)["volumeMounts"]
    volumes = [one["spec"]["template"]["spec"]["volumes"] for one in (job, worker)]
    assert volumes[0] == volumes[1]
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "OnFailure"


def test_the_jobs_command_is_one_that_pathjax_takes(objects):
    program, *words = pod(objects["Job", "pathjax-tile"])["command"]
    args = build_parser().parse_args(words)
    assert program == "pathjax" and args.scheduler.startswith("tcp://")
    assert str(args.out).startswith("/data/") and str(args.slides).startswith("/data/")


def test_each_pod_of_the_array_has_its_shard_and_the_join_the_same_command(array):
    shards, join = array["Job", "pathjax-shards"], array["Job", "pathjax-join"]
    assert join["spec"]["suspend"] and shards["spec"]["completionMode"] == "Indexed"
    ((variable),) = pod(shards)["env"]
    count = int(variable["value"])
    assert shards["spec"]["completions"] == shards["spec"]["parallelism"] == count
    program, *words = pod(join)["command"]
    command = pod(shards)["command"]
    assert program == "pathjax" and command[-len(words) :] == words
    assert not build_parser().parse_args(words).shard
    shell = [*command[:4], "printf", "%s\n", *command[5:]]
    for index, shard in ((0, f"1/{count}"), (count - 1, f"{count}/{count}")):
        shown = subprocess.run(
            shell,
            env={variable["name"]: str(count), "JOB_COMPLETION_INDEX": str(index)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        assert shown == [*words, "--shard", shard]
    volumes = [one["spec"]["template"]["spec"]["volumes"] for one in (shards, join)]
    assert volumes[0] == volumes[1]
    assert pod(shards)["volumeMounts"] == pod(join)["volumeMounts"]
