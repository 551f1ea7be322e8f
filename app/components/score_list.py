"""A person's own list of combinations, scored and given back as a file."""

from collections.abc import Mapping
from importlib import resources
from typing import Any

import pandas as pd
import streamlit as st

from app.components import place
from app.components.figure import csv_bytes
from app.components.ladder import entry_columns, entry_table
from app.components.language import _, sentence
from app.components.live_model import Outcome, conditions, scored
from app.components.plain import escape
from app.components.problem import problem
from app.components.result import Result
from app.text.numbers import count
from app.truth import has_outcome, true_values
from jebm_core.errors import UserError
from jebm_core.tables import read_table
from sample_data.truth import Truth

_SAMPLE_LIST = "assembly_candidates.csv"


def score_list(result: Result, outcome: Outcome | None, row: int | None, truth: Truth | None) -> None:
    """Draw the uploader of a list, or the sample's own list, and what the model says of each combination."""
    st.subheader(_("Score your own list"), anchor=False)
    columns = [column for column in result.schema.columns if not outcome or not column.endswith(f"_{outcome[0]}")]
    st.markdown(
        _(
            "A table with the columns {columns}. With the feature columns too, each row is judged under its own "
            "conditions; without them, under those chosen above."
        ).format(columns=", ".join(f"`{column}`" for column in columns[:12]) + (" …" if len(columns) > 12 else ""))
    )
    file = st.file_uploader(_("List of combinations"), key="list_upload", label_visibility="collapsed")
    content, name = (file.getvalue(), file.name) if file is not None else (None, "")
    is_sample = outcome is not None and result.view.spec.dataset_name in ("assembly.csv",)
    if content is None and is_sample:
        if st.button(_("Take the sample list"), key="sample_list", icon=":material/playlist_add:"):
            st.session_state["sample_list_on"] = True
        if st.session_state.get("sample_list_on"):
            content, name = (resources.files("sample_data") / _SAMPLE_LIST).read_bytes(), _SAMPLE_LIST
    if content is None:
        return
    try:
        with st.spinner(_("Scoring {file} …").format(file=escape(name))):
            record = scored(result, content, name, outcome, row)
            frame = _frame(result, record, content, name, outcome, truth)
    except UserError as error:
        problem(
            error, _("Nothing was scored. Correct the list and upload it again."), title=_("This list can't be scored")
        )
        return
    st.caption(
        _("{file}: each row under its own conditions.").format(file=escape(name))
        if record["own"]
        else _("{file}: under the conditions chosen above.").format(file=escape(name))
    )
    if len(frame):
        st.dataframe(
            frame, hide_index=True, key="scored", height=min(38 + 35 * len(frame), 420), column_config=entry_columns()
        )
        _download(frame, "scored")
    if record["unused"]:
        st.caption(_("Columns that were not used: {columns}").format(columns=escape(", ".join(record["unused"]))))
    _errors(record, name)


def _errors(record: Mapping[str, Any], name: str) -> None:
    """Draw which rows were left out, each with its column, its rule and what is wrong."""
    errors = record["errors"]
    if not errors:
        return
    lang, rows = place.language(), {row for row, *_rest in errors}
    words = _("{file}: {count} rows were not scored, for {problems} reasons; nothing in them was changed.")
    st.warning(
        words.format(file=escape(name), count=count(len(rows), lang), problems=count(len(errors), lang)),
        icon=":material/rule:",
    )
    frame = pd.DataFrame(
        [(row, column, rule or "–", sentence(problem)) for row, column, rule, problem in errors],
        columns=[_("Row"), _("Column"), _("Rule"), _("What is wrong")],
    )
    config = {_("Row"): st.column_config.Column(width=70), _("What is wrong"): st.column_config.Column(width=560)}
    st.dataframe(frame, hide_index=True, key="list_errors", height=min(38 + 35 * len(frame), 320), column_config=config)
    _download(frame, "list_errors")


def _download(frame: pd.DataFrame, key: str) -> None:
    st.download_button(
        _("Download as CSV"),
        csv_bytes(frame),
        file_name=f"jebm_{key}.csv",
        mime="text/csv",
        icon=":material/download:",
        key=f"{key}_download",
        on_click="ignore",
    )


def _frame(
    result: Result, record: dict, content: bytes, name: str, outcome: Outcome | None, truth: Truth | None
) -> pd.DataFrame:
    entries, words = record["entries"], result.words
    found = None
    if not entries:
        return pd.DataFrame()
    if truth is not None and has_outcome(truth, outcome):
        cells = [words.cells(entry["y"]) for entry in entries]
        if record["own"]:
            rows = read_table(name, content=content).frame.iloc[record["positions"]]
            each = [true_values(truth, rows.iloc[[i]], [cell], outcome) for i, cell in enumerate(cells)]
            found = type(each[0])(tuple(one.probability[0] for one in each), tuple(one.allowed[0] for one in each))
        else:
            examples = conditions(result)
            found = true_values(truth, examples.table.part(examples.keep).frame, cells, outcome)
    frame = entry_table(entries, words, outcome, found)
    return frame.rename(columns={_("Rank"): _("Row")})
