"""What there is to score, row group by row group, and the plan of a scoring, kept beside its parts."""

import glob
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from jebm_core.errors import SpecError, TableError

FORMAT = 1
ENDINGS = (".parquet", ".pq")
_WILD = frozenset("*?[")
_IDENTITY = ("size", "modified", "footer", "groups")


@final
@dataclass(frozen=True)
class Source:
    """One Parquet file.

    Attributes:
        path: where it is; name: what people see of it.
        size, modified, footer: what tells it from a file that took its place: bytes, nanoseconds, and the digest of
            its footer, which holds place, size and extremes of every column of every row group.
        groups: rows of each row group.
        columns: names of the columns, without surrounding spaces.
    """

    path: str
    name: str
    size: int
    modified: int
    footer: str
    groups: tuple[int, ...]
    columns: tuple[str, ...]

    @classmethod
    def of(cls, path: Path, name: str) -> "Source":
        """Read what the file says of itself.

        Raises:
            TableError: the file can't be read, or is not a whole Parquet file.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        from jebm_core.tables.text import clean_names

        try:
            found = path.stat()
            with pq.ParquetFile(path) as file:
                meta = file.metadata
                groups = tuple(meta.row_group(place).num_rows for place in range(meta.num_row_groups))
                columns, _ = clean_names(name, file.schema_arrow.names)
            with path.open("rb") as stream:
                stream.seek(-8, 2)
                length = int.from_bytes(stream.read(4), "little")
                stream.seek(-8 - length, 2)
                footer = hashlib.sha256(stream.read(length)).hexdigest()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise unreadable(name, error) from None
        return cls(str(path.absolute()), name, found.st_size, found.st_mtime_ns, footer, groups, tuple(columns))

    def shards(self, number: int) -> Iterator["Shard"]:
        """Its row groups that hold rows, in order."""
        start = 0
        for group, rows in enumerate(self.groups):
            if rows:
                yield Shard(number, self.path, self.name, group, start, rows)
            start += rows


@final
@dataclass(frozen=True)
class Shard:
    """One row group of one file: the unit of work.

    Attributes:
        file: place of the file in the plan; group: place of the row group in the file.
        start: rows of the file before it; rows: its own.
    """

    file: int
    path: str
    name: str
    group: int
    start: int
    rows: int

    @property
    def part(self) -> str:
        """The name of the part with its results; by name, parts are in the order of the rows."""
        return f"{self.file:05}-{self.group:05}.parquet"


def unreadable(name: str, error: Exception) -> TableError:
    """The error for a file that the system or the Parquet library refuses."""
    if isinstance(error, OSError) and error.errno is not None:
        return TableError(
            "{file} can't be read: {reason}. Check that it may be opened and is not open elsewhere.",
            file=name,
            reason=error.strerror or type(error).__name__,
        )
    return TableError(
        "{file}: expected a whole Parquet file, found one that is damaged, cut short or of another kind. "
        "Write it again, or take it out.",
        file=name,
    )


def find_sources(given: Path) -> tuple[Source, ...]:
    """The Parquet files of a folder and of the folders in it, of a pattern such as ``new/*.parquet``, or one file.

    Files and folders that begin with a dot or an underscore are left out, as elsewhere with Parquet.

    Raises:
        TableError: there is none, a file has another ending, or one can't be read.
    """
    if given.is_dir():
        found = [path for path in given.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file()]
        paths = {path: path.relative_to(given).as_posix() for path in found}
        paths = {path: name for path, name in paths.items() if not any(p[0] in "._" for p in name.split("/"))}
    elif given.exists() or not _WILD & set(str(given)):
        paths = {given: given.name}
    else:
        paths = {Path(name): name for name in glob.glob(str(given), recursive=True) if Path(name).is_file()}
    if not paths:
        raise TableError(
            "{place}: expected Parquet files, found none. Name a Parquet file, or a folder or pattern with some.",
            place=given,
        )
    for path, name in paths.items():
        if not path.exists():
            raise TableError("{file} was not found. Check the name and the folder.", file=name)
        if path.suffix.lower() not in ENDINGS:
            raise TableError(
                "{file} ends in {ending!r}; expected .parquet, since results go to a folder. Save the table as "
                "Parquet, or end the name of the results in .csv, .parquet or .xlsx to score one table in memory.",
                file=name,
                ending=path.suffix,
            )
    return tuple(Source.of(path, paths[path]) for path in sorted(paths))


@final
@dataclass(frozen=True)
class Plan:
    """What is scored and how: what a run that goes on must share with the run that began.

    Attributes:
        model: the folder; fingerprint: the digest of what is in it.
        options: what shapes the results.
        versions: of what computes them.
        verdict, warning: what the audit of the normalisation said when the scoring began.
    """

    model: str
    fingerprint: str
    sources: tuple[Source, ...]
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    verdict: str = ""
    warning: str | None = None

    @property
    def shards(self) -> tuple[Shard, ...]:
        """Everything there is to do, in the order of the rows."""
        return tuple(shard for number, source in enumerate(self.sources) for shard in source.shards(number))

    def to_json(self) -> dict[str, Any]:
        """A record that JSON can hold."""
        files = [
            {"path": s.path, "name": s.name, **{key: getattr(s, key) for key in _IDENTITY}} | {"groups": list(s.groups)}
            for s in self.sources
        ]
        return {
            "format": FORMAT,
            "model": {"folder": self.model, "fingerprint": self.fingerprint},
            "options": dict(self.options),
            "versions": dict(self.versions),
            "audit": {"verdict": self.verdict, "warning": self.warning},
            "files": files,
        }

    def require_same(self, folder: Path, before: Mapping[str, Any]) -> None:
        """Refuse to go on with parts that were made by another plan.

        Raises:
            SpecError: names the first difference.
        """
        now = self.to_json()
        pairs: list[tuple[str, object, object]] = [
            ("format", before.get("format"), FORMAT),
            ("model", _part(before, "model").get("fingerprint"), self.fingerprint),
        ]
        for group in ("options", "versions"):
            old = _part(before, group)
            for key in sorted({*old, *now[group]}):
                pairs.append((key, old.get(key), now[group].get(key)))
        listed = before.get("files")
        old_files = listed if isinstance(listed, list) else []
        pairs.append(("number of files", len(old_files), len(now["files"])))
        for old, new in zip(old_files, now["files"], strict=False):
            pairs.append(("file", old.get("name"), new["name"]))
            pairs += [(f"{key} of {new['name']}", old.get(key), new[key]) for key in _IDENTITY]
        for what, old, new in pairs:
            if old != new:
                raise SpecError(
                    "{folder} holds parts of another scoring: expected {what} {expected}, as when it began, found "
                    "{found}. Give the same files, model and options to go on with it, or choose another folder.",
                    folder=folder,
                    what=what,
                    expected=_short(old),
                    found=_short(new),
                )


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}


def _short(value: object) -> str:
    text = "none" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"


def fingerprint_of(model: Path) -> str:
    """The digest of every file of a model folder, names included."""
    digest = hashlib.sha256()
    for path in sorted(model.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(model).as_posix()}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()
