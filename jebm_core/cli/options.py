"""Options and arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="A model folder, as written by jebm fit --out.")]
TableArgument = Annotated[Path, typer.Argument(metavar="TABLE", help="CSV, TSV, Excel, Parquet or ARFF.")]
JsonOption = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON; - writes it to stdout.")
]
ResultOption = Annotated[
    Path, typer.Option("--out", metavar="FILE", help="Where the results go: .csv, .parquet or .xlsx.")
]
DeviceOption = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")]
SeedOption = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of everything random.")]
