"""Which utilities apply to which kind of output."""

from jebm_core.errors import SpecError

UTILITIES = {
    "subsets": ("map", "f1", "hamming"),
    "configurations": ("map", "hamming"),
    "rankings": ("map", "kendall"),
}


def require_utility(kind: str, utility: object) -> None:
    """Refuse a utility that does not apply; a function always does.

    Raises:
        SpecError: names those that apply.
    """
    if not callable(utility) and utility not in UTILITIES[kind]:
        raise SpecError(
            "Utility {found!r} does not apply to {kind}; choose one of {known}.",
            found=utility,
            kind=kind,
            known=", ".join(UTILITIES[kind]),
        )
