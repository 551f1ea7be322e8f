"""Data: is this data fit for the question?"""

from contextlib import suppress

import streamlit as st

from app.components import place
from app.components.answer import Action, answer_line
from app.components.choose_data import sample_panel, upload_panel
from app.components.data_view import data_figures, data_numbers, data_reasons, data_sentence, data_verdict
from app.components.empty import explain, page_heading
from app.components.language import _, sentence
from app.components.plain import escape
from app.components.problem import problem
from app.components.result import open_run
from app.components.roles_table import edit_roles, first_roles
from app.components.storage import open_dataset, open_examples, open_table
from app.data_summary import summarise
from app.samples import Labels, labels_of
from app.text.numbers import count
from jebm_core.errors import UserError
from jebm_core.tables import Examples, Roles, Table, require_fit_size


def page() -> None:
    """Draw the page: bring data, confirm the roles of the columns, see whether they are fit, go on."""
    page_heading(_("Data"), _("Is this data fit for the question?"))
    if place.get("dataset") is None:
        with suppress(UserError):  # the pages of its numbers say what is wrong with a run
            open_run()  # a link that names a run alone means its data
    try:
        table = open_table()
    except UserError as error:
        problem(error, title=_("This data set can't be opened"))
        _other_data()
        return
    if table is None:
        left, right = st.columns([3, 2], gap="large")
        with left:
            upload_panel()
        with right:
            sample_panel()
        return
    _file_line(table)
    labels = labels_of(table.name, place.language())
    roles, reason = first_roles(table)
    answer = st.container()
    st.subheader(_("Columns and their roles"), anchor=False)
    roles = edit_roles(table, roles, labels)
    with answer:
        examples = _examples(table, roles, reason)
    if examples is not None:
        _look(examples, labels)
    _first_rows(table)


def _examples(table: Table, roles: Roles, reason: UserError | None) -> Examples | None:
    """Draw the answer, or the sentence that says what is in the way of one."""
    advice = _("Change the roles of the columns below, or mend the file and upload it again.")
    if not roles.targets:
        problem(
            reason or UserError(_("No column is an output. Choose at least one below.")),
            advice,
            title=_("Choose the outputs"),
        )
        return None
    try:
        examples = open_examples(table.sha256, roles, table)
    except UserError as error:
        problem(error, advice)
        return None
    summary = summarise(examples)
    reasons, enough = data_reasons(summary), True
    try:
        require_fit_size(examples)
    except UserError as error:
        reasons, enough = [sentence(error)], False
    action = Action(_("Continue to training"), "continue", disabled=not enough)
    if answer_line(data_verdict(summary), data_sentence(summary), reasons, action):
        st.switch_page("views/train.py")
    data_numbers(summary)
    st.page_link("views/generator.py", label=_("Say which combinations are possible"), icon=":material/rule:")
    return examples


def _look(examples: Examples, labels: Labels) -> None:
    st.subheader(_("What the data look like"), anchor=False)
    data_figures(examples, summarise(examples), labels)
    if examples.notes:
        title = _("Notes from reading the file: {count}").format(count=len(examples.notes))
        with st.expander(title, icon=":material/sticky_note_2:", key="notes", expanded=len(examples.notes) <= 3):
            st.markdown("\n".join(f"- {escape(sentence(note))}" for note in examples.notes))
    explain(
        r"\hat u = \frac{N_1}{n} \qquad \varphi_{ab} = \frac{p_{ab} - p_a p_b}{\sqrt{p_a (1-p_a)\, p_b (1-p_b)}}",
        _(
            "The unseen share is the number of combinations that occur exactly once, divided by the "
            "number of rows. The correlation of two labels or options compares how often they occur together with how "
            "often they would by chance; 0 means no link, 1 always together, −1 never together. For rankings the "
            "figure shows the share of rows that rank one item above the other."
        ),
        _("Good, Biometrika 1953; the interval follows Esty, Annals of Statistics 1983."),
    )


def _file_line(table: Table) -> None:
    lang = place.language()
    line, change = st.columns([4, 1.3], vertical_alignment="center")
    with line:
        st.caption(
            _("{file} · {rows} rows · {columns} columns").format(
                file=escape(table.name), rows=count(len(table.frame), lang), columns=count(table.frame.shape[1], lang)
            )
        )
        if place.is_expert():
            st.caption(
                _("Format {format} · encoding {encoding} · SHA-256 {digest}").format(
                    format=table.format, encoding=table.encoding or "–", digest=table.sha256[:16]
                )
            )
    with change:
        _other_data()


def _other_data() -> None:
    if st.button(_("Use other data"), key="other_data", icon=":material/swap_horiz:", width="stretch"):
        open_dataset(None)
        st.rerun()


def _first_rows(table: Table) -> None:
    with st.expander(_("First rows of the file"), icon=":material/table_rows:", key="first_rows"):
        st.dataframe(table.frame.head(100), key="first_rows_frame")
        st.caption(_("The first 100 rows at most, as they were read."))


page()
