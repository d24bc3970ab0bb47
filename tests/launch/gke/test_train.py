"""launch/gke/train.py: the manifest is sound, and what is called."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from launch_calls import TRAIN
from pathjax.launch.gke.train import main, manifest, parse, shape

kubernetes_validate = pytest.importorskip(
    "kubernetes_validate", reason="comes with pathjax[test-all]"
)
ARGS = ("r1", "--target=v5e:4x4", "--image=gcr.io/p/pathjax:1", "--claim=data")
LINE = (TRAIN[0], "--workdir=/data/r1", *TRAIN[2:])
# What of JobSet v1alpha2 is used (sigs.k8s.io/jobset, api/jobset/v1alpha2).
ACTIONS = {"FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"}


@pytest.fixture
def job_set():
    def render(*more):
        return yaml.safe_load(manifest(parse([*ARGS, *more, "--", *LINE])))

    return render


def container(found):
    (replicated,) = found["spec"]["replicatedJobs"]
    (one,) = replicated["template"]["spec"]["template"]["spec"]["containers"]
    return one


@pytest.mark.parametrize("more", [(), ("--spot", "--slices=3")])
def test_its_jobs_are_valid(job_set, more):
    found = job_set(*more)
    assert found["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
    assert found["spec"].keys() == {"failurePolicy", "replicatedJobs"}
    (replicated,) = found["spec"]["replicatedJobs"]
    assert replicated.keys() == {"name", "replicas", "template"}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "one"},
        "spec": replicated["template"]["spec"],
    }
    kubernetes_validate.validate(job, "1.34", strict=True)
    policy = found["spec"]["failurePolicy"]
    assert {rule["action"] for rule in policy["rules"]} <= ACTIONS


def test_who_starts_again_and_who_does_not(job_set):
    found = job_set("--max-restarts=4")
    assert found["spec"]["failurePolicy"]["maxRestarts"] == 4
    (replicated,) = found["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["containerName"] == container(found)["name"]
    codes = rule["onExitCodes"]["values"]
    assert 75 in codes and not {1, 2} & {*codes}
    # A pod failure policy asks for this, and a pod alone cannot come back to its gang.
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert job["backoffLimit"] == 0


def test_the_slice_is_that_of_the_target(job_set):
    found = job_set("--spot")
    (replicated,) = found["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    assert job["parallelism"] == job["completions"] == 4
    assert container(found)["resources"]["limits"] == {"google.com/tpu": 4}
    assert job["template"]["spec"]["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "4x4",
        "cloud.google.com/gke-spot": "true",
    }


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ("v5e:1x1", ("tpu-v5-lite-podslice", 1, 1)),
        ("v5e:2x4", ("tpu-v5-lite-podslice", 1, 8)),
        ("v6e:16x16", ("tpu-v6e-slice", 64, 4)),
        ("v5p:2x2x1", ("tpu-v5p-slice", 1, 4)),
        ("v5p:4x4x8", ("tpu-v5p-slice", 32, 4)),
    ],
)
def test_hosts_and_chips(target, wanted):
    assert shape(target) == wanted


def test_a_run_in_a_bucket_needs_no_claim():
    train = (TRAIN[0], "--workdir=gs://bucket/r1")
    found = yaml.safe_load(manifest(parse([*ARGS[:3], "--", *train])))
    (replicated,) = found["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    assert job["template"]["spec"]["volumes"] == [{"name": "data", "emptyDir": {}}]
    assert "--workdir=gs://bucket/r1" in container(found)["command"]
    kubernetes_validate.validate(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "one"},
            "spec": job,
        },
        "1.34",
        strict=True,
    )


@pytest.mark.parametrize(
    ("claim", "workdir"), [((), "/data/r1"), (ARGS[3:], "gs://b"), (ARGS[3:], "/tmp/r")]
)
def test_a_run_that_would_be_lost_is_refused(claim, workdir, capsys):
    with pytest.raises(SystemExit):
        parse([*ARGS[:3], *claim, "--", TRAIN[0], f"--workdir={workdir}"])
    assert f"--workdir={workdir} is lost with the pod" in capsys.readouterr().err


def test_words_with_quotes_and_dollars_arrive_as_they_are():
    args = parse([*ARGS, "--", *LINE, '--config.note=say "$(HOME)" $NAME'])
    words = container(yaml.safe_load(manifest(args)))["command"]
    assert words[:2] == ["pathjax", "train"] and words[-1] == "--multihost"
    # $$( is Kubernetes' way to write $(.
    assert words[-2] == '--config.note=say "$$(HOME)" $NAME'


def test_plans_and_applies_what_dry_run_shows(cluster, capsys, monkeypatch):
    cluster.fake("pathjax")
    cluster.fake("kubectl", 'cat > "$FAKE/applied"')
    for name, value in cluster.environment().items():
        monkeypatch.setenv(name, value)
    assert main([*ARGS, "--", *LINE]) == 0
    plan, applied = cluster.calls()
    assert plan[:2] == ["pathjax", "plan"] and plan[-1] == "--target=v5e:4x4"
    assert applied == ["kubectl", "apply", "-f", "-"]
    text = (cluster.root / "applied").read_text()
    capsys.readouterr()
    assert main([*ARGS, "--dry-run", "--", *LINE]) == 0
    assert text in capsys.readouterr().out
    assert len(cluster.calls()) == 2


def test_a_plan_that_does_not_fit_applies_nothing(cluster):
    cluster.fake("pathjax", "exit 1")
    cluster.fake("kubectl")
    script = Path(__file__).parents[3] / "launch/gke/train.py"
    done = subprocess.run(
        [sys.executable, str(script), *ARGS, "--", *LINE],
        check=False,
        env=os.environ | cluster.environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "pathjax plan" in done.stderr
    assert [call[0] for call in cluster.calls()] == ["pathjax"]


def test_all_that_is_wrong_is_told_at_once(capsys):
    with pytest.raises(SystemExit):
        parse(
            ["R1", "--target=v9:1", "--image=a b", "--claim=data", "--", "--workdir=r"]
        )
    told = capsys.readouterr().err
    for word in ("NAME=R1", "--image=a b", "--target=v9:1", "--config=", "/data/RUN"):
        assert word in told
