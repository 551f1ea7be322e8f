"""The roles of the columns: guessed from their names, confirmed by a person, kept in the URL where they differ."""

import base64
import binascii
import json
from typing import Final, cast

import pandas as pd
import streamlit as st

from app.components import place
from app.components.language import _
from app.samples import Labels
from app.text import marked
from jebm_core.errors import TableError
from jebm_core.tables import Kind, Roles, Table, guess_roles

KINDS: Final[dict[Kind, str]] = {
    "subsets": marked("Subsets: any number of labels per row"),
    "configurations": marked("Configurations: one option per slot"),
    "rankings": marked("Rankings: an order of items"),
}
_ROLES: Final = {
    "feature": marked("Feature"),
    "output": marked("Output"),
    "ignored": marked("Ignored"),
}


def first_roles(table: Table) -> tuple[Roles, TableError | None]:
    """Return the roles in the URL, else the guess; where no name gives an output away, none, with the reason."""
    try:
        guess, reason = guess_roles(table), None
    except TableError as error:
        features = tuple(name for name in map(str, table.frame.columns) if name.startswith("x_"))
        guess, reason = Roles(features, (), "subsets"), error
    linked = decode_roles(place.get("roles"), table)
    return (linked, None) if linked else (guess, reason)


def edit_roles(table: Table, start: Roles, labels: Labels) -> Roles:
    """Draw the table of roles and return what it says now. What differs from the guess goes into the URL.

    Args:
        table: the table whose columns have roles.
        start: the roles to begin with.
        labels: display names of the columns.
    """
    name = f"{table.sha256}_{place.language()}"
    held = st.session_state.setdefault("roles_start", {})
    # The editor keeps its changes relative to the table it was given, so that table must stay the same while it lives.
    if f"roles_{name}" not in st.session_state:
        held[name] = start
    begin: Roles = held[name]
    # Words are looked up now, in the language of this session, and not when the widget asks for them.
    kinds = {code: _(word) for code, word in KINDS.items()}
    roles_of = {code: _(word) for code, word in _ROLES.items()}
    kind = st.selectbox(
        _("Kind of output"),
        list(KINDS),
        index=list(KINDS).index(begin.kind),
        format_func=kinds.__getitem__,
        key=f"kind_{name}",
        help=_("Guessed from the names of the columns and their cells; change it where the guess is wrong."),
        width=420,
    )
    st.caption(
        _(
            "Features are what is known beforehand; outputs are what is to be predicted together. "
            "Click a role to change it."
        )
    )
    edited = st.data_editor(
        _role_frame(table, begin, labels),
        hide_index=True,
        disabled=("column", "label", "distinct", "example"),
        column_order=["column", *(["label"] if labels.columns else []), "role", "distinct", "example"],
        column_config={
            "column": st.column_config.TextColumn(_("Column")),
            "label": st.column_config.TextColumn(_("Meaning")),
            "role": st.column_config.SelectboxColumn(
                _("Role"), options=list(_ROLES), format_func=lambda code: roles_of[str(code)], required=True
            ),
            "distinct": st.column_config.NumberColumn(_("Different values")),
            "example": st.column_config.TextColumn(_("First values")),
        },
        key=f"roles_{name}",
        height=35 * min(len(table.frame.columns) + 1, 13) + 3,
    )
    chosen = list(zip(edited["column"], edited["role"], strict=True))
    roles = Roles(
        tuple(name for name, role in chosen if role == "feature"),
        tuple(name for name, role in chosen if role == "output"),
        cast(Kind, kind or begin.kind),
    )
    link_roles(table, roles)
    return roles


def link_roles(table: Table, roles: Roles) -> None:
    """Put roles into the URL where they differ from the guess."""
    place.put(roles=None if roles == _guess(table) else encode_roles(roles))


def encode_roles(roles: Roles) -> str:
    """Return roles as a short text for the URL.

    >>> encode_roles(Roles((), ("y_a",), "subsets")).isascii()
    True
    """
    record = json.dumps([roles.kind, roles.features, roles.targets], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(record.encode()).decode().rstrip("=")


def decode_roles(text: str | None, table: Table) -> Roles | None:
    """Return the roles that a URL names, or nothing where it names none that this table has."""
    if not text:
        return None
    try:
        kind, features, targets = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        roles = Roles(tuple(features), tuple(targets), kind)
        known = {*roles.features, *roles.targets} <= set(table.frame.columns)
    except (binascii.Error, ValueError, TypeError):
        return None
    return roles if known and kind in KINDS else None


def _guess(table: Table) -> Roles | None:
    try:
        return guess_roles(table)
    except TableError:
        return None


def _role_frame(table: Table, roles: Roles, labels: Labels) -> pd.DataFrame:
    names = [str(name) for name in table.frame.columns]
    head = table.frame.head(3)
    return pd.DataFrame(
        {
            "column": names,
            "label": [labels.column(name) for name in names],
            "role": [
                "output" if name in roles.targets else "feature" if name in roles.features else "ignored"
                for name in names
            ],
            "distinct": table.frame.nunique().to_numpy(),
            "example": [", ".join(str(cell) for cell in head[name]) for name in names],
        }
    )
