"""An objective that lacks or returns something else is refused in words, not trained."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from pathjax import objectives
from pathjax.models.vit import vit_config
from pathjax.objectives import Objective, ObjectiveError, Spec, batch_losses, predicted

ROWS = 4
BATCH = {"mask": jnp.ones(ROWS, bool), "x": jnp.ones((ROWS, 3))}


@dataclasses.dataclass(frozen=True)
class Own(Objective):
    """Returns what a test says."""

    rows: str = "right"
    found: str = "right"

    def init(self, key, batch):
        return {}, {}

    def represent(self, params, extra, batch, key, step, train):
        x = batch["x"]
        return {"right": {"z": x, "tree": (x,)}, "mean": {"z": x.mean(0)}, "bare": x}[
            self.rows
        ]

    def compare(self, params, extra, rows, batch, step, mesh=None):
        each = rows["z"].sum(-1)
        return {
            "right": (each, {"a": each, "b": (each, batch["mask"])}, {}),
            "mean": (each.mean(), {}, {}),
            "column": (each[:, None], {}, {}),
            "metric": (each, {"a": each.mean()}, {}),
            "counts": (each, {"a": (each, batch["mask"].sum())}, {}),
            "two": (each, {}),
            "bare": each,
            "list": (each, [each], {}),
        }[self.found]

    def predict(self, params, batch):
        return {"z": batch["x"], "other": {}["typo"] if self.found == "typo" else 0}


class Half(Own):
    compare = Objective.compare


def of(**options):
    objective = Own(**options).setup(Spec(vit_config("Ti/16")))
    return jax.eval_shape(
        lambda: batch_losses(objective, {}, {}, BATCH, jax.random.key(0), 0, True)
    )


def test_what_is_right():
    assert of()[0].shape == (ROWS,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": "mean"}, r"represent returned 'z' of shape \(3,\), expected \[B"),
        (
            {"rows": "bare"},
            r"represent returned an array of shape \(4, 3\), expected a",
        ),
        (
            {"found": "mean"},
            r"returned losses of shape \(\), expected \[B\] with B = 4",
        ),
        ({"found": "column"}, r"losses of shape \(4, 1\)"),
        ({"found": "metric"}, r"metric 'a' of shape \(\)"),
        ({"found": "counts"}, r"rows of metric 'a' of shape \(\)"),
        ({"found": "two"}, r"compare returned 2 values, expected \(losses \[B\], "),
        ({"found": "bare"}, r"compare returned an array of shape \(4,\), expected"),
        ({"found": "list"}, "returned 'list' for its metrics, expected a dict"),
    ],
)
def test_what_is_wrong(options, message):
    with pytest.raises(ObjectiveError, match=message) as error:
        of(**options)
    assert "objective Own" in str(error.value) and len(str(error.value)) < 600


def test_a_method_that_is_missing():
    with pytest.raises(
        ObjectiveError, match="Half has no method compare: expected init"
    ):
        objectives.make(f"{__name__}:Half", {})


def test_predict_takes_what_there_is():
    own = Own().setup(Spec(vit_config("Ti/16")))
    assert set(predicted(own, {}, BATCH)) == {"z", "other"}
    message = "objective Own: predict asks for 'x' of a batch that has mask: leave out"
    with pytest.raises(ObjectiveError, match=message):
        predicted(own, {}, {"mask": BATCH["mask"]})
    with pytest.raises(ObjectiveError, match="asks for 'typo'"):
        predicted(dataclasses.replace(own, found="typo"), {}, BATCH)
