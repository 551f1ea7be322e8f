"""What a page asks of rules and generators: counts, checks, shares, draws, trials. torch comes with the first call.

Answers are shared by all sessions and found again by the text of the rules, the data set and the roles of its columns.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import streamlit as st

from app.components import place
from app.components.language import _
from app.components.result import words_of
from app.components.roles_table import encode_roles, first_roles
from app.components.storage import open_examples, open_table, store
from app.generator_numbers import data_shares, distinct_combinations, space_size
from app.samples import Labels, labels_of
from app.text.numbers import about, whole
from app.words import OutputWords
from jebm_core.errors import UserError
from jebm_core.runs.records import GeneratorVersion
from jebm_core.tables import Examples, Note, OutputSchema, Roles, Table, read_table

if TYPE_CHECKING:
    from jebm_core.evaluation.generators import GeneratorTrial
    from jebm_core.evaluation.rules import RowCheck, RuleEffect, RuleSummary
    from jebm_core.rules.compiled import CompiledRules

LIVE_SECONDS: Final = 3.0
"""What a compilation may take while somebody types; ``PATIENT_SECONDS`` where it was asked for."""
PATIENT_SECONDS: Final = 60.0
EFFECT_SECONDS: Final = 2.0
PILOT_SECONDS: Final = 3.0
PILOT_SEED: Final = 0


@dataclass(frozen=True, eq=False)
class Scene:
    """What the rules speak of: the open data under the roles of their columns, or, without data, their declarations.

    Attributes:
        slot: the data set; empty without data.
        key: the data set with its roles, by which answers are found again.
    """

    slot: str
    key: str
    name: str
    examples: Examples | None

    @property
    def labels(self) -> Labels:
        """Display names of a sample's columns, in the language of this session."""
        return labels_of(self.name, place.language())


NO_DATA: Final = Scene("", "", "", None)


def open_scene() -> Scene | None:
    """Return the open data, or nothing where none is open.

    Raises:
        UserError: the data can't be read, or have no outputs.
    """
    table = open_table()
    if table is None:
        return None
    roles, reason = first_roles(table)
    if not roles.targets:
        raise reason or UserError(_("No column is an output. Choose at least one below."))
    return scene_of(table, roles, open_examples(table.sha256, roles, table))


def scene_of(table: Table, roles: Roles, examples: Examples) -> Scene:
    """Return what rules about a table speak of."""
    return Scene(table.sha256, f"{table.sha256} {encode_roles(roles)}", table.name, examples)


@dataclass(frozen=True, eq=False)
class Analysis:
    """Rules that can be met, and how the data stand to them.

    Attributes:
        check: which rows break which rule; None without data.
        everything, valid: combinations of the outputs without and with the rules; exact, unless the summary says that
            rules are checked on draws.
        distinct, covered: different combinations of the data, and how many of them are valid.
    """

    text: str
    scene: Scene
    compiled: "CompiledRules"
    summary: "RuleSummary"
    check: "RowCheck | None"
    everything: int
    valid: int
    distinct: int
    covered: int

    @property
    def schema(self) -> OutputSchema:
        """The outputs, with options that only the rules name."""
        return self.compiled.problem.schema

    @property
    def words(self) -> OutputWords:
        """Names of the outputs, in the language of this session."""
        return words_of(self.scene.name, self.schema)

    @property
    def rules(self) -> int:
        """How many rules there are."""
        return len(self.compiled.problem.rules.rules)

    @property
    def broken_share(self) -> float:
        """Share of the rows that break a rule; 0 without data."""
        return 0.0 if self.check is None else len(self.check.broken) / max(self.check.rows, 1)

    @property
    def valid_words(self) -> str:
        """How many combinations are valid, as text; an estimate is marked as one."""
        say = whole if self.summary.is_exact else about
        return say(self.valid, place.language())

    @property
    def estimate_note(self) -> tuple[Note, ...]:
        """Why the count is an estimate; empty where it is exact."""
        from jebm_core.rules.data import checked_note

        return checked_note(self.compiled)


Reading = Analysis | UserError


def analyse(text: str, scene: Scene, seconds: float = LIVE_SECONDS) -> Reading:
    """Return what rules amount to, or the error that says why they can't be read or met."""
    return _analysed(text, scene.key, _("Rules"), seconds, scene)


def effects_of(analysis: Analysis) -> "tuple[RuleEffect, ...] | None":
    """Return what each rule does; nothing where there are too many of them, or they are too entangled."""
    return _effects(analysis.text, analysis.scene.key, analysis)


def shares_of(analysis: Analysis) -> dict[str, float]:
    """Return how often each item, option or place occurs among all valid combinations, by its name in the rules."""
    return _shares(analysis.text, analysis.scene.key, analysis)


def shares_in_data(analysis: Analysis) -> list[float] | None:
    """Return the same of the rows, in the same order; nothing without data."""
    examples = analysis.scene.examples
    if examples is None:
        return None
    return data_shares(analysis.schema, examples.outputs.values)


def samples_of(analysis: Analysis, count: int, seed: int) -> list[dict[str, Any]]:
    """Return valid combinations, drawn evenly, by the columns of the table."""
    return _samples(analysis.text, analysis.scene.key, count, seed, analysis)


def trial_of(version: GeneratorVersion | None, scene: Scene) -> "GeneratorTrial | UserError":
    """Return what a pilot fit says of a generator, or of none; takes about six seconds the first time."""
    rules, reference, source = ("", "auto", "") if version is None else (
        version.rules, version.reference, version.source
    )  # fmt: skip
    return _trial(rules, reference, source, scene.key, _("Rules"), scene)


def fits_training(analysis: Analysis) -> UserError | None:
    """Return why no row is left to train on under the rules, or nothing where some are."""
    from jebm_core.rules.data import keep_valid

    if analysis.scene.examples is None:
        return None
    try:
        keep_valid(analysis.compiled, analysis.scene.examples)
    except UserError as error:
        return error
    return None


@st.cache_resource(max_entries=24, show_spinner=False)
def _analysed(text: str, key: str, source: str, seconds: float, _scene: Scene) -> Reading:
    from jebm_core.evaluation.rules import check_rows, summarise_rules
    from jebm_core.rules.budget import Budget
    from jebm_core.rules.compiled import compile_rules
    from jebm_core.rules.notation.parser import parse_rules
    from jebm_core.rules.problem import bind

    examples = _scene.examples
    try:
        rules = parse_rules(text, source)
        if examples is None:
            problem = bind(rules)
        else:
            problem = bind(rules, examples.outputs.schema, features=examples.roles.features)
        compiled = compile_rules(problem, Budget(seconds=seconds))
        check = None if examples is None else check_rows(compiled, examples)
        distinct = covered = 0
        if examples is not None:
            distinct, covered = distinct_combinations(examples.outputs.values, _obeying(check, examples))
    except UserError as error:
        return error
    summary = summarise_rules(compiled)
    everything = space_size(problem.schema)
    return Analysis(text, _scene, compiled, summary, check, everything, summary.valid_outputs, distinct, covered)


def _obeying(check: "RowCheck | None", examples: Examples) -> npt.NDArray[np.bool_]:
    """Return which of the rows break no rule."""
    broken = {row for row, _rules in check.broken} if check else set()
    return np.array([examples.table.row_number(position) not in broken for position in examples.keep], dtype=bool)


@st.cache_resource(max_entries=24, show_spinner=False)
def _effects(text: str, key: str, _analysis: Analysis) -> "tuple[RuleEffect, ...] | None":
    from jebm_core.evaluation.rules import rule_effects
    from jebm_core.rules.budget import Budget

    return rule_effects(_analysis.compiled, Budget(seconds=EFFECT_SECONDS))


@st.cache_resource(max_entries=24, show_spinner=False)
def _shares(text: str, key: str, _analysis: Analysis) -> dict[str, float]:
    from jebm_core.evaluation.rules import rule_marginals

    return rule_marginals(_analysis.compiled)


@st.cache_resource(max_entries=24, show_spinner=False)
def _samples(text: str, key: str, count: int, seed: int, _analysis: Analysis) -> list[dict[str, Any]]:
    from jebm_core.evaluation.rules import rule_samples

    return rule_samples(_analysis.compiled, count, seed)


@st.cache_resource(max_entries=24, show_spinner=False)
def _trial(rules: str, reference: str, data: str, key: str, source: str, _scene: Scene) -> "GeneratorTrial | UserError":
    from jebm_core.errors import JebmError
    from jebm_core.evaluation.generators import try_generator
    from jebm_core.fitted import load
    from jebm_core.rules.notation.parser import parse_rules
    from jebm_core.settings import FitSettings

    assert _scene.examples is not None
    try:
        return try_generator(
            _scene.examples,
            parse_rules(rules, source) if rules.strip() else None,
            FitSettings(reference=reference, time_budget=PILOT_SECONDS, seed=PILOT_SEED),
            candidates=read_table(store().dataset_file(data)) if reference == "table" else None,
            generator=load(store().folder(data).model) if reference == "model" else None,
        )
    except JebmError as error:
        return error if isinstance(error, UserError) else UserError(str(error))
