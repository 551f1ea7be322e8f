"""What axe finds on a page by WCAG 2.2 AA, less a short list of faults that are the framework's own."""

from collections.abc import Sequence
from dataclasses import dataclass

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

LEVELS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
_OPTIONS = {"runOnly": list(LEVELS), "resultTypes": ["violations"]}


@dataclass(frozen=True)
class Allowed:
    """A fault that pages can't mend: the rule, what the selector of its place holds, and why it is let pass."""

    rule: str
    place: str
    reason: str


ON_DARK_PAGES = (
    Allowed(
        "color-contrast",
        'data-selected="true"',
        "The framework writes the chosen part of a segmented control in the primary colour on a tint of it, and the "
        "words of a primary button in white: on a dark page no colour passes as both. Light pages have no such fault.",
    ),
)


def violations(page: Page, allowed: Sequence[Allowed] = ()) -> list[str]:
    """What is wrong and is not let pass, one line a place."""
    found = Axe().run(page, options=_OPTIONS).response["violations"]
    return [
        f"{one['id']} at {' '.join(map(str, node['target']))}: {node['html'][:160]}"
        for one in found
        for node in one["nodes"]
        if not any(known.rule == one["id"] and known.place in " ".join(map(str, node["target"])) for known in allowed)
    ]
