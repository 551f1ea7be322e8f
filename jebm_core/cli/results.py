"""Tables of results: CSV, Parquet or Excel, by the ending of the name."""

import io
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from jebm_core.cli.output import require_writable, write_file
from jebm_core.errors import SpecError

if TYPE_CHECKING:
    import pandas as pd

_ENDINGS = (".csv", ".parquet", ".xlsx")
_EXCEL_ROWS = 2**20 - 1  # under the header
_EXCEL_COLUMNS = 2**14


def require_result_place(path: Path) -> None:
    """Refuse a name that no result can be written under, before any long work.

    Raises:
        SpecError: another ending, a place that can't be written, or Excel without a library that writes it.
    """
    ending = path.suffix.lower()
    if ending not in _ENDINGS:
        raise SpecError(
            "{file} ends in {ending!r}; expected .csv, .parquet or .xlsx. Name the result file accordingly.",
            file=path.name,
            ending=path.suffix,
        )
    if ending == ".xlsx" and _excel_engine() is None:
        raise SpecError(
            "{file}: writing Excel needs the package xlsxwriter or openpyxl, and neither is installed. "
            "Install one of them, or choose .csv.",
            file=path.name,
        )
    require_writable(path)


def write_results(frame: "pd.DataFrame", path: Path) -> None:
    """Write a table of results. CSV is UTF-8 with a byte order mark, so that spreadsheets read it as it is.

    Raises:
        SpecError: more rows or columns than a sheet has, or a place that can't be written.
    """
    ending = path.suffix.lower()
    buffer = io.BytesIO()
    if ending == ".csv":
        buffer.write(frame.to_csv(index=False, lineterminator="\n").encode("utf-8-sig"))
    elif ending == ".parquet":
        frame.to_parquet(buffer, index=False)
    else:
        if len(frame) > _EXCEL_ROWS or len(frame.columns) > _EXCEL_COLUMNS:
            raise SpecError(
                "{file}: an Excel sheet holds {most} rows, and the result has {found}. Choose .csv or .parquet.",
                file=path.name,
                most=_EXCEL_ROWS,
                found=len(frame),
            )
        import pandas as pd

        engine = _excel_engine()
        # Option names are text, also where they begin like a formula or a link.
        options = {"options": {"strings_to_formulas": False, "strings_to_urls": False}}
        with pd.ExcelWriter(
            buffer,
            engine=engine,  # pyright: ignore[reportArgumentType]
            engine_kwargs=options if engine == "xlsxwriter" else None,
        ) as writer:
            frame.to_excel(writer, index=False)
    write_file(path, buffer.getvalue())


def _excel_engine() -> str | None:
    return next((name for name in ("xlsxwriter", "openpyxl") if find_spec(name)), None)
