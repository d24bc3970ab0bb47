"""launch/tpu_pod.sh against a gcloud that says what it is told to."""

import pytest
from launch_calls import TRAIN, named

GCLOUD = """
case "$*" in
  *" describe "*)
    answer=$(next states)
    if [ "$answer" = NOT_FOUND ]; then echo "ERROR: (gcloud) NOT_FOUND: none" >&2; exit 1; fi
    if [ "$answer" = DENIED ]; then echo "ERROR: PERMISSION_DENIED" >&2; exit 1; fi
    echo "$answer"
    ;;
  *"tpu_worker.sh status"*)
    answer=$(next statuses)
    [ -n "$answer" ] || exit 255
    tr , '\\n' <<< "$answer"
    ;;
  *"tpu_worker.sh newest"*) next steps ;;
  *"tpu_worker.sh follow"*) echo "step 10" ;;
esac
"""
POD = ("p1", "--zone=us-west4-a", "--target=v5e:4x4", "--share=10.0.0.2:/vol")


@pytest.fixture
def pod(cluster):
    cluster.fake("gcloud", GCLOUD)
    cluster.fake("pathjax", 'exit "$(cat "$FAKE/plan" 2>/dev/null || echo 0)"')
    (cluster.root / "p.whl").touch()

    def run(*words, states, statuses, train=TRAIN, steps=("10",), **more):
        cluster.answers("states", *states)
        cluster.answers("steps", *steps)
        cluster.answers("statuses", *statuses)
        wheel = f"--wheel={cluster.root / 'p.whl'}"
        done = cluster.run("tpu_pod.sh", *words, wheel, "--", *train, **more)
        done.calls = cluster.calls()
        return done

    return run


def command(call):
    """What is run on the workers."""
    (word,) = (word for word in call if word.startswith("--command="))
    return word.removeprefix("--command=")


def started(calls):
    return named(calls, "tpu_worker.sh start")


def test_plans_creates_installs_trains_and_deletes(pod):
    done = pod(
        *POD,
        states=["NOT_FOUND", "READY"],
        statuses=["none,none", "exit 0,exit 0"],
    )
    assert done.returncode == 0, done.stderr
    assert done.calls[0] == [
        "pathjax",
        "plan",
        "--config=configs/tcga.py:contrastive",
        "--config.name=a b",
        "--target=v5e:4x4",
    ]
    (created,) = named(done.calls, "create")
    assert {"--accelerator-type=v5litepod-16", "--version=v2-alpha-tpuv5-lite"} < {
        *created
    }
    (start,) = started(done.calls)
    assert "--worker=all" in start
    assert command(start) == (
        "bash tpu_worker.sh start "
        "--config=configs/tcga.py:contrastive --workdir=/mnt/pathjax/r1 "
        "--config.name=a\\ b"
    )
    (install,) = named(done.calls, "tpu_worker.sh install")
    assert "share 10.0.0.2:/vol" in command(install)
    assert len(named(done.calls, "delete")) == 1
    assert "step 10" in done.stdout


@pytest.mark.parametrize("workdir", ["gs://bucket/r1", "s3://bucket/r1"])
def test_a_run_in_a_bucket_needs_no_file_system(pod, workdir):
    train = (TRAIN[0], f"--workdir={workdir}", "--config.study=gs://bucket/study")
    done = pod(
        *POD[:3],
        states=["NOT_FOUND", "READY"],
        statuses=["none", "exit 0"],
        train=train,
    )
    assert done.returncode == 0, done.stderr
    (install,) = named(done.calls, "tpu_worker.sh install")
    assert command(install) == "bash tpu_worker.sh install p.whl"
    (start,) = started(done.calls)
    assert command(start).endswith(" ".join(train))


def test_a_pod_taken_away_is_made_anew_and_the_same_line_goes_on(pod):
    done = pod(
        *POD,
        states=["NOT_FOUND", "READY", "PREEMPTED", "PREEMPTED", "NOT_FOUND", "READY"],
        statuses=["none", "", "exit 0"],
    )
    assert done.returncode == 0, done.stderr
    assert len(named(done.calls, "create")) == 2
    assert len(named(done.calls, "delete")) == 2  # what was left, and at the end
    first, second = started(done.calls)
    assert first == second


def test_processes_that_fail_because_the_pod_goes_are_no_error(pod):
    done = pod(
        *POD,
        states=["READY", "TERMINATED", "TERMINATED", "NOT_FOUND", "READY"],
        statuses=["none", "exit 1,exit 134", "exit 0"],
    )
    assert done.returncode == 0, done.stderr
    assert len(started(done.calls)) == 2


@pytest.mark.parametrize(
    "stopped", ["exit 75,exit 75", "exit 0,exit 75", "exit 143", "lost"]
)
def test_a_run_that_was_stopped_goes_on_without_a_new_pod(pod, stopped):
    done = pod(*POD, states=["READY"], statuses=["none", stopped, "exit 0"])
    assert done.returncode == 0, done.stderr
    assert named(done.calls, "create") == []
    assert len(started(done.calls)) == 2


@pytest.mark.parametrize(
    ("steps", "again"), [(["None", "10"], True), (["10", "10"], False), ([""], False)]
)
def test_a_killed_run_goes_on_if_it_has_a_new_checkpoint(pod, steps, again):
    statuses = ["none", "exit 137,exit 75", "exit 0"]
    done = pod(*POD, states=["READY"], statuses=statuses, steps=steps)
    assert done.returncode == (0 if again else 137), done.stderr
    assert len(started(done.calls)) == 1 + again
    assert ("before there was a new checkpoint" in done.stderr) != again
    asked = named(done.calls, "tpu_worker.sh newest")[0]
    assert "--worker=0" in asked and command(asked).endswith("/mnt/pathjax/r1")


def test_a_process_that_is_killed_as_the_pod_goes_is_no_error(pod):
    done = pod(
        *POD,
        states=["READY", "TERMINATED", "TERMINATED", "NOT_FOUND", "READY"],
        statuses=["none", "exit 137,exit 75", "exit 0"],
    )
    assert done.returncode == 0, done.stderr


def test_an_error_is_not_tried_again(pod):
    done = pod(*POD, states=["READY"], statuses=["none", "exit 0,exit 3"])
    assert done.returncode == 3
    assert len(started(done.calls)) == 1
    assert len(named(done.calls, "delete")) == 1


def test_preemptions_have_an_end(pod):
    done = pod(*POD, "--max-restarts=2", states=["READY"], statuses=["none", "exit 75"])
    assert done.returncode == 75
    assert len(started(done.calls)) == 3


def test_the_same_line_shows_the_log_of_a_run_that_goes_on(pod):
    done = pod(
        *POD, "--keep", states=["READY"], statuses=["running", "running", "exit 0"]
    )
    assert done.returncode == 0, done.stderr
    assert started(done.calls) == named(done.calls, "scp") == []
    assert named(done.calls, "delete") == []
    assert "delete p1" in done.stderr  # how to


def test_a_queued_pod_is_waited_for(pod):
    done = pod(
        *POD,
        "--queued",
        "--spot",
        "--skip-plan",
        "--service-account=a@b",
        "--data=gs://bucket/study",
        states=[
            "NOT_FOUND",
            "WAITING_FOR_RESOURCES",
            "PROVISIONING",
            "ACTIVE",
            "READY",
        ],
        statuses=["none", "exit 0"],
    )
    # After the first ACTIVE the fake says READY for both questions.
    assert done.returncode == 0, done.stderr
    assert named(done.calls, "pathjax", "plan") == []
    (created,) = named(done.calls, "queued-resources", "create")
    assert {
        "--node-id=p1",
        "--spot",
        "--service-account=a@b",
        "--runtime-version=v2-alpha-tpuv5-lite",
    } < {*created}
    (copied,) = named(done.calls, "tpu_worker.sh data")
    assert "gs://bucket/study study" in command(copied)
    (deleted,) = named(done.calls, "delete")
    assert deleted[3] == "queued-resources" and "--force" in deleted


def test_a_request_that_fails_ends_the_script(pod):
    done = pod(
        *POD, "--queued", states=["NOT_FOUND", "FAILED"], statuses=["none", "none"]
    )
    assert done.returncode == 1
    assert len(named(done.calls, "create")) == 1 and started(done.calls) == []


def test_a_plan_that_does_not_fit_costs_nothing(pod, cluster):
    (cluster.root / "plan").write_text("1")
    done = pod(*POD, states=["NOT_FOUND"], statuses=["none"])
    assert done.returncode == 1
    assert [call[0] for call in done.calls] == ["pathjax"]


def test_a_cloud_that_does_not_answer_is_no_reason_to_create(pod):
    done = pod(*POD, states=["DENIED"], statuses=["none"])
    assert done.returncode == 1 and "PERMISSION_DENIED" in done.stderr
    assert named(done.calls, "create") == []


def test_dry_run_prints_the_calls_and_makes_none(pod, cluster):
    done = pod(*POD, "--dry-run", states=["READY"], statuses=["none"])
    assert done.returncode == 0, done.stderr
    assert done.calls == []
    printed = done.stdout.splitlines()
    assert printed[0].startswith("pathjax plan ")
    assert any("tpu-vm create p1" in line for line in printed)
    assert "tpu-vm delete p1" in printed[-1]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("v5p:4x4x8", ["--type=v5p", "--topology=4x4x8", "--version=v2-alpha-tpuv5"]),
        ("v6e:2x4", ["--accelerator-type=v6e-8", "--version=v2-alpha-tpuv6e"]),
        ("v4:2x2x1", ["--type=v4", "--version=tpu-ubuntu2204-base"]),
    ],
)
def test_targets_have_googles_names(pod, target, words):
    place = "--share=h:/e" if target == "v5p:4x4x8" else "--disk=d"
    done = pod(
        *("p", "--zone=z", f"--target={target}", place, "--dry-run"),
        states=[],
        statuses=[],
    )
    assert done.returncode == 0, done.stderr
    (created,) = [line for line in done.stdout.splitlines() if " create " in line]
    assert all(word in created.split() for word in words)


@pytest.mark.parametrize(
    ("words", "train", "told"),
    [
        (POD[1:], TRAIN, "wanted NAME"),
        (POD, TRAIN[:1], "--workdir="),
        (POD[:3], TRAIN, "--share or --disk"),
        ((*POD, "--disk=d"), TRAIN, "--share or --disk"),
        ((*POD[:3], "--disk=d"), TRAIN, "only one VM"),
        (("p", "--zone=z", "--target=v9:2", "--share=h:/e"), TRAIN, "v4, v5e, v5p"),
        (
            ("p", "--zone=z", "--target=v5e:16", "--share=h:/e", "--fast"),
            TRAIN,
            "--fast",
        ),
        (POD, (TRAIN[0], "--workdir=gs://b"), "lost with the pod"),
        (POD, (TRAIN[0], "--workdir=/tmp/r"), "lost with the pod"),
    ],
)
def test_a_wrong_line_is_told_before_anything_is_called(pod, words, train, told):
    done = pod(*words, states=["READY"], statuses=["none"], train=train)
    assert done.returncode == 2 and told in done.stderr
    assert done.calls == []


def test_keys_of_the_environment_are_on_no_command_line(pod):
    done = pod(
        *POD,
        states=["NOT_FOUND", "READY"],
        statuses=["none", "exit 0"],
        OPENAI_API_KEY="k-secret",
        HF_TOKEN="k-secret",
    )
    assert done.returncode == 0
    assert "k-secret" not in str(done.calls) + done.stdout + done.stderr
