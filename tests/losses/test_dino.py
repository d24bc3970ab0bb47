"""DINO's loss against a loop in NumPy; what is differentiated; guards."""

import jax
import numpy as np
import pytest
import scipy.special

from pathjax import losses


def test_dino_is_the_loop():
    random = np.random.default_rng(0)
    student = random.normal(size=(3, 5, 7)).astype(np.float32)
    teacher = random.normal(size=(3, 2, 7)).astype(np.float32)
    centre = random.normal(size=7).astype(np.float32)
    expected = np.zeros(3)
    for b in range(3):
        pairs = []
        for v in range(2):
            q = scipy.special.softmax((teacher[b, v] - centre) / 0.04)
            for s in range(5):
                if s != v:
                    log_p = scipy.special.log_softmax(student[b, s] / 0.1)
                    pairs.append(-(q * log_p).sum())
        assert len(pairs) == 8
        expected[b] = np.mean(pairs)
    found = jax.jit(losses.dino_loss)(student, teacher, centre, 0.1, 0.04)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_dino_does_not_differentiate_the_teacher():
    random = np.random.default_rng(1)
    views = random.normal(size=(2, 3, 4)).astype(np.float32)
    by_student, by_teacher, by_centre = jax.grad(
        lambda s, t, c: losses.dino_loss(s, t, c, 0.1, 0.04).sum(), (0, 1, 2)
    )(views, views[:, :2], np.zeros(4, np.float32))
    assert np.any(by_student)
    assert not np.any(by_teacher) and not np.any(by_centre)


@pytest.mark.parametrize(
    ("student", "teacher", "centre", "message"),
    [
        ((2, 3, 4), (2, 2, 5), (4,), r"teacher is \[2, 2, 5\], expected \[2, 2, 4\]"),
        ((2, 3, 4), (2, 2, 4), (1,), r"centre is \[1\], expected \[4\]"),
        ((2, 1, 4), (2, 1, 4), (4,), "at least two"),
        ((2, 2, 4), (2, 3, 4), (4,), "2 student and 3 teacher views"),
        ((2, 4), (2, 4), (4,), r"expected \[B, S, P\]"),
    ],
)
def test_dino_guards(student, teacher, centre, message):
    arrays = [np.ones(shape, np.float32) for shape in (student, teacher, centre)]
    with pytest.raises(ValueError, match=message):
        losses.dino_loss(*arrays, 0.1, 0.04)
