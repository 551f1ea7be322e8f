"""The true distributions of the sample projects, exact by listing every output.

p(y|x) = exp(score(x, y) − log_partition(x)), log_partition(x) = log Σ_y exp(score(x, y)) over all (valid) outputs, in
nats. For ``assembly`` this holds for the seven slots; the result follows them: p(pass | configuration, x) =
σ(log-odds), so that the joint probability of eight slots is the product, and the log-partition of the joint score
(score + log p(result)) is the same number.
"""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import permutations
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64

from jebm_core.errors import SpecError, TableError
from sample_data.design import Kind
from sample_data.loglinear import Score, codes_of, numbers_of

Outputs = Int64[np.ndarray, "row item"] | pd.DataFrame
_CELLS = 2_000_000  # float64 cells of one block of scores: 16 MB, whatever the number of rows


@lru_cache(maxsize=3)
def load_truth(name: Literal["assembly", "maintenance", "suppliers"]) -> "Truth":
    """The truth of one sample project, from ``truth.json``.

    >>> truth = load_truth("suppliers")
    >>> len(truth.listing)
    720
    """
    specs = json.loads((Path(__file__).parent / "truth.json").read_text(encoding="utf-8"))
    if name not in specs:
        raise SpecError(
            "Expected one of {known}, found {name!r}. Choose one of them.", known=", ".join(specs), name=name
        )
    return Truth(specs[name])


@final
class Truth:
    """Exact probabilities of one sample project.

    Outputs come as a DataFrame with the columns and cells of the sample file, or as int64 codes [row, item]: subsets
    0 or 1; configurations the index of the option as ``truth.json`` lists it; rankings the position, 0 = most preferred
    (the file has 1). For ``assembly`` the last item is the result, 0 = fail and 1 = pass.

    Attributes:
        kind: ``configurations``, ``subsets`` or ``rankings``.
        columns: the output columns of the file, in the order of the items.
        listing: int64 [outcome, item], every possible output; for ``assembly`` every valid configuration (no result).
        rules: the records of the rules, empty where there are none.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.kind: Kind = spec["kind"]
        self._options: dict[str, list[str]] = {name: list(options) for name, options in spec["outputs"].items()}
        self.columns = tuple(self._options)
        self.rules: tuple[dict[str, Any], ...] = tuple(spec.get("rules", ()))
        self._has_result = "success" in spec
        self.slots = self.columns[:-1] if self._has_result else self.columns
        listed = {name: self._options[name] for name in self.slots}
        self._score = Score(self.kind, spec["contexts"], listed, spec["effects"])
        self._success = Score(self.kind, spec["contexts"], listed, spec["success"]) if self._has_result else None
        self.listing = self._list()
        self._statistics = self._score.statistics(self.listing)
        self._success_statistics = None if self._success is None else self._success.statistics(self.listing)

    def _list(self) -> Int64[np.ndarray, "outcome item"]:
        if self.kind == "rankings":
            return np.array(list(permutations(range(len(self.columns)))), dtype=np.int64)
        sizes = [len(self._options[name]) or 2 for name in self.slots]
        everything = np.indices(sizes).reshape(len(sizes), -1).T.astype(np.int64)
        return everything[~self._breaches(everything).any(axis=1)]

    def _breaches(self, slots: Int64[np.ndarray, "row slot"]) -> Bool[np.ndarray, "row rule"]:
        broken = np.zeros((len(slots), len(self.rules)), dtype=bool)
        for i, rule in enumerate(self.rules):
            applies = np.ones(len(slots), dtype=bool)
            for name, options in rule["when"].items():
                applies &= self._has(slots, name, options)
            for name, options in rule["then"].items():
                broken[:, i] |= applies & (self._has(slots, name, options) == (rule["kind"] == "excludes"))
        return broken

    def _has(self, slots: Int64[np.ndarray, "row slot"], name: str, options: list[str]) -> Bool[np.ndarray, "row"]:
        codes = [self._options[name].index(option) for option in options]
        return np.isin(slots[:, self.columns.index(name)], codes)

    def encode(self, outputs: Outputs, columns: tuple[str, ...] | None = None) -> Int64[np.ndarray, "row item"]:
        """Codes of the outputs, checked: every cell must be an option, a 0 or 1, or a place that no other item has.

        Raises:
            TableError: a column is missing or a cell isn't one of the possible ones.
        """
        columns = self.columns if columns is None else columns
        if isinstance(outputs, pd.DataFrame):
            if self.kind == "configurations":
                return np.stack([codes_of(outputs, name, self._options[name]) for name in columns], axis=1)
            start = 1.0 if self.kind == "rankings" else 0.0
            codes = np.stack([numbers_of(outputs, name) - start for name in columns], axis=1)
        else:
            codes = np.asarray(outputs)
        if codes.ndim != 2 or codes.shape[1] != len(columns):
            raise TableError(
                "Expected codes of shape (rows, {items}) for {columns}, found shape {shape}. "
                "Pass one column for each item.",
                items=len(columns),
                columns=", ".join(columns),
                shape=codes.shape,
            )
        if self.kind == "rankings":
            fits = (np.sort(codes, axis=1) == np.arange(len(columns))).all(axis=1)
        else:
            sizes = np.array([len(self._options[name]) or 2 for name in columns])
            fits = ((codes >= 0) & (codes < sizes) & (codes == np.floor(codes))).all(axis=1)
        if not fits.all():
            raise TableError(
                "Output row {row}: expected {expected}, found {found}. Correct the row.",
                row=int(np.argmin(fits)) + 1,
                expected="each place once" if self.kind == "rankings" else "codes of the listed options",
                found=codes[int(np.argmin(fits))].tolist(),
            )
        return codes.astype(np.int64)

    def decode(self, codes: Int64[np.ndarray, "row item"]) -> pd.DataFrame:
        """The inverse of ``encode``: a table with the columns of the file (no result where the codes have none)."""
        columns = self.columns[: codes.shape[1]]
        if self.kind == "configurations":
            cells = {name: np.array(self._options[name], dtype=object)[codes[:, i]] for i, name in enumerate(columns)}
            return pd.DataFrame(cells)
        return pd.DataFrame(codes + (1 if self.kind == "rankings" else 0), columns=list(columns))

    def _blocks(
        self, parameters: Float64[np.ndarray, "row event"]
    ) -> Iterator[tuple[slice, Float64[np.ndarray, "block outcome"]]]:
        """Scores of every outcome, a bounded number of rows at a time."""
        step = max(1, _CELLS // len(self.listing))
        for start in range(0, len(parameters), step):
            rows = slice(start, start + step)
            yield rows, parameters[rows] @ self._statistics.T

    def log_partition(self, frame_x: pd.DataFrame) -> Float64[np.ndarray, "row"]:
        """log Σ_y exp(score(x, y)) in nats, counting measure.

        Cost: distinct contexts × outcomes × events; memory is bounded whatever the number of rows.
        """
        distinct, where = np.unique(self._score.parameters(frame_x), axis=0, return_inverse=True)
        result = np.empty(len(distinct))
        for rows, scores in self._blocks(distinct):
            top = scores.max(axis=1)
            result[rows] = top + np.log(np.exp(scores - top[:, None]).sum(axis=1))
        return result[where]

    def probabilities(self, frame_x: pd.DataFrame) -> Float64[np.ndarray, "row outcome"]:
        """p(y|x) of every outcome of ``listing``; the caller answers for the memory (8 bytes × rows × outcomes)."""
        result = np.empty((len(frame_x), len(self.listing)))
        for rows, scores in self._blocks(self._score.parameters(frame_x)):
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            result[rows] = weights / weights.sum(axis=1, keepdims=True)
        return result

    def log_prob(self, frame_x: pd.DataFrame, outputs: Outputs) -> Float64[np.ndarray, "row"]:
        """log p(y|x) in nats of each row's output, −inf where a configuration breaks a rule.

        >>> truth = load_truth("maintenance")
        >>> visit = {"x_machine_type": "pump", "x_age_years": 9, "x_operating_hours": 2000, "x_season": "summer"}
        >>> x = pd.DataFrame([visit]).loc[[0] * 16384]
        >>> bool(abs(np.exp(truth.log_prob(x, truth.listing)).sum() - 1) < 1e-12)
        True
        """
        codes = self.encode(outputs)
        self._same_rows(frame_x, codes)
        slots = codes[:, : len(self.slots)]
        result = self._score.paired(frame_x, slots) - self.log_partition(frame_x)
        result[self._breaches(slots).any(axis=1)] = -np.inf
        if self._success is not None:
            sign = np.where(codes[:, -1] == 1, 1.0, -1.0)
            result = result - np.logaddexp(0.0, -sign * self._success.paired(frame_x, slots))
        return result

    def success_probability(self, frame_x: pd.DataFrame, configuration: Outputs) -> Float64[np.ndarray, "row"]:
        """p(pass | configuration, x) of each row; a single row of contexts serves every configuration.

        The rules aren't asked: the number is meant for configurations that ``valid`` accepts.
        """
        if self._success is None:
            raise SpecError("Expected a project with a result, found {kind}. Only assembly has one.", kind=self.kind)
        codes = self._slots(configuration)
        if len(frame_x) == 1:
            frame_x = frame_x.iloc[np.zeros(len(codes), dtype=np.int64)]
        self._same_rows(frame_x, codes)
        return np.exp(-np.logaddexp(0.0, -self._success.paired(frame_x, codes)))

    def success_probabilities(self, frame_x: pd.DataFrame) -> Float64[np.ndarray, "row outcome"]:
        """p(pass | configuration, x) of every valid configuration of ``listing``; 8 bytes × rows × outcomes."""
        if self._success is None or self._success_statistics is None:
            raise SpecError("Expected a project with a result, found {kind}. Only assembly has one.", kind=self.kind)
        return np.exp(-np.logaddexp(0.0, -self._success.parameters(frame_x) @ self._success_statistics.T))

    def valid(self, configuration: Outputs) -> Bool[np.ndarray, "row"]:
        """Whether each configuration obeys every rule; the result may be among the columns or not."""
        return np.logical_not(self.broken_rules(configuration).any(axis=1))

    def broken_rules(self, configuration: Outputs) -> Bool[np.ndarray, "row rule"]:
        """Which of ``rules`` each configuration breaks."""
        if not self.rules:
            raise SpecError("Expected a project with rules, found {kind}. Only assembly has rules.", kind=self.kind)
        return self._breaches(self._slots(configuration))

    def sample(self, frame_x: pd.DataFrame, rng: np.random.Generator) -> Int64[np.ndarray, "row item"]:
        """One exact draw of y ∼ p(·|x) for each row, for ``assembly`` with the result."""
        draws = rng.random((len(frame_x), 2))
        distinct, where = np.unique(self._score.parameters(frame_x), axis=0, return_inverse=True)
        picked = np.empty(len(frame_x), dtype=np.int64)
        for rows, scores in self._blocks(distinct):
            cumulative = np.exp(scores - scores.max(axis=1, keepdims=True)).cumsum(axis=1)
            for context, heights in zip(range(len(distinct))[rows], cumulative, strict=True):
                members = where == context
                picked[members] = np.searchsorted(heights, draws[members, 0] * heights[-1], side="right")
        codes = self.listing[np.minimum(picked, len(self.listing) - 1)]
        if self._success is None:
            return codes
        passed = draws[:, 1] < self.success_probability(frame_x, codes)
        return np.concatenate([codes, passed[:, None].astype(np.int64)], axis=1)

    def _slots(self, configuration: Outputs) -> Int64[np.ndarray, "row slot"]:
        if not isinstance(configuration, pd.DataFrame) and configuration.shape[-1] == len(self.columns):
            return self.encode(configuration)[:, : len(self.slots)]
        return self.encode(configuration, self.slots)

    @staticmethod
    def _same_rows(frame_x: pd.DataFrame, codes: Int64[np.ndarray, "row item"]) -> None:
        if len(frame_x) != len(codes):
            raise TableError(
                "Expected as many rows of outputs as of contexts, found {outputs} and {contexts}. "
                "Pass them row by row.",
                outputs=len(codes),
                contexts=len(frame_x),
            )
