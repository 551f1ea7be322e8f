"""A fitted model: frozen, in evaluation mode, saved as numbers and JSON.

Everything a person asks of p(y|x) for rows of a table is a method here. Work is done in chunks of rows, so memory
does not grow with the table.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Integer
from torch import Tensor

from jebm_core import decoding
from jebm_core.classifiers import PooledMarginals
from jebm_core.distributions import sample_categorical
from jebm_core.draws import WeightedDraws, draw_weighted, enough_draws
from jebm_core.errors import ModelFolderError, SpecError
from jebm_core.folder import damaged, read_model_folder, write_model_folder
from jebm_core.model import AnchoredBase, Context, JointModel
from jebm_core.proposals import (
    AnchoredProposal,
    ListingProposal,
    MeanFieldProposal,
    PlackettLuceProposal,
    Proposal,
    TiltProposal,
)
from jebm_core.recipes import MAX_LISTED_ONCE, build_model, describe_space, independent_architecture
from jebm_core.record import ModelRecord
from jebm_core.reference_recipes import POINTS
from jebm_core.rules.compiled import compile_rules
from jebm_core.rules.contexts import flags_of_rows
from jebm_core.rules.notation.parser import parse_rules
from jebm_core.rules.problem import bind
from jebm_core.seen import Seen
from jebm_core.spaces import OutputSpace, Ruled
from jebm_core.tables import Table

CHUNK, GPU_CHUNK = 512, 4096
"""Rows at a time: what a cache holds, and what keeps a GPU busy (an H100 is 16 times as fast in large pieces)."""
MAX_LISTED_DRAWS = 2**14
"""Size of the space up to which predictions list every combination instead of drawing."""
DRAWS = 1024


class LogProb(NamedTuple):
    """log p(y|x) in nats with a 95 % interval that stands for the error of the learned log-partition."""

    value: Float[Tensor, " row"]
    low: Float[Tensor, " row"]
    high: Float[Tensor, " row"]


@final
class FittedModel:
    """p(y|x), ready for use. Made by `jebm_core.fit` or `load`.

    Attributes:
        space: the output space.
        seen: the distinct combinations of all rows given to the fit.
        independent: the same network without interactions, trained alike; None where that is the model itself.
        classifier, generator: what predicts the reference, where a classifier or another model does.
    """

    def __init__(
        self,
        model: JointModel,
        record: ModelRecord,
        *,
        seen: Seen,
        independent: JointModel | None,
        classifier: PooledMarginals | None = None,
        generator: "FittedModel | None" = None,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.record, self.seen = record, seen
        self.independent = None if independent is None else independent.eval().requires_grad_(False)
        self.classifier, self.generator = classifier, generator
        self.space: OutputSpace = model.space

    @property
    def device(self) -> torch.device:
        """Where the numbers are."""
        return self.seen.points.device

    def context(self, table: Table) -> Context:
        """The contexts of every row of a table."""
        inputs = None if self.generator is None else self.generator.natural_parameters(self.generator.context(table))
        return self.context_of(self.record.encoder.transform(table), self._flags(table), inputs)

    def context_of(self, x: np.ndarray, flags: np.ndarray | None = None, inputs: Tensor | None = None) -> Context:
        """The contexts of encoded features [row, feature].

        Args:
            flags: whether the conditions of the rules hold, [row, condition].
            inputs: what another model makes of the rows, where one is the reference.
        """
        if inputs is None:
            empty = np.zeros((len(x), 0), dtype=np.float32)
            inputs = torch.from_numpy(empty if self.classifier is None else self.classifier.predict(x))
        inputs = self.model.reference.complete(inputs.to(self.device))
        conditions = torch.zeros(len(x), 0) if flags is None else torch.from_numpy(flags.astype(np.float32))
        return Context(torch.from_numpy(x).to(self.device), torch.cat([inputs, conditions.to(self.device)], 1))

    def _flags(self, table: Table) -> np.ndarray | None:
        if not isinstance(self.space, Ruled):
            return None
        return flags_of_rows(self.space.rules, table)

    @torch.no_grad()
    def natural_parameters(self, context: Context) -> Float[Tensor, "row statistic"]:
        """η(x) of the member of the linear family that stands nearest to p(·|x): its mean-field tilt, or the one with
        p's marginals where q has a table of its own (none below 1e-4, so that no option becomes impossible). What this
        model says as a reference for another one.

        Raises:
            SpecError: the reference is a table of candidates, which is no such family.
        """
        shape = self.record.architecture
        if shape.reference in POINTS:
            raise SpecError(
                "Expected a model whose reference is uniform, marginals or a classifier as a generator, found one "
                "with {found}; fit it with another reference.",
                found=shape.reference,
            )
        if shape.reference == "stacked":
            share = self.marginals(context, generator=torch.Generator(self.device).manual_seed(0)).clamp(1e-4, 1 - 1e-4)
            return share.logit() if self.space.num_statistics == self.space.num_items else share.log()
        tilts = [self.model.unnormalised(part).mean_field.tilted for _, part in self.chunks(context)]
        return torch.cat([tilted.eta for tilted in tilts])  # pyright: ignore[reportAttributeAccessIssue]

    def chunks(self, context: Context, size: int | None = None) -> Iterator[tuple[slice, Context]]:
        """The contexts in pieces."""
        if size is None:  # pairs of statistics are the largest thing a row may need
            many = max(CHUNK, min(GPU_CHUNK, 2**28 // self.space.num_statistics**2))
            size = CHUNK if self.device.type == "cpu" else many
        for start in range(0, len(context.x), size):
            piece = slice(start, start + size)
            yield piece, context.rows(piece)

    # ---- probabilities ----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def log_partition(self, context: Context) -> Float[Tensor, " row"]:
        """τ(x) in one pass, as learned."""
        return torch.cat([self.model(part).log_partition for _, part in self.chunks(context)])

    @torch.no_grad()
    def log_prob(self, context: Context, y: Int64[Tensor, "row item"]) -> LogProb:
        """log p(y|x) with the learned τ, and its interval; −∞ for what the space, cut down by rules, does not hold."""
        values = [self.model(part).log_prob(y[rows].unsqueeze(0)).squeeze(0) for rows, part in self.chunks(context)]
        value = torch.where(self.space.contains(y), torch.cat(values), -torch.inf)
        low, high = self.record.interval
        return LogProb(value, value + low, value + high)

    @torch.no_grad()
    def supports(self, context: Context, y: Int64[Tensor, "row item"]) -> Bool[Tensor, " row"]:
        """Whether q(y|x) > 0: outside of it no score can make a combination possible."""
        inside = self.space.contains(y)
        parts = []
        for rows, part in self.chunks(context):
            log_q = self.model.unnormalised(part).reference.log_prob(y[rows].unsqueeze(0)).squeeze(0)
            parts.append(log_q > -torch.inf)
        return torch.cat(parts) & inside

    # ---- draws ------------------------------------------------------------------------------------------------------

    def proposal(self) -> Proposal:
        """The strongest way of drawing that this model has: listing for small spaces."""
        shape = (1, self.record.architecture.features), (1, self.model.reference.input_width)
        context = Context(*(torch.zeros(size, device=self.device) for size in shape))
        if self.space.cardinality() <= (MAX_LISTED_ONCE if context.is_single else MAX_LISTED_DRAWS):
            return ListingProposal(self.space, self.device)
        if isinstance(self.model.base, AnchoredBase) and self.record.summary.get("proposal") != "meanfield":
            return AnchoredProposal(self.space, self.model.base.anchors)
        p = self.model.unnormalised(context)
        if p.has_mean_field:
            return MeanFieldProposal()
        return TiltProposal() if self.space.exact_linear else PlackettLuceProposal()

    @torch.no_grad()
    def weighted_draws(
        self,
        context: Context,
        num_samples: int = DRAWS,
        *,
        generator: torch.Generator | None = None,
        independent: bool = False,
    ) -> Iterator[tuple[slice, WeightedDraws]]:
        """Weighted combinations for pieces of the contexts; self-normalised, so they owe nothing to τ."""
        model = self.independent if independent and self.independent is not None else self.model
        proposal = self.proposal()
        proposal, num_samples = enough_draws(model(context.rows(slice(0, 16))), proposal, num_samples)
        size = max(1, min(CHUNK, 2**26 // (self.space.num_items * self._draws_a_row(proposal, num_samples))))
        for rows, part in self.chunks(context, size):
            p = model(part)  # with τ: divergences other than KL need it for their weights
            yield rows, draw_weighted(p, proposal, num_samples, generator)

    def _draws_a_row(self, proposal: Proposal, num_samples: int) -> int:
        return self.space.cardinality() if isinstance(proposal, ListingProposal) else num_samples + len(self.seen)

    @torch.no_grad()
    def sample(
        self, context: Context, num_samples: int, *, generator: torch.Generator | None = None
    ) -> tuple[Integer[Tensor, "sample row item"], Float[Tensor, " row"]]:
        """Draws from p(·|x) by importance resampling, and the effective sample size behind them."""
        rows = len(context.x)
        if context.is_single and rows > 1:
            y, effective = self.sample(context.condensed(), num_samples * rows, generator=generator)
            return y.reshape(num_samples, rows, -1), effective.expand(rows)
        samples, effective = [], []
        for _, draws in self.weighted_draws(context, max(DRAWS, 8 * num_samples), generator=generator):
            index = sample_categorical(draws.log_weight.T, num_samples, generator=generator)
            batch = torch.arange(index.shape[1], device=index.device)
            samples.append(draws.y[index, batch])
            effective.append(draws.effective)
        return torch.cat(samples, 1), torch.cat(effective)

    @torch.no_grad()
    def marginals(
        self, context: Context, *, generator: torch.Generator | None = None, independent: bool = False
    ) -> Float[Tensor, "row statistic"]:
        """P(φ_a = 1 | x) of every linear statistic: item present, option chosen, item at a position."""
        if context.is_single and len(context.x) > 1:
            alike = self.marginals(context.condensed(), generator=generator, independent=independent)
            return alike.expand(len(context.x), -1)
        parts = []
        for _, draws in self.weighted_draws(context, generator=generator, independent=independent):
            weight = draws.log_weight.exp().T
            if draws.listed:
                parts.append(weight @ self.space.statistics(draws.y[:, 0]))
            else:
                parts.append(torch.einsum("bm,mbs->bs", weight, self.space.statistics(draws.y)))
        return torch.cat(parts)

    @torch.no_grad()
    def predict(
        self,
        context: Context,
        utility: str | Callable[[Tensor, Tensor], Tensor],
        *,
        generator: torch.Generator | None = None,
        independent: bool = False,
        empty_value: float = 0.0,
    ) -> decoding.Decoded:
        """The combination with the highest expected utility under p(·|x).

        Args:
            utility: ``map``, ``f1`` (subsets), ``hamming`` (subsets, configurations), ``kendall`` (rankings), or a
                function of candidates and draws.
            empty_value: F1 of an empty prediction for an empty truth.

        Raises:
            SpecError: a utility that does not apply to this space.
        """
        decoding.require_utility(self.record.schema.kind, utility)
        rows = len(context.x)
        if context.is_single and rows > 1:
            how: dict[str, Any] = {"generator": generator, "independent": independent, "empty_value": empty_value}
            alike = self.predict(context.condensed(), utility, **how)
            return decoding.Decoded(alike.y.expand(rows, -1), alike.expected_utility.expand(rows), alike.exact)
        parts = []
        for rows, draws in self.weighted_draws(context, generator=generator, independent=independent):
            if callable(utility):
                parts.append(decoding.decode_table(draws.y, draws.log_weight, utility))
            elif utility == "map":
                parts.append(decoding.decode_map(draws.y, self._log_density(context.rows(rows), draws, independent)))
            elif utility == "f1":
                parts.append(decoding.decode_f1(draws.y, draws.log_weight, empty_value=empty_value))
            elif utility == "hamming":
                parts.append(decoding.decode_hamming(draws.y, draws.log_weight, max(self.space.options_per_item())))
            else:
                parts.append(decoding.decode_kendall(draws.y, draws.log_weight))
        return decoding.Decoded(
            torch.cat([d.y for d in parts]), torch.cat([d.expected_utility for d in parts]), all(d.exact for d in parts)
        )

    def _log_density(self, context: Context, draws: WeightedDraws, independent: bool) -> Float[Tensor, "draw batch"]:
        """log p of each drawn combination; a weight is that only where everything is listed."""
        if draws.listed:
            return draws.log_weight
        model = self.independent if independent and self.independent is not None else self.model
        return model(context).log_prob(draws.y)

    def save(self, folder: Path | str) -> None:
        """Write ``model.safetensors`` and ``model.json``; with a classifier as reference ``reference.skops``, with
        another model as reference its folder ``generator``."""
        folder = Path(folder)
        tensors = {f"model.{name}": t for name, t in self.model.state_dict().items()}
        if self.independent is not None:
            tensors |= {f"independent.{name}": t for name, t in self.independent.state_dict().items()}
        write_model_folder(folder, self.record, tensors | {"seen": self.seen.points, "seen_counts": self.seen.counts})
        if self.classifier is not None:
            self.classifier.save(folder / "reference.skops")
        if self.generator is not None:
            self.generator.save(folder / "generator")


def load(folder: Path | str, *, device: torch.device | str = "cpu") -> FittedModel:
    """Read a model folder.

    Raises:
        ModelFolderError: the folder is missing, incomplete, damaged, or of another format.
    """
    folder = Path(folder)
    record, tensors = read_model_folder(folder, str(device))
    schema, shape, rules = record.schema, record.architecture, None
    if record.rules is not None:
        problem = bind(parse_rules(record.rules, "model.json"), schema, features=record.features)
        rules = compile_rules(problem, leave_out=record.checked)
        found = () if rules.checked is None else rules.checked.places
        if found != record.checked:  # another reference than the one that the numbers were learned on
            raise ModelFolderError(
                "{folder}: expected that the rules are summed as when the model was fitted, which this machine did not "
                "manage in time; try again, or fit again.",
                folder=folder,
            )
    space = describe_space(schema.kind, schema.names, schema.options, rules)
    independent, classifier, generator = None, None, None
    try:
        model = build_model(space, shape)
        model.load_state_dict(_under(tensors, "model."))
        if _under(tensors, "independent."):
            independent = build_model(space, independent_architecture(shape))
            independent.load_state_dict(_under(tensors, "independent."))
            independent.to(device)
        seen = Seen(space, tensors["seen"], tensors["seen_counts"])
    except (RuntimeError, KeyError) as error:  # numbers that don't fit the description
        raise damaged(folder, error) from error
    if shape.reference == "model":
        generator = load(folder / "generator", device=device)
    elif shape.reference in ("predicted", "stacked"):
        if not (folder / "reference.skops").exists():
            raise ModelFolderError(
                "{folder}: expected reference.skops, the classifier that this model's reference needs, found none; "
                "copy the whole folder again.",
                folder=folder,
            )
        classifier = PooledMarginals.load(space, folder / "reference.skops")
    return FittedModel(
        model.to(device), record, seen=seen, independent=independent, classifier=classifier, generator=generator
    )


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
