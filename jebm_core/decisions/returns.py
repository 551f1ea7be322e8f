"""What a ranking would have saved: trials until enough successes, on labelled rows, with an interval and a stage gate.

A trial costs u = cost of a trial + hours of review · price of an hour; a success is worth v. Held-out rows are tried in
the order of a score, ties in random order, until k = ⌈φ S⌉ of their S successes are found:

    T(score) = M + j (m + 1) / (t + 1)

with M the rows in front of the block of equal scores in which the k-th success lies, j the successes still missing
there, m the rows and t the successes of that block: the mean place of the j-th of t marked cards among m. In random
order all n rows are one block, so T(random) = k (n + 1) / (S + 1). Then, in trials and in money,

    saved = T(other) − T(model),    u · saved,    net = v k − u T(model).

With the first B rows instead, ``found`` are the successes among them, (B − M) t / m of those in a block cut in two.
Intervals are 95 %, by a bootstrap over rows: each resample has its own S and k, and each score keeps its values.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64

from jebm_core.errors import SpecError
from jebm_core.fitted import FittedModel
from jebm_core.model import Context

RESAMPLES = 2000
TARGET = 0.5
"""Share of the held-out successes that is to be found."""
FEW_CASES, FEW_SUCCESSES = 50, 10
"""Fewer held-out rows or successes than these are never enough for *go*."""
Gate = Literal["go", "widen", "stop"]
_FREQUENCY_PRIOR = 1.0


@final
@dataclass(frozen=True)
class Prices:
    """What a person enters; all in one currency.

    Raises:
        SpecError: a negative or infinite number.
    """

    trial: float = 0.0
    success: float = 0.0
    review_hours: float = 0.0
    hour: float = 0.0
    currency: str = ""

    def __post_init__(self) -> None:
        for name in ("trial", "success", "review_hours", "hour"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise SpecError(
                    "Return on the PoC, {name}: expected a finite number of at least 0, found {found:g}. Correct it.",
                    name=name,
                    found=value,
                )

    @property
    def unit(self) -> float:
        """u: what one trial costs with its review.

        >>> Prices(trial=100.0, review_hours=0.5, hour=40.0).unit
        120.0
        """
        return self.trial + self.review_hours * self.hour


def success_probability(
    model: FittedModel, context: Context, y: Int64[np.ndarray, "row item"], outcome: tuple[str, str]
) -> Float[np.ndarray, " row"]:
    """P(outcome | the other slots of y, x), row by row; the log-partition cancels. NaN where no option is possible.

    Raises:
        SpecError: the model has no such slot or option.
    """
    place, option = outcome_of(model, outcome)
    rows = torch.as_tensor(y, device=model.device)
    parts = []
    for choice in range(len(model.record.schema.options[place])):
        rows = rows.clone()
        rows[:, place] = choice
        parts.append(model.log_prob(context, rows).value.double())
    return torch.softmax(torch.stack(parts), 0)[option].cpu().numpy()


def outcome_of(model: FittedModel, outcome: tuple[str, str]) -> tuple[int, int]:
    """(slot, option) as numbers.

    Raises:
        SpecError: the outputs are not slots, or there is no such slot or option.
    """
    schema = model.record.schema
    if (
        schema.kind != "configurations"
        or outcome[0] not in schema.names
        or outcome[1] not in schema.options[schema.names.index(outcome[0])]
    ):
        raise SpecError(
            "Expected a slot and one of its options as the success, found {slot}={option}; the model has {known}.",
            slot=outcome[0],
            option=outcome[1],
            known=", ".join(schema.names[:10]),
        )
    place = schema.names.index(outcome[0])
    return place, schema.options[place].index(outcome[1])


def frequency_score(
    seen: Int64[np.ndarray, "seen item"],
    happened: Bool[np.ndarray, " seen"],
    asked: Int64[np.ndarray, "row item"],
) -> Float[np.ndarray, " row"]:
    """Smoothed share of successes among training rows of the same combination: (s + b) / (n + 1), b the overall share.

    A combination that was never tried gets b, so all of those tie.

    >>> seen = np.array([[0], [0], [1]])
    >>> frequency_score(seen, np.array([True, True, False]), np.array([[0], [2]])).round(2).tolist()
    [0.89, 0.67]
    """
    base = float(happened.mean()) if len(happened) else 0.5
    counts: dict[bytes, list[int]] = {}
    for row, success in zip(np.ascontiguousarray(seen), happened, strict=True):
        entry = counts.setdefault(row.tobytes(), [0, 0])
        entry[0] += int(success)
        entry[1] += 1
    found = [counts.get(row.tobytes(), [0, 0]) for row in np.ascontiguousarray(asked)]
    return np.array([(s + _FREQUENCY_PRIOR * base) / (n + _FREQUENCY_PRIOR) for s, n in found])


def trials_until(
    score: Float[np.ndarray, " row"],
    success: Bool[np.ndarray, " row"],
    counts: Float[np.ndarray, "sample row"],
    wanted: Float[np.ndarray, " sample"],
) -> Float[np.ndarray, " sample"]:
    """T(score) of each weighting of the rows: the mean number of trials until the wanted successes are found.

    >>> every = np.ones((1, 4))
    >>> trials_until(np.array([.9, .5, .5, .1]), np.array([True, True, False, False]), every, np.array([2.0])).tolist()
    [2.5]
    """
    rows, hits = _blocks(score, success, counts)
    found = hits.cumsum(1)
    block = (found < wanted[:, None]).sum(1)
    at = np.arange(len(counts)), np.minimum(block, rows.shape[1] - 1)
    before = rows.cumsum(1)[at] - rows[at]
    missing = wanted - (found[at] - hits[at])
    return np.where(wanted > 0, before + missing * (rows[at] + 1) / (hits[at] + 1), 0.0)


def found_within(
    score: Float[np.ndarray, " row"],
    success: Bool[np.ndarray, " row"],
    counts: Float[np.ndarray, "sample row"],
    budget: int,
) -> Float[np.ndarray, " sample"]:
    """Mean number of successes among the first ``budget`` rows, ties in random order.

    >>> found_within(np.array([.9, .5, .5]), np.array([True, True, False]), np.ones((1, 3)), 2).tolist()
    [1.5]
    """
    rows, hits = _blocks(score, success, counts)
    taken = np.clip(budget - (rows.cumsum(1) - rows), 0.0, rows)
    return (taken * np.divide(hits, rows, out=np.zeros_like(hits), where=rows > 0)).sum(1)


@final
@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> "Estimate":
        """The estimate in another unit; ``factor`` is at least 0."""
        return Estimate(factor * self.value, factor * self.low, factor * self.high)

    def __iter__(self) -> Any:
        return iter((self.value, self.low, self.high))


@final
@dataclass(frozen=True)
class Returns:
    """What a ranking is worth on labelled rows.

    Attributes:
        rows, successes, target: n, S and k.
        trials: T of ``model``, ``frequency`` and ``random``.
        saved: T(other) − T(model) for ``random`` and ``frequency``.
        budget: B, the trials that the model needs, rounded up; at least 1.
        found: successes among the first B rows by ``model``, ``frequency`` and ``random``.
    """

    rows: int
    successes: int
    target: int
    trials: dict[str, Estimate]
    saved: dict[str, Estimate]
    budget: int
    found: dict[str, Estimate]

    def net(self, prices: Prices) -> Estimate:
        """v k − u T(model), in money."""
        cost, worth = self.trials["model"].times(prices.unit), prices.success * self.target
        return Estimate(worth - cost.value, worth - cost.high, worth - cost.low)

    def to_json(self, prices: Prices, verdict: str) -> dict[str, Any]:
        """Everything that a page or report says of it, as plain numbers; see `stage_gate` for ``gate``."""
        gate, unmet = stage_gate(self, prices, verdict)
        return {
            "n": self.rows, "successes": self.successes, "target": self.target, "budget": self.budget,
            "trials": {name: list(one) for name, one in self.trials.items()},
            "saved": {name: list(one) for name, one in self.saved.items()},
            "found": {name: list(one) for name, one in self.found.items()},
            "unit": prices.unit, "success": prices.success, "currency": prices.currency,
            "saved_money": {name: list(one.times(prices.unit)) for name, one in self.saved.items()},
            "net": list(self.net(prices)), "gate": gate, "unmet": list(unmet),
        }  # fmt: skip


def measure_returns(
    score: Float[np.ndarray, " row"],
    frequency: Float[np.ndarray, " row"],
    success: Bool[np.ndarray, " row"],
    *,
    target: float = TARGET,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Returns:
    """Hold the model's order of labelled rows against the order by frequency and against a random one.

    Args:
        score: of the model; rows whose score is NaN come last.
        target: φ, the share of the successes that is to be found.

    Raises:
        SpecError: no row succeeded or none failed, so that there is nothing to rank; or φ is not in (0, 1].

    Cost: O(resamples · row).
    """
    if not 0 < target <= 1:
        raise SpecError("Return on the PoC: expected a share of successes above 0 and up to 1, found {found:g}.",
                        found=target)  # fmt: skip
    n, total = len(success), int(success.sum())
    if total in (0, n):
        raise SpecError(
            "Return on the PoC: expected rows that succeeded and rows that failed among the {n} rows that were kept "
            "out of training, found {found} that succeeded. Hold out more rows, or choose another outcome.",
            n=n,
            found=total,
        )
    scores = {"model": np.nan_to_num(score, nan=-np.inf), "frequency": frequency, "random": np.zeros(n)}
    random = np.random.default_rng(seed)
    counts = random.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)
    counts = np.concatenate([np.ones((1, n)), counts])
    # A resample with no success has nothing to find and costs nothing; it stays in, since leaving it out would flatter.
    wanted = np.ceil(target * (counts @ success.astype(np.float64)) - 1e-9)
    trials = {name: trials_until(one, success, counts, wanted) for name, one in scores.items()}
    budget = max(1, math.ceil(trials["model"][0] - 1e-9))
    found = {name: found_within(one, success, counts, budget) for name, one in scores.items()}
    saved = {name: trials[name] - trials["model"] for name in ("random", "frequency")}
    return Returns(
        n, total, int(wanted[0]), _estimates(trials), _estimates(saved), budget, _estimates(found)
    )  # fmt: skip


def stage_gate(returns: Returns, prices: Prices, verdict: str) -> tuple[Gate, tuple[str, ...]]:
    """Go, widen or stop, by criteria that are fixed here, and the names of those that are not met.

    go      ``trusted``: the verdict on the model is *trusted*;
            ``rows``, ``successes``: at least 50 held-out rows and 10 successes among them;
            ``saved``: the whole interval of what the order saves against a random one is above 0;
            ``net``: where a success has a value, the whole interval of the net worth is above 0.
    stop    the model is not to be trusted, or with enough rows and successes the whole interval of what is saved, or of
            the net worth, is at most 0.
    widen   otherwise: the numbers speak neither for nor against it yet.
    """
    saved, net = returns.saved["random"], returns.net(prices)
    priced = prices.success > 0
    enough = returns.rows >= FEW_CASES and returns.successes >= FEW_SUCCESSES
    met = {
        "trusted": verdict == "trusted",
        "rows": returns.rows >= FEW_CASES,
        "successes": returns.successes >= FEW_SUCCESSES,
        "saved": saved.low > 0,
        "net": not priced or net.low > 0,
    }
    unmet = tuple(name for name, holds in met.items() if not holds)
    if verdict == "do not trust" or (enough and (saved.high <= 0 or (priced and net.high <= 0))):
        return "stop", unmet
    return ("widen" if unmet else "go"), unmet


def _blocks(score: np.ndarray, success: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and successes of each block of equal scores, the highest first: [sample, block]."""
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    # Compared, not subtracted: rows without a score are infinitely low, and all of them tie.
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    weighted = counts[:, order]
    return np.add.reduceat(weighted, starts, axis=1), np.add.reduceat(weighted * success[order], starts, axis=1)


def _estimates(samples: dict[str, np.ndarray]) -> dict[str, Estimate]:
    """The first entry of each is the estimate, the others are its resamples."""
    found = {}
    for name, one in samples.items():
        low, high = np.quantile(one[1:], [0.025, 0.975])
        found[name] = Estimate(float(one[0]), float(low), float(high))
    return found
