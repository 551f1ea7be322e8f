"""The words of the rule language: the reserved ones, what each is for, and what other languages write instead."""

KEYWORDS = frozenset(
    (
        *("items", "slot", "ranking", "hidden", "attribute", "probability", "prefer", "where"),
        *("requires", "excludes", "if", "then", "not", "and", "or", "always", "never", "in"),
        *("exactly", "at", "least", "most", "between", "of", "size", "total", "allowed", "forbidden"),
        *("above", "next", "to", "top", "bottom", "place", "places"),
    )
)
"""Words of the language; as a name each needs quotes."""

SYMBOLS: dict[str, str] = {
    "EQ": "==",
    "NE": "!=",
    "LE": "<=",
    "GE": ">=",
    "LT": "<",
    "GT": ">",
    "EQUAL": "=",
    "STAR": "*",
    "COMMA": ",",
    "COLON": ":",
    "LPAR": "(",
    "RPAR": ")",
    "LBRACE": "{",
    "RBRACE": "}",
}
"""The signs of the language by the names that the grammar gives them."""

# Most telling first: these are shown when something else was found.
SHOWN = (
    *("requires", "excludes", "and", "or", "then", "=", "==", "!=", "in", ":", ",", ")", "}", "(", "{", "of"),
    *("at", "exactly", "between", "least", "most", "to", "above", "next", "top", "bottom", "place", "places", "not"),
)
EXAMPLES = {
    "items": "items A, B, C",
    "slot": "slot Motor: servo, stepper",
    "ranking": "ranking A, B, C",
    "hidden": 'hidden items "#1", "#2"',
    "attribute": "attribute cost: A 3, B 5.5",
    "probability": "probability A: 0.3",
    "prefer": "prefer 1.5: A requires B",
    "where": 'where region == "JP": A requires B',
    "requires": "A requires B and C",
    "excludes": "A excludes B, C",
    "if": "if A and not B then C or D",
    "exactly": "exactly 1 of A, B, C",
    "at": "at least 2 of A, B, C",
    "between": "between 1 and 2 of A, B, C",
    "at least": "at least 2 of A, B, C",
    "at most": "at most 3 of A, B, C, D",
    "of": "if A then exactly 1 of {B, C, D}",
    "size": "size between 5 and 12",
    "total": "total cost at most 300",
    "allowed": "allowed Motor, Gear: (servo, planetary), (stepper, *)",
    "forbidden": "forbidden Motor, Gear: (servo, worm)",
    "above": "A above B",
    "next": "A next to B",
    "top": "A in top 3",
    "bottom": "A in bottom 2",
    "place": "A in place 1",
    "places": "A in places 2 to 4",
    "in": "Gear in {planetary, helical}",
    "=": "Motor = servo",
    "!=": "Motor != servo",
    "not": "not A",
    "then": "if A and not B then C or D",
    "and": "A and B or C",
    "or": "A and B or C",
    **dict.fromkeys(("==", "<", "<=", ">", ">="), 'where region == "JP" and load <= 5: A requires B'),
}
PLAIN_EXAMPLE = "A requires B"
# Words that stand in many statements: an example of another word of the same statement says more.
COMMON = frozenset(("at", "exactly", "between", "and", "or", "not", "in", "then", "=", "==", "<", "<=", ">", ">="))
# Words that begin a statement or a formula, and so may be what a name in their place was meant to be.
BEGINNINGS = (
    *("items", "slot", "ranking", "hidden", "attribute", "probability", "prefer", "where"),
    *("if", "not", "exactly", "at least", "at most", "between", "size", "total", "allowed", "forbidden"),
)
# What follows a name, and so may show that the word before it was meant as one.
AFTER_NAMES = frozenset(("EQUAL", "EQ", "NE", "IN", "REQUIRES", "EXCLUDES", "AND", "OR", "ABOVE", "NEXT"))
# What other languages write, at the place where reading stops or one character before it.
FOREIGN = {
    **dict.fromkeys(("=>", "->", "→", "⇒"), "requires"),
    **dict.fromkeys(("&&", "&", "∧"), "and"),
    **dict.fromkeys(("||", "|", "∨"), "or"),
    **dict.fromkeys(("!", "¬", "~"), "not"),
    **dict.fromkeys(("<>", "≠"), "!="),
    "≤": "<=",
    "≥": ">=",
    "∈": "in",
}
