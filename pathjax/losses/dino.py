"""DINO's loss: the student's views against the teacher's."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pathjax.losses.shapes import check_arrays


def dino_loss(
    student: Float[Array, "B S P"],
    teacher: Float[Array, "B V P"],
    centre: Float[Array, "P"],
    student_temperature: float | Float[Array, ""],
    teacher_temperature: float | Float[Array, ""],
) -> Float[Array, "B"]:
    """Cross-entropy of the student's views to the teacher's (Caron et al. 2021).

    Teacher logits are centred, sharpened and not differentiated. The first V of the S
    student views are the teacher's own; a view is not compared with itself. The value
    is the mean over the V (S - 1) pairs left.

    Args:
      student: logits of all views, global ones first.
      teacher: logits of the global views.
      centre: running mean of teacher logits.

    Returns:
      `[B]` float32.

    Raises:
      ValueError, TypeError: Shapes or dtypes that do not agree, or fewer than two
        student views.
    """
    if student.ndim != 3 or teacher.ndim != 3:
        raise ValueError(
            f"student is {list(student.shape)}, teacher is {list(teacher.shape)}; "
            "expected [B, S, P] and [B, V, P]"
        )
    batch, views, prototypes = student.shape
    own = teacher.shape[1]
    if views < 2 or not 1 <= own <= views:
        raise ValueError(
            f"expected at least two student views, the teacher's among them, got "
            f"{views} student and {own} teacher views"
        )
    check_arrays(
        {
            "student": (student, student.shape),
            "teacher": (teacher, (batch, own, prototypes)),
            "centre": (centre, (prototypes,)),
        }
    )
    log_p = jax.nn.log_softmax(student.astype(jnp.float32) / student_temperature)
    centred = teacher.astype(jnp.float32) - centre.astype(jnp.float32)[None, None]
    q = jax.lax.stop_gradient(jax.nn.softmax(centred / teacher_temperature))
    pairs = -jnp.einsum("bvp,bsp->bvs", q, log_p)
    other = ~jnp.eye(own, views, dtype=bool)[None]
    return jnp.where(other, pairs, 0).sum(axis=(1, 2)) / (own * (views - 1))
