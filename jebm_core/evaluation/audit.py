"""What an audit of the log-partition found, in rows and in one line, with its verdict."""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from jebm_core.errors import SpecError
from jebm_core.evaluation.psis import RELIABLE_K

TRUSTED_ERROR = 0.1
"""Nats. e^0.1: probabilities are about ten per cent off, less than two trained models differ by."""
CAUTION_ERROR = 0.3
"""Nats. e^0.3: probabilities are about a third off; the order of likely combinations stands, expected values don't."""
RELIABLE_ROWS = 0.95
"""Share of rows on which an audit that samples must have k̂ ≤ 0.7, and respect the certified lower bound."""
MIN_EFFECTIVE_DRAWS = 8.0
"""Median effective sample size that an audit that samples must have; below it the interval itself is a guess."""

ROW_KEYS = ("learned", "audited", "low", "high", "bound_low", "bound_high")
"""What files and tables say of each row of an audit."""

_VERDICTS = ("trusted", "caution", "do not trust")


@dataclass(frozen=True)
class PartitionSummary:
    """An audit in one line. Errors are learned − audited, in nats; None where a number does not apply.

    Attributes:
        ess_median: effective number of draws, median over rows.
        pareto_k_max: largest k̂ of all rows; may be +inf.
        verdict: ``trusted``, ``caution`` or ``do not trust``, see `PartitionAudit.verdict`.
    """

    method: str
    exact: bool
    n: int
    mae: float
    bias: float
    r2: float | None
    rank_correlation: float | None
    ess_median: float | None
    pareto_k_max: float | None
    verdict: str

    def to_json(self) -> dict[str, str | bool | int | float | None]:
        """As written in files: numbers that are not finite, which JSON does not have, become null."""
        values = dict(self.__dict__)
        return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in values.items()}


@dataclass(frozen=True)
class PartitionAudit:
    """Learned and audited log-partition of each context, in nats; tensors on the CPU in float64.

    Attributes:
        low, high: 95 % interval of the audited value; equal to it where exact. ``high`` is +inf where no draw bounds
            what was missed (k̂ ≥ 1).
        effective_share, pareto_k: quality of the draws; NaN where exact.
        method: ``closed form``, ``permanent``, ``listing``, ``listing (multiplier)``, ``annealing`` or ``importance``.
        bound_low: certified variational bound of log Z_q(x), NaN where the model has none.
        num_draws: random draws or chains a row; 0 where exact.
    """

    learned: Float[Tensor, " row"]
    audited: Float[Tensor, " row"]
    low: Float[Tensor, " row"]
    high: Float[Tensor, " row"]
    effective_share: Float[Tensor, " row"]
    pareto_k: Float[Tensor, " row"]
    method: str
    exact: bool
    bound_low: Float[Tensor, " row"]
    num_draws: int = 0

    @property
    def bound_high(self) -> Float[Tensor, " row"]:
        """τ + e^{log Z − τ} − 1 ≥ log Z_q(x): what the joint objective says of the normalisation at the learned τ.

        By convexity of exp it bounds log Z_q for every τ, and meets it at τ = log Z_q; their distance is what a row's
        joint objective has too much. log Z is the upper end of the audit's interval, so that the bound holds as surely
        as that. NaN for divergences other than KL.
        """
        if self.method == "listing (multiplier)":
            return torch.full_like(self.learned, math.nan)
        return self.learned + torch.expm1(self.high - self.learned)

    def repeated(self, rows: int) -> "PartitionAudit":
        """The audit of one context, for so many rows that have it."""
        values = {name: value.expand(rows) for name, value in self.__dict__.items() if isinstance(value, Tensor)}
        return dataclasses.replace(self, **values)

    def verdict(self) -> str:
        """How far the learned log-partition may be relied on: ``trusted``, ``caution`` or ``do not trust``.

        Mean absolute error and |bias| up to 0.1 nat are trusted, up to 0.3 call for caution, more (or NaN) is not.

        An audit that samples must deserve its verdict: the median half-width of its intervals is held to the same
        limits, and the verdict falls one step where k̂ > 0.7 or a certified lower bound lies above the interval on more
        than 5 % of rows, or the median effective sample size is below 8.
        """
        error = self.learned - self.audited
        worst = max(error.abs().mean().item(), abs(error.mean().item()))
        step = _step(worst)
        if not self.exact:
            step = max(step, _step(((self.high - self.low) / 2).median().item()))
            covered = (self.pareto_k <= RELIABLE_K).double().mean().item() >= RELIABLE_ROWS
            contradicted = (self.bound_low > self.high + 1e-3).double().mean().item() > 1 - RELIABLE_ROWS
            effective = self.effective_share.median().item() * self.num_draws
            step += not covered or contradicted or effective < MIN_EFFECTIVE_DRAWS
        return _VERDICTS[min(step, 2)]

    def summary(self, *, healthy: bool = True) -> PartitionSummary:
        """Means over rows, and the verdict: *do not trust* where a guard stopped the training of the model, whose draws
        then missed what it says, whatever rows like these show."""
        error = self.learned - self.audited
        n = len(error)
        total = (self.audited - self.audited.mean()).square().sum().item()
        varied = n > 1 and total > 0 and bool((self.learned != self.learned[0]).any())
        ranks = [stats.rankdata(values.numpy()) for values in (self.learned, self.audited)]
        return PartitionSummary(
            method=self.method,
            exact=self.exact,
            n=n,
            mae=error.abs().mean().item(),
            bias=error.mean().item(),
            r2=1 - error.square().sum().item() / total if n > 1 and total > 0 else None,
            rank_correlation=float(np.corrcoef(*ranks)[0, 1]) if varied else None,
            ess_median=None if self.exact else self.effective_share.median().item() * self.num_draws,
            pareto_k_max=None if self.exact else self.pareto_k.max().item(),
            verdict=self.verdict() if healthy else _VERDICTS[2],
        )

    def residual_quantiles(self, level: float = 0.95) -> tuple[float, float]:
        """Limits of learned − log Z of a new context, kept with probability ≥ ``level`` if it is like the audited ones.

        Split-conformal: with n rows, the ⌊(n+1)(1−level)/2⌋-th smallest and the ⌈(n+1)(1+level)/2⌉-th smallest
        residual; ∓inf where n is too small for the level. Where the audit is not exact, residuals are taken to the far
        end of its interval.

        Raises:
            SpecError: ``level`` is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise SpecError("Expected a level above 0 and below 1, found {level}; 0.95 is usual.", level=level)
        n = len(self.learned)
        first, last = math.floor((n + 1) * (1 - level) / 2 + 1e-9), math.ceil((n + 1) * (1 + level) / 2 - 1e-9)
        down, up = (self.learned - self.high).sort().values, (self.learned - self.low).sort().values
        return down[first - 1].item() if first >= 1 else -math.inf, up[last - 1].item() if last <= n else math.inf


def _step(error: float) -> int:
    """0, 1 or 2 for an error in nats; NaN is the worst."""
    return 0 if error <= TRUSTED_ERROR else 1 if error <= CAUTION_ERROR else 2
