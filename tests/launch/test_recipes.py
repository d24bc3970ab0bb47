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


@pytest.fixture(scope="module")
def objects():
    text = (LAUNCH / "tile_kubernetes.yaml").read_text(encoding="utf-8")
    return {
        (one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(text)
    }


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


def test_kubernetes_takes_the_manifests(objects):
    for one in objects.values():
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
