"""launch/ablation.sh: its commands are understood, and score the same models twice."""

from pathjax.cli import parse
from pathjax.commands.training import train_overrides
from pathjax.config import load


def test_each_recipe_is_trained_with_each_seed_and_scored_by_both_suites(cluster):
    cluster.fake("pathjax")
    out = cluster.root / "out"
    done = cluster.run("ablation.sh", str(out), SEEDS="0 1")
    assert done.returncode == 0, done.stderr
    calls = [parse(words[1:]) for words in cluster.calls()]
    trained = {}
    for args in calls:
        if args.run.__name__ == "run_train":
            trained[str(args.workdir)] = load(args.config, train_overrides(args))
    base = trained.pop(str(out / "base"))
    assert base.objective.name == "dino"
    assert {one.init for one in trained.values()} == {str(out / "base")}
    assert {(p.rsplit("-", 1)[1], c.seed) for p, c in trained.items()} == {
        ("0", 0),
        ("1", 1),
    }
    assert trained[str(out / "joint-anchor-1")].anchor.weight == 1
    long, plain = (str(out / f"contrastive{length}-0") for length in ("-long", ""))
    assert trained[long].optim.steps == 3 * trained[plain].optim.steps == 420
    both = trained[str(out / "contrastive-long-anchor-1")]
    assert (both.optim.steps, both.anchor.weight) == (420, 1)
    control = trained[str(out / "contrastive-long-anchor-shuffled-1")]
    assert control.data.pairing == "shuffled" and both.data.pairing == "own"
    assert (control.optim, control.anchor) == (both.optim, both.anchor)
    assert trained[str(out / "contrastive-lora-0")].adapt.mode == "lora"
    dev, test = (args for args in calls if args.run.__name__ == "run_evaluate")
    assert (dev.tasks, test.tasks) == (["demo-dev"], ["demo"])
    assert dev.models == test.models and dev.out != test.out
    paths = {word.partition("=")[2] for word in dev.models}
    assert paths > set(trained) and str(out / "soup-1" / "alpha-0.75") in paths


def test_a_missing_folder_is_told(cluster):
    assert cluster.run("ablation.sh").returncode == 2
