"""`fit_baseline`: the stages of a fit with a baseline in the place of the joint objective."""

import dataclasses
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, final

import torch

from jebm_core.baselines.loop import EpochResult, Loop, measuring_draws
from jebm_core.baselines.objectives import make_objective, measuring_proposal
from jebm_core.baselines.setups import (
    LEARNED,
    Name,
    baseline_architecture,
    baseline_named,
    data_settings,
    model_settings,
    plan_settings,
    require_applicable,
)
from jebm_core.devices import device_named
from jebm_core.errors import Cancelled, TrainingStopped
from jebm_core.fitted import MAX_LISTED_DRAWS, FittedModel
from jebm_core.fitting import LISTED_AUDIT, MAX_AUDITED, Fit
from jebm_core.preparation import Given, Prepared, prepare
from jebm_core.progress import Progress
from jebm_core.recipes import MAX_LISTED_ONCE, Architecture, build_model, choose_architecture, choose_plan
from jebm_core.record import ModelRecord
from jebm_core.refinement import refine_log_partition, residual_interval
from jebm_core.rules.language import RuleSet
from jebm_core.rules.notation.printer import to_text
from jebm_core.seen import Seen
from jebm_core.settings import FitSettings
from jebm_core.spaces import Ruled
from jebm_core.steps import Plan
from jebm_core.tables import Examples, Note
from jebm_core.training import StopReason


def fit_baseline(
    name: str,
    examples: Examples,
    settings: FitSettings = FitSettings(),  # noqa: B008 - frozen
    *,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    rules: RuleSet | None = None,
) -> Fit:
    """Fit a baseline to examples, the way `jebm_core.fit` fits the joint model.

    The result is used like that of a fit: ``model.log_prob``, ``predict``, ``evaluate``, ``save``. Its record has the
    settings that stand for the baseline, and its name as ``summary["baseline"]``. Progress has the held-out negative
    log-likelihood in nats; what the objective is differs between baselines.

    Args:
        name: one of `BASELINES`.
        settings: those of the fit that the baseline is compared with.
        rules: what makes a combination valid; nothing else has any probability.

    Raises:
        UserError: an unknown name, a baseline that does not apply, or whatever `jebm_core.fit` refuses.
        TrainingStopped: no usable model came out; the message is the reason.
        Cancelled: ``should_stop`` said so.

    Cost: about that of a fit; ``exact`` lists the space in every step, and ``persistent-cd`` scores every item of every
    chain several times.

    >>> from jebm_core.tables import guess_roles, read_examples, read_table
    >>> cells = "".join(f"{i % 7},{int(i % 7 > 2)},{int(i % 3 > 0)}\\n" for i in range(60))
    >>> table = read_table("t.csv", content=b"x_a,y_b,y_c\\n" + cells.encode())
    >>> settings = FitSettings(epochs=3, reference="uniform")
    >>> done = fit_baseline("independent", read_examples(table, guess_roles(table)), settings)
    >>> done.model.record.summary["baseline"], done.stop_reason.name
    ('independent', 'EXHAUSTED')
    """
    known = baseline_named(name, settings)
    return _Run(known, examples, settings, rules, on_progress, should_stop).run()


@final
class _Run:
    """One call of `fit_baseline`: the state that its stages share."""

    def __init__(
        self,
        name: Name,
        examples: Examples,
        settings: FitSettings,
        rules: RuleSet | None,
        on_progress: Callable[[Progress], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self.name: Name = name
        self.examples, self.settings, self.rules = examples, settings, rules
        self.on_progress, self.should_stop = on_progress, should_stop
        self.started = time.monotonic()
        self.history: list[Progress] = []
        self.device = device_named(settings.device)

    def clock(self) -> float:
        return time.monotonic() - self.started

    def report(self, progress: Progress) -> None:
        progress = dataclasses.replace(progress, seconds=self.clock())
        self.history.append(progress)
        if self.on_progress is not None:
            self.on_progress(progress)

    def stop_if_asked(self) -> None:
        if self.should_stop is not None and self.should_stop():
            raise Cancelled("The fit was cancelled.")

    def run(self) -> Fit:
        self.report(Progress("reference"))
        prepared = prepare(self.examples, data_settings(self.name, self.settings), self.device, Given(rules=self.rules))
        self.stop_if_asked()
        torch_state = torch.get_rng_state()
        try:
            return self.stages(prepared)
        finally:
            torch.set_rng_state(torch_state)  # weights are drawn from the global generator; leave it as it was

    def stages(self, prepared: Prepared) -> Fit:
        space, train, valid = prepared.space, prepared.train, prepared.valid
        shape, settings, plan = self.choices(prepared)
        torch.manual_seed(settings.seed)
        # Independent items have a reference of their own where that of the fit knows whole combinations.
        fitted_reference = None if self.name == "independent" else prepared.reference
        model = build_model(space, shape, train.y, prepared.table, fitted_reference).to(self.device)
        if self.device.type == "cuda" and torch.cuda.is_bf16_supported():
            model.affinity.trunk.precision = torch.bfloat16
        require_applicable(self.name, model.unnormalised(train.context.rows(slice(0, 1))), shape)
        learned = self.name in LEARNED
        if learned:
            model.fit_feature_scale(train.context)
        listed = MAX_LISTED_ONCE if train.context.is_single else MAX_LISTED_DRAWS
        measuring = measuring_proposal(model, train, settings, listed=listed)
        generator = torch.Generator(self.device).manual_seed(settings.seed)
        loop = Loop(
            model,
            train,
            valid,
            make_objective(self.name, model, shape, train, plan, settings, generator=generator),
            measuring,
            dataclasses.replace(plan, seconds=0.8 * max(1.0, plan.seconds - self.clock())),
            learned=learned,
            generator=generator,
            seed=settings.seed,
            clock=self.clock,
        )
        reason = loop.run(on_epoch=lambda result: self.report(_training(loop, result)), should_stop=self.should_stop)
        if not loop.state.best_model:
            # Whatever ended it: no epoch could be measured.
            raise TrainingStopped((StopReason.PROPOSAL_LOST if reason.is_healthy else reason).value)
        if not learned:
            self.finish(loop)
        self.report(Progress("audit", proposal=measuring.name))
        auditing = measuring_proposal(model, train, settings, listed=max(listed, LISTED_AUDIT))
        interval = residual_interval(
            model,
            valid.context.rows(slice(0, MAX_AUDITED)),
            auditing,
            samples=measuring_draws(valid),
            generator=generator,
        )
        if interval is None:
            raise TrainingStopped(StopReason.MASS_LOST.value)
        record = self.record(prepared, shape, settings, interval, self.summary(prepared, loop, reason))
        seen = Seen.of(space, torch.cat([train.y, valid.y]))
        fitted = FittedModel(model, record, seen=seen, independent=None, classifier=prepared.classifier)
        notes = (*prepared.notes, *prepared.encoder.notes)
        if not reason.is_healthy:
            notes = (*notes, Note(reason.value, {}))
        return Fit(fitted, tuple(self.history), reason, notes)

    def choices(self, prepared: Prepared) -> tuple[Architecture, FitSettings, Plan]:
        """(shape, settings, plan) of the baseline: the affinity is the one that the fit would choose."""
        space, train, asked = prepared.space, prepared.train, data_settings(self.name, self.settings)
        fitted = choose_architecture(space, train, asked, prepared.table, prepared.reference)
        settings = dataclasses.replace(model_settings(self.name, self.settings), affinity=fitted.affinity)
        shape = choose_architecture(space, train, settings, prepared.table, prepared.reference)
        # The prior on pairs is a part of the objective, however it is minimised.
        penalty = choose_plan(space, train, asked, fitted).penalty
        plan = choose_plan(space, train, plan_settings(self.name, settings), shape)
        plan = dataclasses.replace(plan, penalty=penalty)
        return baseline_architecture(self.name, shape), settings, plan

    def finish(self, loop: Loop) -> None:
        """Learn τ of the finished g, where it is not exact already."""
        model, train, valid = loop.model, loop.train, loop.valid
        if model.base.is_exact(model.unnormalised(valid.context.rows(slice(0, 1)))):
            return

        def on_chunk(done: int, of: int) -> None:
            self.report(Progress("log-partition", done, of, proposal=loop.measuring.name))
            self.stop_if_asked()

        model.fit_feature_scale(train.context)  # of the finished g; nothing has looked at τ before
        refine_log_partition(
            model,
            train.context,
            valid.context,
            loop.measuring,
            samples=max(4 * loop.plan.samples, measuring_draws(valid) // 4),
            generator=loop.generator,
            on_chunk=on_chunk,
        )

    def summary(self, prepared: Prepared, loop: Loop, reason: StopReason) -> dict[str, Any]:
        return {
            "baseline": self.name,
            "rows": len(prepared.train.y),
            "held_out_rows": len(prepared.valid.y),
            "epochs": loop.state.epoch,
            "stop_reason": reason.name,
            "healthy": reason.is_healthy,
            "proposal": loop.measuring.name,
            "held_out_objective": None,
            "held_out_nll": loop.state.best,
            "held_out_nll_independent": None,
            "seconds": round(self.clock(), 3),
            "device": str(self.device),
        }

    def record(
        self,
        prepared: Prepared,
        shape: Architecture,
        settings: FitSettings,
        interval: tuple[float, float],
        summary: dict[str, Any],
    ) -> ModelRecord:
        table = self.examples.table
        checked = prepared.space.rules.checked if isinstance(prepared.space, Ruled) else None
        versions = {"python": platform.python_version(), "torch": version("torch"), "jebm": version("jebm")}
        return ModelRecord(
            prepared.schema,
            prepared.encoder,
            self.examples.roles.features,
            shape,
            settings,
            interval,
            table.name,
            table.sha256,
            versions,
            summary,
            None if self.rules is None else to_text(self.rules),
            () if checked is None else checked.places,
        )


def _training(loop: Loop, result: EpochResult) -> Progress:
    plan, state, found = loop.plan, loop.state, result.held_out
    pace = state.seconds / state.epoch
    epochs = min(plan.epochs - state.epoch, max(plan.patience - state.since_best, 1))
    return Progress(
        "training",
        result.epoch,
        plan.epochs,
        result.loss,
        None,
        found.nll,
        None,
        found.effective_share,
        found.total_mass,
        loop.measuring.name,
        seconds_left=min(pace * epochs, plan.seconds - state.seconds),
    )
