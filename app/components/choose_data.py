"""Bring a data set: upload a file, or open one of the sample projects."""

import streamlit as st

from app.components import place
from app.components.language import _
from app.components.plain import escape
from app.components.problem import problem
from app.components.storage import keep_upload, open_dataset, store
from app.samples import Sample, samples
from jebm_core.errors import UserError


def upload_panel() -> None:
    """Draw the uploader; a file that can be read is kept at once and opened, and the uploader is not read again."""
    st.subheader(_("Upload a table"), anchor=False)
    st.markdown(
        _(
            "CSV, TSV, Excel, Parquet or ARFF, up to 1 GB. One row per case; column names in the first row. "
            "Japanese files in UTF-8 or Shift_JIS are read as they are."
        )
    )
    turn = st.session_state.setdefault("upload_turn", 0)
    file = st.file_uploader(_("Table file"), key=f"upload_{turn}", label_visibility="collapsed")
    if file is not None:
        try:
            with st.spinner(_("Reading {file} …").format(file=escape(file.name))):
                keep_upload(file.getvalue(), file.name)
        except UserError as error:
            problem(error, _("Nothing was kept. Choose another file above, or mend this one and upload it again."))
        else:
            st.session_state["upload_turn"] = turn + 1
            st.rerun()
    with st.expander(_("How columns are recognised"), icon=":material/help:", key="column_help"):
        st.markdown(
            _(
                "- Columns that begin with `x_` are features: what is known before the outcome.\n"
                "- Columns that begin with `y_` are labels, 0 or 1; any number of them may be 1 in a row.\n"
                "- Columns that begin with `c_` are slots; each row chooses one option in each.\n"
                "- Columns that begin with `r_` are ranks; 1 is the most preferred.\n"
                "- Other names are fine too: you choose their roles after the upload."
            )
        )


def sample_panel() -> None:
    """Draw the sample projects, each with a button that opens it."""
    st.subheader(_("Sample projects"), anchor=False)
    for sample in samples(place.language()):
        with st.container(border=True, gap="small"):
            st.markdown(f"**{escape(sample.title)}**")
            st.caption(escape(sample.question))
            if st.button(_("Open this sample"), key=f"sample_{sample.name}", icon=":material/folder_open:"):
                open_sample(sample)
                st.rerun()


def open_sample(sample: Sample) -> None:
    """Keep a sample file like an upload and open it."""
    open_dataset(store().add_dataset(sample.content(), sample.file).sha256)
