"""Which runs are listed and what is said of each; both are part of the URL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import streamlit as st

from app.components import place
from app.components.generator_names import generator_title
from app.components.language import _
from app.components.run_list import run_title, state_word
from app.text import marked
from jebm_core.runs.records import RunView, State

COLUMNS: Final[Mapping[str, str]] = {
    "data": marked("Data"),
    "generator": marked("Generator"),
    "best": marked("Best −log p"),
    "last": marked("Last −log p"),
    "duration": marked("Duration"),
    "started": marked("Started"),
    "seed": marked("Seed"),
    "name": marked("Name in the link"),
}
USUAL: Final = ("data", "generator", "best", "last", "duration", "started")
_NOTHING: Final = "-"


@dataclass(frozen=True)
class Wanted:
    """What was asked for: words to find, states, one data set, and the facts of each run."""

    find: str
    states: tuple[str, ...]
    data: str
    columns: tuple[str, ...]

    def keeps(self, run: RunView) -> bool:
        """Return whether a run is to be listed."""
        if self.states and run.state.value not in self.states:
            return False
        if self.data and run.spec.dataset != self.data:
            return False
        known = (run_title(run), run.spec.dataset_name, generator_title(run.spec), run.id)
        return all(any(word in text.casefold() for text in known) for word in self.find.casefold().split())

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return not (self.find or self.states or self.data)


def filters(runs: Sequence[RunView]) -> Wanted:
    """Draw the filters and return what they say now."""
    datasets = {run.spec.dataset: run.spec.dataset_name for run in runs}
    names = {"": _("All data"), **{sha256: _told_apart(sha256, name, datasets) for sha256, name in datasets.items()}}
    states = {state.value: state_word(state) for state in State}
    columns = {name: _(word) for name, word in COLUMNS.items()}
    _settle(datasets)
    with st.container(border=True, key="run_filters"):
        search, state, data, facts = st.columns([2.2, 2, 1.8, 2.4], gap="small", vertical_alignment="bottom")
        with search:
            st.text_input(
                _("Find"),
                key="run_find",
                icon=":material/search:",
                placeholder=_("Name, data, generator"),
                on_change=_remember,
            )
        with state:
            st.multiselect(
                _("State"),
                list(states),
                format_func=states.__getitem__,
                key="run_states",
                placeholder=_("All states"),
                on_change=_remember,
            )
        with data:
            st.selectbox(_("Data"), list(names), format_func=names.__getitem__, key="run_data", on_change=_remember)
        with facts:
            st.multiselect(
                _("Show of each run"),
                list(columns),
                format_func=columns.__getitem__,
                key="run_columns",
                placeholder=_("Only its name"),
                on_change=_remember,
            )
    return Wanted(
        st.session_state["run_find"].strip(),
        tuple(st.session_state["run_states"]),
        st.session_state["run_data"],
        tuple(st.session_state["run_columns"]),
    )


def _settle(datasets: Mapping[str, str]) -> None:
    """Bring the widgets to what the URL says; an unknown value in it counts for nothing."""
    states, columns = _listed("states", [state.value for state in State], ()), _listed("columns", list(COLUMNS), USUAL)
    st.session_state["run_find"] = place.get("find") or ""
    st.session_state["run_states"] = states
    st.session_state["run_data"] = data if (data := place.get("data")) in datasets else ""
    st.session_state["run_columns"] = columns


def _listed(key: str, known: Sequence[str], usual: Sequence[str]) -> list[str]:
    found = place.get(key)
    if found is None:
        return list(usual)
    return [part for part in found.split(",") if part in known]


def _remember() -> None:
    columns = tuple(st.session_state["run_columns"])
    place.put(
        find=st.session_state["run_find"].strip() or None,
        states=",".join(st.session_state["run_states"]) or None,
        data=st.session_state["run_data"] or None,
        columns=None if columns == USUAL else ",".join(columns) or _NOTHING,
    )


def _told_apart(sha256: str, name: str, datasets: Mapping[str, str]) -> str:
    """The name of a file, with the beginning of its contents' number where another file has the same name."""
    alike = [other for other in datasets.values() if other == name]
    return name if len(alike) == 1 else f"{name} ({sha256[:6]})"
