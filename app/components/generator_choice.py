"""Which generator a training draws from: the choice among the saved versions, and what it means for the open data."""

from dataclasses import dataclass, replace
from typing import Final

import streamlit as st

from app.components import place
from app.components.generator_service import Analysis, analyse, fits_training, scene_of
from app.components.language import _
from app.components.plain import escape
from app.components.storage import store
from app.text.numbers import count, share_of
from jebm_core.errors import UserError
from jebm_core.runs.records import GeneratorVersion, RunSpec
from jebm_core.tables import Examples, Roles, Table

NONE: Final = ""
EARLIER: Final = "earlier"
"""The rules of a run that is done again, whose generator version was deleted since."""


@dataclass(frozen=True)
class Chosen:
    """The generator that a run starts with, and how many combinations it leaves."""

    id: str
    title: str
    rules: str
    reference: str
    source: str
    valid: int


def choose_generator(table: Table, roles: Roles, examples: Examples) -> Chosen | None:
    """Draw the choice; return what was chosen, or nothing for a training without rules.

    Raises:
        UserError: the rules don't fit the data, or leave no row to train on.
    """
    versions = {version.id: version for version in store().generators.versions()}
    earlier = _earlier(versions)
    linked = place.get("generator")
    if linked is not None and linked not in versions:
        place.put(generator=None)
        linked = None
    if not versions and earlier is None:
        st.page_link(
            "views/generator.py",
            label=_("Every combination counts as possible. Say which are not"),
            icon=":material/rule:",
        )
        return None
    names = {NONE: _("No rules: every combination counts as possible")}
    if earlier is not None:
        names[EARLIER] = _("The rules of the run before (its generator was deleted)")
    names |= {version.id: version.title for version in versions.values()}
    usual = linked or (EARLIER if earlier is not None else NONE)
    chosen = st.selectbox(
        _("Candidate generator"),
        list(names),
        index=list(names).index(usual),
        format_func=names.__getitem__,
        key=f"generator_choice_{usual}_{place.language()}",
        width=520,
    )
    if chosen != usual:
        place.put(generator=chosen if chosen in versions else None)
        if chosen == NONE and earlier is not None:
            st.session_state["start_from"] = replace(earlier, rules="", generator="", source="")
        st.rerun()
    spec = earlier if chosen == EARLIER else None
    version = versions.get(chosen or NONE)
    if version is None and spec is None:
        return None
    rules = version.rules if version else spec.rules if spec else ""
    reading = analyse(rules, scene_of(table, roles, examples))
    if isinstance(reading, UserError):
        raise reading
    unusable = fits_training(reading)
    if unusable is not None:
        raise unusable
    _effect(reading)
    if version is not None:
        return Chosen(version.id, version.title, rules, version.reference, version.source, reading.valid)
    assert spec is not None
    reference = str(spec.settings.get("reference", "auto"))
    return Chosen(spec.generator, names[EARLIER], rules, reference, spec.source, reading.valid)


def _earlier(versions: dict[str, GeneratorVersion]) -> RunSpec | None:
    """Return the description of the run to be done again, if it had rules whose version is gone."""
    spec: RunSpec | None = st.session_state.get("start_from")
    return spec if spec is not None and spec.rules and spec.generator not in versions else None


def _effect(analysis: Analysis) -> None:
    """Draw what the rules leave, and how many rows they cost."""
    lang = place.language()
    words = _("It leaves {valid} valid combinations ({share} of all).").format(
        valid=analysis.valid_words, share=share_of(analysis.valid, analysis.everything, lang)
    )
    if analysis.check is not None and analysis.check.broken:
        words += " " if lang == "en" else ""
        words += _("Rows that break its rules and are left out: {broken} of {rows}.").format(
            broken=count(len(analysis.check.broken), lang), rows=count(analysis.check.rows, lang)
        )
    st.caption(escape(words))
