"""launch/real.sh: modes, anchors, controls and soups become the runs and models they name."""

from pathjax.cli import parse
from pathjax.commands.training import train_overrides
from pathjax.config import load


def test_modes_anchors_and_soups_are_trained_and_scored(cluster):
    cluster.fake("pathjax")
    cluster.fake("python")
    data, out = cluster.root / "data", cluster.root / "out"
    data.mkdir()
    chosen = {
        "MODES": "contrastive joint-anchor contrastive-shuffled",
        "ADAPT": "lora",
        "SOUPS": "yes",
    }
    done = cluster.run("real.sh", str(data), str(out), SEEDS="0 1", **chosen)
    assert done.returncode == 0, done.stderr
    calls = [parse(words[1:]) for words in cluster.calls() if words[0] == "pathjax"]
    trained = {
        args.workdir.name: load(args.config, train_overrides(args))
        for args in calls
        if args.run.__name__ == "run_train"
    }
    trained.pop("dino")
    assert set(trained) == {
        f"{mode}-lora-{seed}"
        for mode in ("contrastive", "joint-anchor", "contrastive-shuffled")
        for seed in (0, 1)
    }
    joint, plain = trained["joint-anchor-lora-1"], trained["contrastive-lora-1"]
    assert (joint.objective.name, joint.anchor.weight, joint.seed) == ("joint", 1, 1)
    assert (plain.objective.name, plain.anchor.weight) == ("contrastive", 0)
    control = trained["contrastive-shuffled-lora-1"]
    assert (control.objective.name, control.data.pairing) == ("contrastive", "shuffled")
    assert plain.data.pairing == "own"
    (scored,) = (args for args in calls if args.run.__name__ == "run_evaluate")
    paths = {word.partition("=")[2] for word in scored.models}
    assert {str(out / name) for name in trained} <= paths
    assert str(out / "soup-1" / "alpha-0.5") in paths
    assert f"contrastive-lora:base@1={out}/contrastive-shuffled-lora-1" in scored.models
