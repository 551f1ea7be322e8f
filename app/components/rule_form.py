"""Add a rule without knowing the language: choose what it says and pick the parts; the line is shown first."""

from typing import Final

import pandas as pd
import streamlit as st

from app import rule_lines
from app.components import place
from app.components.drafts import Draft
from app.components.generator_service import Scene
from app.components.language import _
from app.components.result import words_of
from app.rule_lines import Part
from app.text import marked
from app.words import OutputWords
from jebm_core.rules.notation.names import written
from jebm_core.tables import OutputSchema

_KINDS: Final = {
    "requires": marked("One part needs others"),
    "excludes": marked("One part never goes with others"),
    "at most": marked("At most so many of these"),
    "at least": marked("At least so many of these"),
    "exactly": marked("Exactly so many of these"),
    "never": marked("Never these"),
    "where": marked("A rule under a condition of the case"),
    "size": marked("So many items in all"),
    "above": marked("One above another"),
    "top": marked("Among the first"),
    "next": marked("Next to one another"),
}
_OF: Final = {
    "configurations": ("requires", "excludes", "at most", "at least", "exactly", "never", "where"),
    "subsets": ("requires", "excludes", "at most", "at least", "exactly", "size", "never", "where"),
    "rankings": ("above", "top", "next"),
}
_COMPARISONS: Final = ("==", "!=", ">=", "<=", ">", "<")


def rule_form(draft: Draft, scene: Scene, schema: OutputSchema) -> None:
    """Draw the form; what it makes is appended to the draft."""
    with st.expander(_("Add a rule by choosing its parts"), icon=":material/add_circle:", key="rule_form"):
        kinds = {code: _(_KINDS[code]) for code in _OF[schema.kind] if code != "where" or _features(scene)}
        # A callback empties the choice after a line was added; another key is another, empty set of fields.
        turn = st.session_state.setdefault("rule_form_turn", 0)
        kind = st.selectbox(_("What the rule says"), list(kinds), format_func=kinds.__getitem__, key="rule_kind")
        line = _Fields(scene, schema, words_of(scene.name, schema), turn).line(kind or next(iter(kinds)))
        if line is None:
            st.caption(_("The line appears here when every part is chosen."))
            return
        st.code(line, language=None, wrap_lines=True)
        if st.button(_("Add this line"), key="rule_add", icon=":material/add:"):
            draft.append(line)
            st.session_state["rule_form_turn"] = turn + 1
            st.rerun()


class _Fields:
    """The fields of one kind of rule, and the line that they make."""

    def __init__(self, scene: Scene, schema: OutputSchema, words: OutputWords, turn: int) -> None:
        self.scene, self.schema, self.turn = scene, schema, turn
        self.parts = rule_lines.parts_of(schema)
        slots = schema.kind == "configurations"
        self.names: dict[Part, str] = {part: words.pair(*part) if slots else words.item(part[0]) for part in self.parts}

    def line(self, kind: str) -> str | None:
        match kind:
            case "requires" | "excludes":
                first = self.one(_("This part"), "first")
                others = self.several(_("needs") if kind == "requires" else _("never goes with"), "others")
                if first is None or not others:
                    return None
                made = rule_lines.requires if kind == "requires" else rule_lines.excludes
                return made(first, [part for part in others if part != first] or others)
            case "at most" | "at least" | "exactly":
                parts = self.several(_("Of these"), "group")
                number = int(st.number_input(_("How many"), 0, max(len(self.parts), 1), 1, key=self.key("number")))
                return rule_lines.bounded(kind, number, parts) if parts else None
            case "never":
                parts = self.several(_("Never these"), "never")
                return "\n".join(rule_lines.never(parts)) if parts else None
            case "where":
                return self.conditional()
            case "size":
                most = len(self.parts)
                low, high = st.slider(_("So many items in all"), 0, most, (1, most), key=self.key("size"))
                return f"size between {low} and {high}"
            case _:
                return self.ranking(kind)

    def ranking(self, kind: str) -> str | None:
        first = self.one(_("This item"), "first")
        if kind == "top":
            number = int(st.number_input(_("Among the first"), 1, len(self.parts), 1, key=self.key("number")))
            return None if first is None else f"{written(first[0])} in top {number}"
        second = self.one(_("stands above") if kind == "above" else _("is next to"), "second")
        if first is None or second is None or first == second:
            return None
        return f"{written(first[0])} {'above' if kind == 'above' else 'next to'} {written(second[0])}"

    def conditional(self) -> str | None:
        features, labels = _features(self.scene), self.scene.labels
        names = {name: labels.column(name) for name in features}
        left, middle, right = st.columns([2, 1, 2])
        with left:
            feature = st.selectbox(_("Where"), features, format_func=names.__getitem__, key=self.key("feature"))
        column = _column(self.scene, feature or features[0])
        numeric = pd.api.types.is_numeric_dtype(column)
        with middle:
            signs = _COMPARISONS if numeric else _COMPARISONS[:2]
            comparison = st.selectbox(_("is"), signs, key=self.key(f"comparison_{numeric}")) or "=="
        with right:
            label = _("Value")
            value: float | str
            if numeric:
                value = float(st.number_input(label, value=float(column.median()), key=self.key(f"value_{feature}")))
            else:
                levels = sorted(map(str, column.unique()))[:200]
                shown = {level: labels.option(feature or "", level) for level in levels}
                chosen = st.selectbox(label, levels, format_func=shown.__getitem__, key=self.key(f"level_{feature}"))
                value = chosen or levels[0]
        part = self.one(_("this part is"), "where_part")
        never = st.toggle(_("never chosen, instead of always"), key=self.key("where_never"), value=True)
        if part is None:
            return None
        line = rule_lines.never([part])[0] if never else rule_lines.spelled(part)
        return rule_lines.where(feature or features[0], comparison, value, line)

    def one(self, label: str, key: str) -> Part | None:
        return st.selectbox(
            label,
            self.parts,
            index=None,
            format_func=self.names.__getitem__,
            placeholder=_("Choose"),
            key=self.key(key),
        )

    def several(self, label: str, key: str) -> list[Part]:
        return st.multiselect(
            label, self.parts, format_func=self.names.__getitem__, placeholder=_("Choose"), key=self.key(key)
        )

    def key(self, name: str) -> str:
        return f"rule_{name}_{self.turn}_{place.language()}"


def cheat_sheet(scene: Scene, schema: OutputSchema) -> None:
    """Draw what can be written, with names of the table."""
    with st.expander(_("What can be written"), icon=":material/help:", key="cheat_sheet"):
        lines = []
        for example in rule_lines.examples_for(schema, scene.examples):
            lines += [f"# {_(example.says)}", example.line, ""]
        st.code("\n".join(lines).rstrip(), language=None, wrap_lines=True)
        st.caption(
            _(
                "Names with spaces or signs stand in quotes. A line goes on after a comma and inside brackets. "
                "Parts are joined by and, or, not."
            )
        )


def _features(scene: Scene) -> list[str]:
    if scene.examples is None:
        return []
    return [name for name in scene.examples.roles.features if not _column(scene, name).empty]


def _column(scene: Scene, name: str) -> pd.Series:
    assert scene.examples is not None
    return pd.Series(scene.examples.table.frame[name]).dropna()
