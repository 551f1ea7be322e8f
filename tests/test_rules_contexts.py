"""Rules that hold in some contexts only: where they leave nothing, a sentence says in which rows and why."""

import itertools

import numpy as np
import pandas as pd
import pytest

from jebm_core import FitSettings, fit, guess_roles, read_examples, read_table
from jebm_core.errors import RuleError
from jebm_core.rules.compiled import compile_rules
from jebm_core.rules.contexts import is_possible
from jebm_core.rules.notation.parser import parse_rules
from jebm_core.rules.problem import bind
from jebm_core.tables import Examples


def examples(regions: tuple[str, str] = ("JP", "EU")) -> Examples:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x_region": rng.choice(regions, 60), **{f"y_{c}": rng.integers(0, 2, 60) for c in "ab"}})
    frame.loc[frame["x_region"] == "EU", "y_a"] = 1
    table = read_table("t.csv", content=frame.to_csv(index=False).encode())
    return read_examples(table, guess_roles(table))


def test_conditions_that_leave_nothing_are_refused_by_a_fit():
    rules = parse_rules('where region == "JP": a\nwhere region == "JP": not a', "r.rules")
    with pytest.raises(RuleError) as caught:
        fit(examples(), FitSettings(epochs=1), rules=rules)
    assert str(caught.value) == (
        "r.rules: in 26 rows of t.csv (rows 5, 6, 7, 8, 9, 10, 22, 25, 26, 29, … (16 more)) the rules whose conditions "
        "hold there leave no combination; they are in lines 1, 2. Change one of them, or its condition."
    )


def test_a_new_context_that_leaves_nothing_is_refused_by_a_model():
    rules = parse_rules('where region == "EU": a\nwhere region == "US": a\nwhere region == "US": not a', "r.rules")
    model = fit(examples(), FitSettings(epochs=1), rules=rules).model
    assert len(model.context(examples().table).x) == 60
    with pytest.raises(RuleError, match=r"r\.rules|model\.json.*leave no combination; they are in lines 2, 3"):
        model.context(examples(("JP", "US")).table)


def test_what_is_possible_is_what_a_listing_holds():
    rules = bind(parse_rules("items a, b, c, d\na requires b\nc excludes d\nif not a then c\nsize at most 2"))
    diagram = compile_rules(rules).diagram
    places = list(diagram.order)
    rows = {tuple(row[places.index(v)] for v in range(4)) for row in diagram.listing().tolist()}
    for fixed in itertools.product((0, 1, None), repeat=4):
        given = {variable: option for variable, option in enumerate(fixed) if option is not None}
        listed = any(all(row[v] == o for v, o in given.items()) for row in rows)
        assert is_possible(diagram, given) == listed
