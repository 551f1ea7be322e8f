"""`fit`: from examples to a fitted model, in stages that report progress, can be cancelled, and resume exactly.

1. *reference* – fit q to the training part. 2. *baseline* – the same network without interactions: independent
items. 3. *training* – g and τ jointly.
4. *log-partition* – finish τ with g fixed. 5. *audit* – measure τ − log Z on held-out rows, which gives every
probability its interval.
"""

import dataclasses
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, final

import torch

from jebm_core.checkpoints import fingerprint, restore_checkpoint, save_checkpoint
from jebm_core.classifiers import PooledMarginals
from jebm_core.devices import device_named
from jebm_core.distributed import ALONE, Group
from jebm_core.errors import Cancelled, TrainingStopped
from jebm_core.fitted import FittedModel
from jebm_core.model import JointModel
from jebm_core.preparation import Given, Prepared, prepare
from jebm_core.progress import Progress
from jebm_core.proposals import ListingProposal, TiltProposal
from jebm_core.recipes import (
    build_model,
    choose_architecture,
    choose_plan,
    choose_proposals,
    independent_architecture,
    joins_items,
)
from jebm_core.record import ModelRecord
from jebm_core.refinement import refine_log_partition, residual_interval
from jebm_core.rules.language import RuleSet
from jebm_core.rules.notation.printer import to_text
from jebm_core.seen import Seen
from jebm_core.settings import FitSettings
from jebm_core.spaces import Ruled
from jebm_core.steps import Plan, Rows
from jebm_core.tables import Examples, FeatureEncoder, Note, Table
from jebm_core.training import EpochInfo, StopReason, Trainer

CHECKPOINT_SECONDS = 10.0
MAX_AUDITED = 256
"""Held-out rows on which the interval is measured."""
LISTED_AUDIT = 2**16
"""Size of the space up to which the interval is measured by listing."""


@final
@dataclass(frozen=True)
class Fit:
    """How a fit ended."""

    model: FittedModel
    history: tuple[Progress, ...]
    stop_reason: StopReason
    notes: tuple[Note, ...]


def fit(
    examples: Examples,
    settings: FitSettings = FitSettings(),  # noqa: B008 - frozen
    *,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    checkpoint: Path | None = None,
    classifier: Any = None,
    rules: RuleSet | None = None,
    candidates: Table | None = None,
    generator: FittedModel | None = None,
    group: Group = ALONE,
) -> Fit:
    """Fit p(y|x) = q(y|x) (f*)′(g(x,y) − τ(x)) to examples.

    Args:
        checkpoint: a folder; a run that was stopped goes on from there with the numbers of an unbroken run.
        classifier: an unfitted scikit-learn classifier whose out-of-fold marginals become the reference.
        rules: what makes a combination valid; nothing else has any probability.
        candidates: for the reference ``table``: combinations, simulated ones for instance, in the same columns.
        generator: for the reference ``model``: another model of the same outputs.
        group: the processes that fit this model together, each with the same arguments; what the first one returns is
            the model.

    Raises:
        UserError: too few rows, settings that don't fit the data, or rules that can't be met.
        TrainingStopped: no usable model came out; the message is the reason.
        Cancelled: ``should_stop`` said so; the checkpoint is left.
    """
    given = Given(classifier, rules, candidates, generator)
    return _Run(examples, settings, given, on_progress, should_stop, checkpoint, group).run()


@final
class _Run:
    """One call of `fit`: the state that its stages share."""

    def __init__(
        self,
        examples: Examples,
        settings: FitSettings,
        given: Given,
        on_progress: Callable[[Progress], None] | None,
        should_stop: Callable[[], bool] | None,
        checkpoint: Path | None,
        group: Group,
    ) -> None:
        self.examples, self.settings, self.given, self.group = examples, settings, given, group
        self.on_progress, self.should_stop, self.checkpoint = on_progress, should_stop, checkpoint
        self.started = time.monotonic()
        self.history: list[Progress] = []
        self.notes: list[Note] = []
        self.classifier: PooledMarginals | None = None
        self.device = device_named(settings.device)
        self.nll_independent: float | None = None

    def clock(self) -> float:
        return time.monotonic() - self.started

    def report(self, progress: Progress) -> None:
        progress = dataclasses.replace(progress, seconds=self.clock(), held_out_nll_independent=self.nll_independent)
        self.history.append(progress)
        if self.on_progress is not None:
            self.on_progress(progress)

    def stop_if_asked(self) -> None:
        if self.should_stop is not None and self.should_stop():
            raise Cancelled("The fit was cancelled.")

    def on_part(self, done: int, of: int) -> None:
        """A classifier of the reference is ready."""
        self.report(Progress("reference", done, of))
        self.stop_if_asked()

    def run(self) -> Fit:
        self.report(Progress("reference"))
        prepared = self.group.from_first(self.prepared, self.device)
        self.notes.extend([*prepared.notes, *prepared.encoder.notes])
        self.space, self.classifier, self.schema = prepared.space, prepared.classifier, prepared.schema
        self.table, self.reference = prepared.table, prepared.reference
        self.stop_if_asked()
        torch_state = torch.get_rng_state()
        try:
            return self.stages(prepared.train, prepared.valid, prepared.encoder)
        finally:
            torch.set_rng_state(torch_state)  # weights are drawn from the global generator; leave it as it was

    def prepared(self) -> Prepared:
        return prepare(self.examples, self.settings, self.device, self.given, self.on_part)

    def stages(self, train: Rows, valid: Rows, encoder: FeatureEncoder) -> Fit:
        settings = self.settings
        shape = choose_architecture(self.space, train, settings, self.table, self.reference)
        plan = choose_plan(self.space, train, settings, shape)

        independent: JointModel | None = None
        closed_form = self.space.exact_linear and not self.space.checks_draws
        if closed_form and joins_items(self.space, shape) and settings.divergence == "kl":
            independent = self.train_independent(shape, train, valid, plan)

        torch.manual_seed(settings.seed)
        model = build_model(self.space, shape, train.y, self.table, self.reference).to(self.device)
        if self.device.type == "cuda" and torch.cuda.is_bf16_supported():
            model.affinity.trunk.precision = torch.bfloat16
        model.fit_feature_scale(train.context)
        proposals = choose_proposals(self.space, model, train, settings)
        left = max(1.0, plan.seconds - self.group.first(self.clock()))
        trainer = Trainer(
            model,
            train,
            valid,
            proposals,
            dataclasses.replace(plan, seconds=0.8 * left),
            seed=settings.seed,
            clock=self.clock,
            group=self.group,
        )
        reason = self.train(trainer)
        if not trainer.state.best_model:
            raise TrainingStopped(reason.value)
        if reason.is_healthy:
            self.group.led_by_first(model.correction, lambda: self.refine(trainer))
        self.report(Progress("audit", proposal=trainer.proposal.name))
        context = valid.context.rows(slice(0, MAX_AUDITED))
        proposal = trainer.proposal
        if self.space.cardinality() <= LISTED_AUDIT:
            proposal = ListingProposal(self.space, self.device)
        how = {"samples": 16 * trainer.samples, "generator": trainer.generator}
        interval = self.group.from_first(lambda: residual_interval(model, context, proposal, **how))
        if interval is None:
            raise TrainingStopped(StopReason.MASS_LOST.value)
        record = self.record(encoder, shape, interval, reason, trainer, len(train.y), len(valid.y))
        fitted = FittedModel(
            model,
            record,
            seen=Seen.of(self.space, torch.cat([train.y, valid.y])),
            independent=independent,
            classifier=self.classifier,
            generator=self.given.generator,
        )
        if not reason.is_healthy:
            self.notes.append(Note(reason.value, {}))
        if trainer.state.skipped:
            count = {"count": trainer.state.skipped}
            self.notes.append(Note("Steps of training left out because a number was not finite: {count}.", count))
        return Fit(fitted, tuple(self.history), reason, tuple(self.notes))

    def train_independent(self, shape: Any, train: Rows, valid: Rows, plan: Plan) -> JointModel:
        """The baseline: exact maximum likelihood of independent items, by the same loop."""
        torch.manual_seed(self.settings.seed)
        model = build_model(self.space, independent_architecture(shape), train.y, self.table).to(self.device)
        plan = dataclasses.replace(plan, seconds=0.2 * plan.seconds)
        how = {"seed": self.settings.seed, "clock": self.clock, "group": self.group}
        trainer = Trainer(model, train, valid, [TiltProposal()], plan, **how)

        def on_epoch(info: EpochInfo) -> None:
            self.report(
                Progress(
                    "baseline", info.epoch, plan.epochs, info.objective, info.held_out.objective, info.held_out.nll
                )
            )

        trainer.run(on_epoch=on_epoch, should_stop=self.should_stop)
        self.nll_independent = trainer.state.best
        return model

    def train(self, trainer: Trainer) -> StopReason:
        """Joint training, with checkpoints."""
        given = self.given
        more = None if given.candidates is None else given.candidates.sha256
        more = (more, None if given.generator is None else given.generator.record.to_json())
        mark = fingerprint(self.examples, self.settings, given.rules, more, self.group)
        if self.checkpoint is not None:
            restored = restore_checkpoint(self.checkpoint, trainer, mark)
            if restored is not None:
                self.history.extend(Progress(**entry) for entry in restored["history"])
        written = self.clock()

        def save() -> None:
            if self.checkpoint is not None and self.group.is_first:
                history = [dataclasses.asdict(entry) for entry in self.history if entry.stage == "training"]
                save_checkpoint(self.checkpoint, trainer, mark, {"history": history})

        def on_epoch(info: EpochInfo) -> None:
            nonlocal written
            plan, state, found = trainer.plan, trainer.state, info.held_out
            pace = state.seconds / state.epoch
            left = min(
                pace * min(plan.epochs - state.epoch, max(plan.patience - state.since_best, 1)),
                plan.seconds - state.seconds,
            )
            self.report(
                Progress(
                    "training",
                    info.epoch,
                    plan.epochs,
                    info.objective,
                    found.objective,
                    found.nll,
                    None,
                    found.effective_share,
                    found.total_mass,
                    info.proposal,
                    seconds_left=left,
                )
            )
            if self.clock() - written > CHECKPOINT_SECONDS:
                save()
                written = self.clock()

        try:
            return trainer.run(on_epoch=on_epoch, should_stop=self.should_stop)
        except Cancelled:
            save()
            raise

    def refine(self, trainer: Trainer) -> None:
        """Finish τ. Only for KL, where the objective in τ alone is the log-partition's, and where a network has
        something to learn."""
        model = trainer.model
        if model.divergence.name != "kl":
            return
        name = trainer.proposal.name

        def on_chunk(done: int, of: int) -> None:
            self.report(Progress("log-partition", done, of, proposal=name))
            self.stop_if_asked()

        p = model.unnormalised(trainer.valid.context.rows(slice(0, 1)))
        if not model.base.is_exact(p):
            refine_log_partition(
                model,
                trainer.train.context,
                trainer.valid.context,
                trainer.proposal,
                samples=4 * trainer.samples,
                generator=trainer.generator,
                on_chunk=on_chunk,
            )

    def record(
        self,
        encoder: FeatureEncoder,
        shape: Any,
        interval: tuple[float, float],
        reason: StopReason,
        trainer: Trainer,
        train_rows: int,
        valid_rows: int,
    ) -> ModelRecord:
        table = self.examples.table
        checked = self.space.rules.checked if isinstance(self.space, Ruled) else None
        summary = {
            "rows": train_rows,
            "held_out_rows": valid_rows,
            "epochs": trainer.state.epoch,
            "stop_reason": reason.name,
            "healthy": reason.is_healthy,
            "proposal": trainer.proposal.name,
            "held_out_objective": trainer.state.best if math.isfinite(trainer.state.best) else None,
            "held_out_nll_independent": self.nll_independent,
            "seconds": round(self.clock(), 3),
            "device": str(self.device),
        }
        versions = {"python": platform.python_version(), "torch": version("torch"), "jebm": version("jebm")}
        return ModelRecord(
            self.schema,
            encoder,
            self.examples.roles.features,
            shape,
            self.settings,
            interval,
            table.name,
            table.sha256,
            versions,
            summary,
            None if self.given.rules is None else to_text(self.given.rules),
            () if checked is None else checked.places,
        )
