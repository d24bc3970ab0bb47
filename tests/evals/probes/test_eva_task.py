"""eva's linear probe as a protocol of tasks."""

import dataclasses

import numpy as np
import pytest
from eval_study import rows_of

from pathjax.evals import EvalError
from pathjax.evals.probes.eva_linear import EvaLinear, linear_sweep
from pathjax.evals.probes.minibatch import predicted_class
from pathjax.evals.results import chosen_on_scored_rows, make_entry
from pathjax.evals.run import run_task
from pathjax.evals.tasks import Task
from pathjax.stats.metrics import balanced_accuracy

TISSUE = Task(
    "tissue", "made", "tissue", "classification", "cohort", "fit", "test", "select",
    level="tile", protocol="eva-linear/1",
)  # fmt: skip
QUICK = {"seeds": 3, "steps": 400, "batch": 32, "learning_rates": (3e-2, 3e-3)}


@pytest.mark.slow
def test_a_task_is_scored_by_each_runs_best_epoch(study, features):
    outcome = run_task(TISSUE, study, features, **QUICK)
    rows = {
        fold: rows_of(study, "tile", "cohort", fold, features)
        for fold in ("fit", "select", "test")
    }
    order = {"fat": 0, "stroma": 1, "tumour": 2}
    y = {
        fold: study.tiles["tissue"].iloc[one.index].map(order).to_numpy(np.int32)
        for fold, one in rows.items()
    }
    sweep = linear_sweep(
        rows["fit"].features, y["fit"], rows["select"].features, y["select"],
        rows["test"].features, np.arange(3), np.array((3e-2, 3e-3), np.float32),
        classes=3, options=EvaLinear(batch=32, steps=400),
    )  # fmt: skip
    np.testing.assert_array_equal(outcome.truth, y["test"])
    chosen = np.argmax(sweep.score, axis=1)  # learning rates, by validation
    guess = np.asarray(predicted_class(sweep.logits[np.arange(3), chosen]))
    np.testing.assert_array_equal(outcome.prediction.T, guess)
    values = [one["value"] for one in outcome.per_fold]
    assert values == [balanced_accuracy(y["test"], one) for one in guess]
    assert outcome.value == pytest.approx(np.mean(values)) and outcome.value > 0.5
    mean = balanced_accuracy(y["test"], outcome.prediction)
    assert outcome.value == pytest.approx(mean)
    hyper = outcome.hyper
    assert hyper["stdev_of_runs"] == pytest.approx(np.std(values, ddof=1))
    assert hyper["chosen_by"] == "fold select: epoch and learning rate"
    assert hyper["best_epoch"][0] == sweep.epoch[0, chosen[0]]
    assert outcome.protocol.startswith(
        "eva-linear/1 (batch=32, learning_rates=(0.03, 0.003), seeds=3, steps=400)"
    )


def test_without_a_select_fold_the_scored_fold_chooses_and_the_record_says_so(
    study, features
):
    lone = dataclasses.replace(TISSUE, select=None, fit="two", split="lone")
    outcome = run_task(lone, study, features, **QUICK)
    assert outcome.hyper["chosen_by"].startswith("the scored fold test: ")
    assert outcome.hyper["held_out_loss"][0] >= 1 - outcome.value - 1e-6


def test_too_few_steps_for_the_fit_fold_is_an_error(study, features):
    with pytest.raises(EvalError, match="task tissue: 112 training rows are 4 batches"):
        run_task(TISSUE, study, features, **(QUICK | {"steps": 3}))


@pytest.mark.slow
def test_the_scored_fold_finds_signal_in_noise_and_held_out_patients_do_not(study):
    """Embeddings of noise: the best of many epochs is above chance on the scored rows."""
    rng, excess = np.random.default_rng(0), {}
    options = {"seeds": 4, "steps": 300, "batch": 64, "learning_rates": (3e-2,)}
    for protocol in ("eva-linear/1", "eva-linear-heldout/1"):
        task = dataclasses.replace(TISSUE, select=None, protocol=protocol)
        values = []
        for _ in range(4):
            noise = rng.normal(size=(len(study.tiles), 16)).astype(np.float32)
            outcome = run_task(task, study, noise, **options)
            values.append(outcome.value - outcome.chance)
        excess[protocol] = np.mean(values)
        entry = make_entry(outcome, model="m")
        assert chosen_on_scored_rows(entry) is (protocol == "eva-linear/1")
    assert excess["eva-linear/1"] > 0.04
    assert abs(excess["eva-linear-heldout/1"]) < 0.04
    assert outcome.hyper["chosen_by"].startswith(
        "one of 5 folds of the fit fold by pat"
    )
