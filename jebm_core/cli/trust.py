"""Whether the probabilities that a command writes may be relied on, in words."""

from typing import TYPE_CHECKING, NamedTuple

from jebm_core.cli.output import tell
from jebm_core.errors import SpecError

if TYPE_CHECKING:
    from jebm_core.fitted import FittedModel
    from jebm_core.model import Context
    from jebm_core.report import Verdict

AUDITED = 32
"""Rows of a table on which a command audits the log-partition before it writes probabilities."""


class Trust(NamedTuple):
    """The verdict on the normalisation, and the sentence to go with the numbers; None where it is trusted."""

    verdict: "Verdict"
    warning: str | None


def trust_of(fitted: "FittedModel", context: "Context") -> Trust:
    """Audit the log-partition on at most `AUDITED` rows, evenly chosen, and say what that means for probabilities."""
    import torch

    from jebm_core.evaluation.partition import audit_partition
    from jebm_core.report import judge_audit

    rows = len(context.x)
    if rows == 0:
        return Trust("trusted", None)
    chosen = torch.linspace(0, rows - 1, min(rows, AUDITED), dtype=torch.float64).round().long()
    healthy = fitted.record.is_healthy
    try:
        audit = audit_partition(fitted.model, context.rows(chosen.to(context.x.device)))
        summary = audit.summary(healthy=healthy).to_json()
    except SpecError:  # another divergence than KL on a large space: nothing can normalise it
        if fitted.model.divergence.name == "kl":
            raise
        summary = None
    verdict, reasons = judge_audit(summary, healthy=healthy)
    words = " ".join(map(str, reasons))
    match verdict:
        case "do not trust":
            return Trust(verdict, f"Do not trust these probabilities. {words}")
        case "caution":
            return Trust(verdict, f"Read these probabilities with caution. {words}")
        case _:
            return Trust(verdict, None)


def tell_trust(trust: Trust) -> None:
    """Say it on stderr where there is something to say."""
    if trust.warning is not None:
        tell(f"Warning: {trust.warning}")
