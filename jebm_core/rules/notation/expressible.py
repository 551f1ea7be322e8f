"""What notations for plain feature models have no words for: refused with a sentence that names the rule."""

from jebm_core.errors import RuleError
from jebm_core.rules.language import RuleSet
from jebm_core.rules.notation.names import check_names
from jebm_core.rules.notation.printer import describe

MOST_SHOWN = 80
"""Characters of a rule in a message."""


def check_plain(rules: RuleSet, notation: str) -> None:
    """Check that a rule set has nothing but items or slots and rules without exception.

    Args:
        rules: the rule set.
        notation: what it shall be written as, for messages.

    Raises:
        RuleError: the rule set declares nothing or a ranking, has probabilities, or a rule with a weight or a
            condition.

    >>> check_plain(RuleSet("subsets"), "UVL")
    """
    if rules.kind is None:
        raise RuleError(
            "{source} declares no names, which {notation} needs. Declare them with items or slot.",
            source=rules.source,
            notation=notation,
        )
    if rules.kind == "rankings":
        raise RuleError(
            "{source} is about a ranking, which can't be written as {notation}. Keep it as text or JSON.",
            source=rules.source,
            notation=notation,
        )
    check_names(rules)
    if rules.probabilities:
        raise RuleError(
            "{source} gives a probability of {name!r}, which can't be written as {notation}. Leave the probabilities "
            "out.",
            line=rules.probabilities[0].name.line,
            column=rules.probabilities[0].name.column,
            source=rules.source,
            name=rules.probabilities[0].name.text,
            notation=notation,
        )
    for number, rule in enumerate(rules.rules, start=1):
        if rule.weight is not None:
            raise RuleError(
                "{source}, rule {number} ({rule}): a preference can't be written as {notation}, which knows no "
                "exceptions. Leave the rule out, or take prefer away.",
                line=rule.line,
                source=rules.source,
                number=number,
                rule=shortened(describe(rule)),
                notation=notation,
            )
        if rule.where is not None:
            raise RuleError(
                "{source}, rule {number} ({rule}): a rule for some contexts can't be written as {notation}, which "
                "knows no contexts. Leave the rule out, or take where away.",
                line=rule.line,
                source=rules.source,
                number=number,
                rule=shortened(describe(rule)),
                notation=notation,
            )


def shortened(text: str) -> str:
    """The beginning of a text that is long.

    >>> len(shortened("A" * 1000))
    81
    """
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"
