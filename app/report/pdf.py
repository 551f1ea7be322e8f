"""The report as a PDF: the static HTML with its SVG figures, set by WeasyPrint."""

import logging

from app.report.model import Report
from app.report.static import page
from jebm_core.errors import UserError


def pdf(report: Report) -> bytes:
    """Return the file.

    Raises:
        UserError: a library that WeasyPrint sets text with is not on this machine.
    """
    try:
        from weasyprint import HTML
    except OSError as error:  # it loads Pango as it is imported
        raise UserError(
            "The PDF needs Pango, which was not found ({reason}). Install it (Debian: apt install libpango-1.0-0 "
            "libpangoft2-1.0-0), or print the HTML file from a browser.",
            reason=str(error)[:120],
        ) from error
    logging.getLogger("weasyprint").setLevel(logging.ERROR)
    # Nothing is fetched: whatever a text may hold, no address of it is opened.
    written = HTML(string=page(report), url_fetcher=_refused).write_pdf()
    assert written is not None
    return written


def _refused(url: str, *_more: object, **_options: object) -> dict[str, object]:
    raise ValueError(f"a report fetches nothing, and {url[:60]} was asked for")
