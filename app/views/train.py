"""Train: is training healthy?"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from app.components import place
from app.components.answer import Quantity, answer_line, quantities
from app.components.empty import empty_state, explain, page_heading
from app.components.generator_choice import Chosen, choose_generator
from app.components.language import _, sentence
from app.components.live_run import curves, live_run
from app.components.preflight_card import preflight_facts, preflight_line
from app.components.problem import problem
from app.components.result import go_to_data_of, load_result, open_run, provenance, run_line, unknown_run
from app.components.roles_table import first_roles
from app.components.storage import model_record, open_examples, open_table, start_run, store
from app.components.train_settings import WITH_A_SOURCE, Choice, settings_form
from app.components.verdict import Verdict
from app.text.numbers import count, decimal, duration, percent
from jebm_core.errors import SpecError, UserError
from jebm_core.runs.records import RunSpec, RunView, State
from jebm_core.settings import FitSettings
from jebm_core.tables import Examples, Roles, Table, require_fit_size


def page() -> None:
    """Draw the page: what will happen, what is happening, or what came out."""
    page_heading(_("Train"), _("Is training healthy?"))
    try:
        view = open_run()
    except UserError as error:
        unknown_run(error)
        return
    if view is None:
        _before()
        return
    run_line(view)
    if not view.state.ended:
        live_run(view.id)
        _cancel(view)
    elif view.state is State.SUCCEEDED:
        _succeeded(view)
    else:
        _ended_early(view)


def _before() -> None:
    """Draw the check before the start, and the start."""
    try:
        table = open_table()
    except UserError as error:
        problem(error, title=_("This data set can't be opened"))
        if st.button(_("Choose the data"), type="primary", key="choose_data"):
            place.put(dataset=None, roles=None, generator=None)
            st.switch_page("views/data.py")
        return
    if table is None:
        empty_state(
            _("No run is open"),
            _(
                "Training shows the objective, the effective sample size and the held-out likelihood while it "
                "goes on. Choose the data first; sensible settings are chosen for you."
            ),
            _("Choose the data"),
            "views/data.py",
            icon=":material/model_training:",
        )
        return
    roles, reason = first_roles(table)
    try:
        if not roles.targets:
            raise reason or UserError(_("No column is an output. Choose at least one below."))
        examples = open_examples(table.sha256, roles, table)
        require_fit_size(examples)
    except UserError as error:
        problem(error, title=_("Training can't start yet"))
        st.page_link("views/data.py", label=_("Go to the data"), icon=":material/table_chart:")
        return
    _ready(table, roles, examples)


def _ready(table: Table, roles: Roles, examples: Examples) -> None:
    start = _as_before()
    try:
        generator = choose_generator(table, roles, examples)
    except UserError as error:
        problem(error, title=_("Training can't start with this generator"))
        st.page_link("views/generator.py", label=_("Go to the candidate generator"), icon=":material/rule:")
        return
    if generator is not None:
        start = replace(start, settings=replace(start.settings, reference=generator.reference))
    elif start.settings.reference in WITH_A_SOURCE:
        start = replace(start, settings=replace(start.settings, reference="auto"))
    with st.container(border=True, key="preflight", gap="small"):
        words, way = st.columns([3.4, 1.2], gap="medium", vertical_alignment="center")
        with words:
            st.subheader(_("Ready to train"), anchor=False)
            st.markdown(preflight_line(table, examples, start))
        sent: Choice | None = None
        with way:
            if not place.is_expert() and st.button(
                _("Start training"), type="primary", key="start", width="stretch", icon=":material/play_arrow:"
            ):
                sent = start
    preflight_facts(examples, start, None if generator is None else generator.valid)
    if place.is_expert():
        try:
            sent = settings_form(roles.kind, start)
        except SpecError as error:
            problem(error, title=_("These settings can't be used"))
            return
    if sent is not None:
        _start(table, roles, sent, generator)
    st.caption(
        _(
            "Training runs in a process of its own: you may close this page or the browser, and come back by the same "
            "link. It can be cancelled at any time."
        )
    )


def _as_before() -> Choice:
    """Return the usual choice, or that of the run to be done again with changes."""
    held = st.session_state.get("start_from")
    if held is None:
        return Choice(FitSettings())
    spec: RunSpec = held
    try:
        return Choice(FitSettings.from_json(dict(spec.settings)), spec.hold_out_fraction or 0.2, spec.hold_out_mode)
    except SpecError:
        return Choice(FitSettings())


def _start(table: Table, roles: Roles, choice: Choice, generator: Chosen | None) -> None:
    spec = RunSpec(
        dataset=table.sha256,
        dataset_name=table.name,
        targets=roles.targets,
        features=roles.features,
        kind=roles.kind,
        settings=choice.settings.to_json(),
        hold_out_fraction=choice.fraction,
        hold_out_mode=choice.mode,
        seed=choice.settings.seed,
        language=place.language(),
        rules="" if generator is None else generator.rules,
        generator="" if generator is None else generator.id,
        source=generator.source if generator and choice.settings.reference == generator.reference else "",
    )
    try:
        with st.spinner(_("Starting …")):
            run_id = start_run(spec)
    except UserError as error:
        problem(error, title=_("Training can't start yet"))
        return
    st.session_state.pop("start_from", None)
    place.put(run=run_id)
    st.rerun()


def _cancel(view: RunView) -> None:
    if view.cancelling:
        return
    with st.popover(_("Cancel this run"), icon=":material/cancel:", key="cancel_ask"):
        st.markdown(
            _(
                "The run stops within five seconds. What it has learned so far is kept, and it can be taken up again "
                "from there."
            )
        )
        if st.button(_("Yes, cancel it"), key="cancel", type="primary"):
            store().cancel(view.id)
            st.rerun()


def _ended_early(view: RunView) -> None:
    failed = view.state is State.FAILED
    with st.container(border=True, key="ended_early", gap="medium"):
        if failed:
            st.error(
                sentence(view.message) if view.message else _("The run ended without saying why."),
                title=_("This run failed"),
                icon=":material/error:",
            )
            st.markdown(
                _("What to do: follow the sentence above, then take the run up again or start one with other settings.")
            )
        else:
            st.warning(
                sentence(view.message) if view.message else _("The run was cancelled."),
                title=_("This run was cancelled"),
                icon=":material/cancel:",
            )
            resumes = store().folder(view.id).has_checkpoint()
            st.markdown(
                _("It goes on from where it stopped.") if resumes else _("It begins anew when it is taken up again.")
            )
        first, second, _rest = st.columns([1.3, 1.8, 1])
        with first:
            if st.button(
                _("Take it up again"), type="secondary" if failed else "primary", key="resume", width="stretch"
            ):
                _resume(view)
        with second:
            _other_settings(view, primary=failed)
    if store().history(view.id):
        curves(store().history(view.id), running=False)
    if failed and place.is_expert():
        st.caption(_("Log of the run: {file}").format(file=str(store().folder(view.id).log)))


def _resume(view: RunView) -> None:
    # A second click finds the run queued already, which is what was wanted.
    if store().run(view.id).state in (State.FAILED, State.CANCELLED):
        store().resume(view.id)
    st.rerun()


def _other_settings(view: RunView, *, primary: bool = False) -> None:
    kind = "primary" if primary else "secondary"
    if st.button(_("New run with other settings"), type=kind, key="again", width="stretch", icon=":material/tune:"):
        st.session_state["start_from"] = view.spec
        go_to_data_of(view.spec)
        place.put(run=None, depth="expert")
        st.rerun()


def _succeeded(view: RunView) -> None:
    lang = place.language()
    rows = store().history(view.id)
    reports = [row.values for row in rows if row.values.get("stage") == "training"]
    try:
        result = load_result(view)
        summary = model_record(view.id).get("summary") or {}
    except UserError as error:
        problem(error, title=_("The numbers of this run can't be read"))
        _other_settings(view)
        return
    # The model of the best held-out epoch is the one that was kept.
    last: Mapping[str, Any] = min(reports, key=_held_out_objective) if reports else {}
    verdict, reasons = _health(summary, last)
    nll, independent = summary.get("held_out_objective"), summary.get("held_out_nll_independent")
    values = {"epochs": count(summary.get("epochs") or 0, lang), "gap": "", "nll": decimal(nll, lang)}
    words = _("Training ended after {epochs} epochs at {nll} nat per held-out row.")
    if verdict is Verdict.TRUSTED:
        words = _("Training is healthy: it ended after {epochs} epochs at {nll} nat per held-out row.")
    if nll is not None and independent is not None and nll < independent:
        values["gap"] = decimal(independent - nll, lang)
        words = _(
            "Training is healthy: after {epochs} epochs held-out rows are predicted {gap} nat better than by "
            "independent parts."
        ) if verdict is Verdict.TRUSTED else _(
            "After {epochs} epochs held-out rows are predicted {gap} nat better than by independent parts."
        )  # fmt: skip
    answer_line(verdict, words.format(**values), [*reasons, *_stop_reason(view)])
    _ways_on()
    quantities(
        [
            Quantity(_("Epochs"), values["epochs"]),
            Quantity(_("Held-out −log p"), decimal(nll, lang), _("nat per row")),
            Quantity(
                _("Effective sample size"),
                percent(last.get("effective_sample_size"), lang, 0),
                _("of the draws"),
                _("How many draws the estimate is really worth."),
            ),
            Quantity(_("Total mass"), decimal(last.get("total_mass"), lang), _("should be 1")),
            Quantity(_("Duration"), duration(view.elapsed, lang)),
        ],
        verdict,
    )
    curves(rows, running=False)
    explain(
        r"\min_{g,\tau}\; \mathbb{E}_{(x,y)}\big[\tau(x) - g(x,y)\big]"
        r" + \mathbb{E}_x\,\mathbb{E}_{y\sim q}\big[e^{\,g(x,y)-\tau(x)}\big] - 1",
        _(
            "Score and log-partition are learned together: the first part raises the score of what was observed, the "
            "second holds the total probability at one. The minimum over the log-partition is exact when the total "
            "mass is 1 for every case. The effective sample size tells whether the draws suffice for the second part."
        ),
        _("The joint objective is convex in the log-partition; its minimum is the likelihood."),
    )
    provenance(result)
    _other_settings(view)


def _held_out_objective(report: Mapping[str, Any]) -> float:
    found = report.get("held_out_objective")
    return float("inf") if found is None else float(found)


def _health(summary: Mapping[str, Any], last: Mapping[str, Any]) -> tuple[Verdict, list[str]]:
    """Return how healthy training was, and what speaks against it."""
    lang = place.language()
    reasons = []
    mass, share = last.get("total_mass"), last.get("effective_sample_size")
    if mass is not None and abs(mass - 1) > 0.1:
        reasons.append(
            _(
                "The total mass of the model that was kept was {mass}; its log-partition was finished after that."
            ).format(mass=decimal(mass, lang))
        )
    if share is not None and share < 0.1:
        reasons.append(
            _("The effective sample size is low, {share} of the draws: estimates rest on few of them.").format(
                share=percent(share, lang, 0)
            )
        )
    if summary.get("healthy") is False:
        return Verdict.DO_NOT_TRUST, reasons
    return (Verdict.CAUTION if reasons else Verdict.TRUSTED), reasons


def _stop_reason(view: RunView) -> list[str]:
    return [sentence(view.stop_reason)] if view.stop_reason is not None else []


def _ways_on() -> None:
    steps = [
        ("partition", _("Can I trust it?"), "views/partition.py", ":material/functions:"),
        ("calibration", _("Is it calibrated?"), "views/calibration.py", ":material/straighten:"),
        ("unseen", _("What to try next?"), "views/unseen.py", ":material/explore:"),
    ]
    for column, (key, label, target, icon) in zip(st.columns(len(steps)), steps, strict=True):
        with column:
            kind = "primary" if key == "partition" else "secondary"
            if st.button(label, key=f"go_{key}", type=kind, icon=icon, width="stretch"):
                st.switch_page(target)


page()
