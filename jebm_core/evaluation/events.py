"""Events of a person's own choice: what a rule can say, held against what happened.

An event is written in the rule language: ``motor = "servo" and seal = "PTFE lip"``, ``a and not b``, ``a above b``,
``size >= 3``. Its probability is the weighted share of the combinations that stand for p(·|x): all of them where the
space is small – then it is exact – else draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from jebm_core.errors import Phrase, RuleError
from jebm_core.evaluation.calibration import Bin, reliability, row_resamples, wilson_interval
from jebm_core.evaluation.decoded import distinct_contexts
from jebm_core.evaluation.decomposition import Decompositions, decompose
from jebm_core.evaluation.measured import possible_rows
from jebm_core.evaluation.smooth import SmoothError, smooth_error
from jebm_core.fitted import DRAWS, FittedModel
from jebm_core.model import Context
from jebm_core.rules.bound import Bound
from jebm_core.rules.checking import holds
from jebm_core.rules.language import And, Rule, RuleSet
from jebm_core.rules.notation.names import written
from jebm_core.rules.notation.parser import parse_rules
from jebm_core.rules.problem import bind
from jebm_core.tables import Examples, OutputSchema

SOURCE = "event"
_Z2 = 1.959963984540054**2


@final
@dataclass(frozen=True)
class Event:
    """An event as written, and as a formula over variables."""

    expression: str
    formula: Bound
    is_ranking: bool

    def happened(self, y: Integer[Tensor, "*batch item"]) -> Bool[Tensor, "*batch"]:
        """Whether it does for each combination, given as the space encodes them."""
        return holds(self.formula, y.argsort(-1) if self.is_ranking else y)


class EventProbability(NamedTuple):
    """P(event | x) of each row with a 95 % interval for what draws don't know; no width where all is listed."""

    value: Float[Tensor, " row"]
    low: Float[Tensor, " row"]
    high: Float[Tensor, " row"]


@final
@dataclass(frozen=True)
class EventJudgement:
    """One event on labelled rows: what was stated, and what happened.

    Attributes:
        observed: share of rows in which it happened; low, high: Wilson's interval of it.
        exact: whether the stated probabilities are sums over all combinations; else stated_error is the mean half
            width of their intervals.
        ece, ece_low, ece_high, ece_chance: as in `calibration.Reliability`.
    """

    expression: str
    n: int
    mean_stated: float
    observed: float
    low: float
    high: float
    exact: bool
    stated_error: float
    ece: float
    ece_low: float
    ece_high: float
    ece_chance: float
    smooth: SmoothError
    scores: Decompositions
    bins: tuple[Bin, ...]


def parse_event(text: str, schema: OutputSchema, rules: RuleSet | None = None) -> Event:
    """Read an event about these outputs; several statements mean that all of them hold.

    Args:
        rules: what declares attributes that ``total`` may name, such as the rules of the model.

    Raises:
        RuleError: something that can't be read or is not known, with its place and an example of an event.

    >>> schema = OutputSchema("subsets", ("a", "b"), ("y_a", "y_b"), ())
    >>> parse_event("a and not b", schema).happened(torch.tensor([[1, 0], [1, 1]])).tolist()
    [True, False]
    """
    try:
        return _read(text, schema, rules)
    except RuleError as error:
        raise RuleError(
            "{reason} An event is written like this: {example}.",
            line=error.line,
            column=error.column,
            reason=Phrase(error.template, error.values),
            example=example_event(schema),
        ) from None


def example_event(schema: OutputSchema) -> str:
    """An event about these outputs, as it is written.

    >>> example_event(OutputSchema("rankings", ("a", "b c"), ("r_a", "r_b c"), ()))
    'a above "b c"'
    """
    first, *others = [written(name) for name in schema.names]
    if schema.kind == "rankings":
        return f"{first} above {others[0]}" if others else f"{first} in place 1"
    if schema.kind == "subsets":
        return f"{first} and not {others[0]}" if others else first
    named = [
        f"{written(slot)} = {written(options[0], option=True)}"
        for slot, options in zip(schema.names, schema.options, strict=True)
    ]
    return " and ".join(named[:2])


def _read(text: str, schema: OutputSchema, rules: RuleSet | None) -> Event:
    said = parse_rules(text, SOURCE)
    if said.variables or said.attributes or said.probabilities:
        raise RuleError("{source}: expected what may happen, found a declaration. Take it out.", source=SOURCE)
    for rule in said.rules:
        if rule.where is not None or rule.weight is not None:
            raise RuleError(
                "{source}, line {line}, column {column}: expected what may happen, found a rule with a condition or a "
                "weight. Leave out what stands before the colon.",
                line=rule.line,
                column=1,
                source=SOURCE,
            )
    if not said.rules:
        raise RuleError(
            "{source}, line {line}, column {column}: expected an event, found nothing.", line=1, column=1, source=SOURCE
        )
    whole = Rule(And(tuple(rule.formula for rule in said.rules)))
    attributes = () if rules is None else rules.attributes
    problem = bind(RuleSet(attributes=attributes, rules=(whole,), source=SOURCE), schema)
    formula = next(demand.formula for demand in problem.demands if demand.rule == 0)
    return Event(text.strip(), formula, problem.is_ranking)


def event_of(model: FittedModel, text: str) -> Event:
    """An event about the outputs of a model. Raises as `parse_event`."""
    rules = None if model.record.rules is None else parse_rules(model.record.rules, "model.json")
    return parse_event(text, model.record.schema, rules)


def event_probability(
    model: FittedModel,
    context: Context,
    event: Event,
    *,
    num_samples: int = DRAWS,
    generator: torch.Generator | None = None,
) -> EventProbability:
    """P(event | x) for each context. Cost: that of `FittedModel.marginals`."""
    return event_probabilities(model, context, [event], num_samples=num_samples, generator=generator)[0]


@torch.no_grad()
def event_probabilities(
    model: FittedModel,
    context: Context,
    events: Sequence[Event],
    *,
    num_samples: int = DRAWS,
    generator: torch.Generator | None = None,
) -> list[EventProbability]:
    """The same for several events, from the same draws."""
    distinct, of_row = distinct_contexts(context)
    parts: list[list[Tensor]] = [[] for _ in events]
    for _, draws in model.weighted_draws(distinct, num_samples, generator=generator):
        weight = draws.log_weight.exp()
        for event, found in zip(events, parts, strict=True):
            if draws.listed:
                share = (weight.T @ event.happened(draws.y[:, 0]).to(weight)).clamp(0, 1)
                found.append(torch.stack([share, share, share]))
            else:
                share = (weight * event.happened(draws.y)).sum(0).clamp(0, 1)
                found.append(torch.stack([share, *_wilson(share, draws.effective)]))
    return [EventProbability(*torch.cat(found, 1)[:, of_row]) for found in parts]


def _wilson(share: Float[Tensor, " row"], trials: Float[Tensor, " row"]) -> tuple[Tensor, Tensor]:
    """Wilson's interval for a share that rests on an effective number of draws: it has a width at 0 and 1 too."""
    centre = (share + _Z2 / (2 * trials)) / (1 + _Z2 / trials)
    reach = (_Z2 * (share * (1 - share) / trials + _Z2 / (4 * trials.square()))).sqrt() / (1 + _Z2 / trials)
    return torch.minimum((centre - reach).clamp(min=0), share), torch.maximum((centre + reach).clamp(max=1), share)


def judge_events(
    model: FittedModel, examples: Examples, events: Sequence[Event], *, seed: int = 0, bootstrap: int = 200
) -> tuple[EventJudgement, ...]:
    """Hold events against labelled rows; rows that the rules of the model call impossible are left out.

    Raises:
        TableError: the rules of the model call every row impossible.
    """
    context, y, _ = possible_rows(model, examples)
    generator = torch.Generator(model.device).manual_seed(seed)
    found = event_probabilities(model, context, events, generator=generator)
    resampled = row_resamples(len(y), bootstrap, seed)
    judged = []
    for event, stated in zip(events, found, strict=True):
        p = stated.value.double().cpu().numpy()[:, None]
        true = event.happened(y).cpu().numpy()[:, None]
        one, hits = reliability(p, true, resampled), int(true.sum())
        width = float((stated.high - stated.low).mean()) / 2
        judged.append(
            EventJudgement(
                event.expression,
                len(y),
                float(p.mean()),
                hits / len(y),
                *wilson_interval(hits, len(y)),
                exact=width == 0.0,
                stated_error=width,
                ece=one.ece,
                ece_low=one.ece_low,
                ece_high=one.ece_high,
                ece_chance=one.ece_chance,
                smooth=smooth_error(p, true, resampled),
                scores=decompose(p, true, seed=seed),
                bins=one.bins,
            )
        )
    return tuple(judged)
