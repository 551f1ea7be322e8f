"""Scores that are sums of effects: context term × event × nats.

score(x, y) = Σ_e nats_e · term_e(x) · event_e(y), the form of all three sample truths. A term is ``always`` (1), the
name of a number (its standardised value z), the name with ``^2`` (z² − 1) or ``column=option`` (0 or 1). An event is
``always`` (1), an atom, or atoms joined by ``&`` (their product); the kind of project says what an atom is:

=============== ======================= ==========================================================
configurations  ``c_slot=option``       1 where the slot has the option
subsets         ``y_item``              1 where the item is in the set
rankings        ``r_item``              (k − 1)/2 − position: grows by one for each place climbed
rankings        ``r_item=place``        1 where the item has this place, 1 = most preferred
=============== ======================= ==========================================================
"""

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from jebm_core.errors import TableError
from sample_data.design import ALWAYS, Kind

Codes = Int64[np.ndarray, "row item"]


def _column(frame: pd.DataFrame, name: str) -> pd.Series:
    if name not in frame.columns:
        raise TableError(
            "Expected a column {column!r}, found {found}. Add the column or pass the sample's own table.",
            column=name,
            found=", ".join(map(str, frame.columns)) or "no columns",
        )
    return pd.Series(frame[name])


def codes_of(frame: pd.DataFrame, name: str, options: Sequence[str]) -> Int64[np.ndarray, "row"]:
    """Index of each cell of a categorical column among its options; a cell that is none of them is an error."""
    codes = pd.Index(options).get_indexer(pd.Index(_column(frame, name).astype(object)))
    wrong = np.flatnonzero(codes < 0)
    if len(wrong):
        raise TableError(
            "Row {row}, column {column!r}: expected one of {options}, found {found!r}. Correct the cell.",
            row=int(wrong[0]) + 2,
            column=name,
            options=", ".join(options),
            found=frame[name].iloc[int(wrong[0])],
        )
    return codes.astype(np.int64)


def numbers_of(frame: pd.DataFrame, name: str) -> Float64[np.ndarray, "row"]:
    """A numeric column as float64; a cell that isn't a finite number is an error."""
    values = pd.Series(pd.to_numeric(_column(frame, name), errors="coerce")).to_numpy(np.float64, na_value=np.nan)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise TableError(
            "Row {row}, column {column!r}: expected a finite number, found {found!r}. Correct the cell.",
            row=int(wrong[0]) + 2,
            column=name,
            found=frame[name].iloc[int(wrong[0])],
        )
    return values


@final
class Score:
    """score(x, y) = θ(x)·φ(y) with θ(x) = terms(x)·W, read from a list of effects.

    Args:
        kind: which atoms an event may have.
        contexts: the context columns as ``truth.json`` has them.
        outputs: output column → its options (empty for subsets and rankings), in the order of the items.
        effects: records with ``when``, ``event`` and ``nats``.
    """

    def __init__(
        self,
        kind: Kind,
        contexts: Sequence[Mapping[str, Any]],
        outputs: Mapping[str, Sequence[str]],
        effects: Sequence[Mapping[str, Any]],
    ) -> None:
        self._kind = kind
        self._contexts = {context["name"]: context for context in contexts}
        self._outputs = {name: (i, list(options)) for i, (name, options) in enumerate(outputs.items())}
        self.terms = tuple(dict.fromkeys(effect["when"] for effect in effects))
        self.events = tuple(dict.fromkeys(effect["event"] for effect in effects))
        term_of = {term: i for i, term in enumerate(self.terms)}
        event_of = {event: i for i, event in enumerate(self.events)}
        self._weights = np.zeros((len(self.terms), len(self.events)))
        for effect in effects:
            self._weights[term_of[effect["when"]], event_of[effect["event"]]] += effect["nats"]

    def _term(self, frame: pd.DataFrame, term: str) -> Float64[np.ndarray, "row"]:
        if term == ALWAYS:
            return np.ones(len(frame))
        name, equals, option = term.partition("=")
        if equals:
            options = self._contexts[name]["options"]
            return (codes_of(frame, name, options) == options.index(option)).astype(np.float64)
        name, square, _ = term.partition("^2")
        context = self._contexts[name]
        values = numbers_of(frame, name)
        z = ((np.log(values) if context["log"] else values) - context["centre"]) / context["scale"]
        return z**2 - 1.0 if square else z

    def _atom(self, outputs: Codes, atom: str) -> Float64[np.ndarray, "row"]:
        name, equals, value = atom.partition("=")
        item, options = self._outputs[name]
        codes = outputs[:, item]
        if self._kind == "configurations":
            return (codes == options.index(value)).astype(np.float64)
        if self._kind == "subsets":
            return codes.astype(np.float64)
        if equals:
            return (codes == int(value) - 1).astype(np.float64)
        return (len(self._outputs) - 1) / 2 - codes.astype(np.float64)

    def statistics(self, outputs: Codes) -> Float64[np.ndarray, "row event"]:
        """φ(y): the value of every event, for each row of outputs."""
        columns = []
        for event in self.events:
            atoms = [] if event == ALWAYS else event.split(" & ")
            value = np.ones(len(outputs))
            for atom in atoms:
                value = value * self._atom(outputs, atom)
            columns.append(value)
        return np.stack(columns, axis=1)

    def parameters(self, frame: pd.DataFrame) -> Float64[np.ndarray, "row event"]:
        """θ(x): the nats of every event under each row's context."""
        terms = np.stack([self._term(frame, term) for term in self.terms], axis=1)
        return terms @ self._weights

    def paired(self, frame: pd.DataFrame, outputs: Codes) -> Float64[np.ndarray, "row"]:
        """score(x, y) in nats of row i of the contexts with row i of the outputs."""
        return np.einsum("re,re->r", self.parameters(frame), self.statistics(outputs))
