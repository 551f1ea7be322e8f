"""Train: is training healthy?"""

from dataclasses import replace

import streamlit as st

from app.components import place
from app.components.curves import curves, reports_of
from app.components.empty import empty_state, page_heading
from app.components.generator_choice import Chosen, choose_generator
from app.components.language import _, sentence
from app.components.live_run import live_run
from app.components.preflight_card import preflight_facts, preflight_line
from app.components.problem import problem
from app.components.result import open_run, run_line, unknown_run
from app.components.roles_table import first_roles
from app.components.run_list import FELL_BEHIND, STOPPED_EARLY
from app.components.storage import (
    open_examples,
    open_table,
    project_here,
    run_of,
    start_run,
    stopped_early,
    store,
)
from app.components.train_settings import WITH_A_SOURCE, Choice, settings_form
from app.components.training_result import other_settings, training_result
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
        training_result(view)
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
                "Training shows the objective, the effective sample size and the validation likelihood while it "
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
        settings = FitSettings.from_json(dict(spec.settings))
        return Choice(settings, spec.hold_out_fraction or 0.2, spec.hold_out_mode, spec.processes)
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
        processes=choice.processes,
        seed=choice.settings.seed,
        language=place.language(),
        project=project_here(),
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
            early = view.id in stopped_early([view])
            said = sentence(view.message) if view.message else _("The run was cancelled.")
            st.warning(
                _(FELL_BEHIND) if early else said,
                title=_(STOPPED_EARLY) if early else _("This run was cancelled"),
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
            other_settings(view, primary=failed)
    if reports_of(view):
        curves(view)
    if failed and place.is_expert():
        st.caption(_("Log of the run: {file}").format(file=str(store().folder(view.id).log)))


def _resume(view: RunView) -> None:
    # A second click finds the run queued already, which is what was wanted.
    if run_of(view.id).state in (State.FAILED, State.CANCELLED):
        store().resume(view.id)
    st.rerun()


page()
