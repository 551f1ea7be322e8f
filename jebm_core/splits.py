"""Holding rows out: which examples the fit never sees."""

import numpy as np
import numpy.typing as npt

from jebm_core.errors import SpecError
from jebm_core.settings import HoldOutMode
from jebm_core.tables import Examples


def split_examples(
    examples: Examples, fraction: float, mode: HoldOutMode = "rows", seed: int = 0
) -> tuple[Examples, Examples]:
    """Split examples into a part to fit and a part held out; both keep the order of the file.

    With ``rows`` the held-out rows are drawn without replacement, round(fraction · n) of them but at least one. With
    ``combinations`` whole combinations are drawn in random order and all their rows held out, so that every held-out
    output is one the fit has never seen; a combination that would push the part beyond its share is passed over, so
    the part is at most as large as with ``rows``, and a combination more frequent than the whole share always stays in
    the fitted part. ``fraction`` 0 holds nothing out.

    Args:
        examples: n of them.
        fraction: 0 ≤ fraction < 1.
        mode: ``rows`` or ``combinations``.
        seed: the same seed and examples give the same parts.

    Returns:
        The fitted part and the held-out part. Cost: O(n k) for rows, O(n k log n) for combinations.

    Raises:
        SpecError: if the share is impossible, or no combination is rare enough to be held out whole.

    >>> from jebm_core.tables import guess_roles, read_examples, read_table
    >>> table = read_table("t.csv", content=b"y_a,y_b\\n1,0\\n1,0\\n0,1\\n1,0\\n1,1\\n")
    >>> train, test = split_examples(read_examples(table, guess_roles(table)), 0.4, "combinations")
    >>> test.outputs.values.tolist(), sorted([*train.keep.tolist(), *test.keep.tolist()])
    ([[0, 1], [1, 1]], [0, 1, 2, 3, 4])
    """
    held_out = held_out_rows(examples.outputs.values, fraction, mode, seed)
    return examples.part(~held_out), examples.part(held_out)


def held_out_rows(
    values: npt.NDArray[np.int64], fraction: float, mode: HoldOutMode, seed: int
) -> npt.NDArray[np.bool_]:
    """Which rows `split_examples` holds out, given the outputs [row, item]."""
    count = len(values)
    if not 0 <= fraction < 1 or (fraction > 0 and count < 2):
        raise SpecError(
            "Expected a held-out share from 0 up to, but not including, 1, and two rows or more; found {share} of "
            "{count} rows. Choose for example 0.2, or add rows.",
            share=fraction,
            count=count,
        )
    wanted = 0 if fraction == 0 else min(count - 1, max(1, round(fraction * count)))
    generator = np.random.default_rng(seed)
    held_out = np.zeros(count, dtype=np.bool_)
    if wanted and mode == "rows":
        held_out[generator.permutation(count)[:wanted]] = True
    elif wanted:
        held_out = _whole_combinations(values, wanted, generator)
    return held_out


def _whole_combinations(
    values: npt.NDArray[np.int64], wanted: int, generator: np.random.Generator
) -> npt.NDArray[np.bool_]:
    _, combination, sizes = np.unique(values, axis=0, return_inverse=True, return_counts=True)
    chosen = np.zeros(len(sizes), dtype=np.bool_)
    room = wanted
    for place in generator.permutation(len(sizes)):
        if sizes[place] <= room:
            chosen[place] = True
            room -= int(sizes[place])
    if not chosen.any():
        raise SpecError(
            "Expected a combination that occurs in at most {wanted} rows, to hold it out whole; the rarest of "
            "{combinations} occurs in {rarest}. Hold out a larger share, or hold out rows.",
            wanted=wanted,
            combinations=len(sizes),
            rarest=int(sizes.min()),
        )
    return chosen[combination.reshape(-1)]
