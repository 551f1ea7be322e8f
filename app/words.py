"""What outputs are called on the page: items, options, events and whole combinations, by their display names."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.samples import Labels
from jebm_core.tables import OutputSchema

SEPARATOR = " · "


@dataclass(frozen=True)
class Marks:
    """Translated patterns for what has no name of its own in the file."""

    above: str
    first: str
    empty: str
    present: str
    absent: str
    place: str
    pair: str


@dataclass(frozen=True)
class OutputWords:
    """Names of a model's outputs; what the labels don't know keeps the name it has in the file."""

    schema: OutputSchema
    labels: Labels
    marks: Marks

    def item(self, name: str) -> str:
        """Return what an item or a slot is called."""
        column = self._column(name)
        return self.labels.columns.get(column, name) if column else name

    def option(self, name: str, value: str) -> str:
        """Return what a value of an item or a slot is called: an option, present or absent, a place."""
        if self.schema.kind == "configurations":
            return self.labels.option(self._column(name) or name, value)
        if self.schema.kind == "subsets":
            return self.marks.present if value == "1" else self.marks.absent
        return self.marks.place.format(place=value)

    def pair(self, name: str, value: str) -> str:
        """Return a slot with its option, as one name."""
        return self.marks.pair.format(slot=self.item(name), option=self.option(name, value))

    def event(self, name: str) -> str:
        """Return what an event of the calibration is called; its code names items as the file does."""
        kind = self.schema.kind
        if kind == "configurations":
            slot = next((slot for slot in self.schema.names if name.startswith(f"{slot}=")), None)
            return name if slot is None else self.pair(slot, name.removeprefix(f"{slot}="))
        if kind == "subsets":
            return self.item(name)
        if name.startswith("1st: "):
            return self.marks.first.format(item=self.item(name.removeprefix("1st: ")))
        pair = next(((a, b) for a in self.schema.names for b in self.schema.names if name == f"{a} > {b}"), None)
        return name if pair is None else self.marks.above.format(first=self.item(pair[0]), second=self.item(pair[1]))

    def combination(self, y: Sequence[int], skip: str | None = None) -> str:
        """Return a whole combination as a person reads it, without the slot ``skip``."""
        names = self.schema.names
        if self.schema.kind == "rankings":
            return " > ".join(self.item(names[i]) for i in sorted(range(len(y)), key=lambda i: y[i]))
        if self.schema.kind == "subsets":
            held = [self.item(name) for name, value in zip(names, y, strict=True) if value and name != skip]
            return SEPARATOR.join(held) or self.marks.empty
        parts = zip(names, self.schema.options, y, strict=True)
        return SEPARATOR.join(self.option(name, options[i]) for name, options, i in parts if name != skip)

    def nearest(self, y: Sequence[int], changes: Iterable[dict[str, str]], skip: str | None = None) -> str:
        """Return the combination that ``changes`` lead away from, to ``y``."""
        before = list(y)
        for change in changes:
            place = self.schema.names.index(change["item"])
            before[place] = self._code(place, change["before"])
        return self.combination(before, skip)

    def changes(self, changes: Iterable[dict[str, str]]) -> str:
        """Return what differs from the nearest combination, one part after the other."""
        return "; ".join(
            f"{self.pair(change['item'], change['before'])} → {self.option(change['item'], change['after'])}"
            for change in changes
        )

    def changed_to(self, changes: Iterable[dict[str, str]]) -> str:
        """Return only what is new against the nearest combination; short, for a place beside the whole."""
        if self.schema.kind != "configurations":
            return self.changes(changes)
        return SEPARATOR.join(self.option(change["item"], change["after"]) for change in changes)

    def cells(self, y: Sequence[int]) -> dict[str, object]:
        """Return a combination as the cells of its row in the file."""
        if self.schema.kind == "configurations":
            options = zip(self.schema.columns, self.schema.options, y, strict=True)
            return {column: some[i] for column, some, i in options}
        start = 1 if self.schema.kind == "rankings" else 0
        return {column: value + start for column, value in zip(self.schema.columns, y, strict=True)}

    def _column(self, name: str) -> str | None:
        return self.schema.columns[self.schema.names.index(name)] if name in self.schema.names else None

    def _code(self, place: int, value: str) -> int:
        if self.schema.kind == "configurations":
            return self.schema.options[place].index(value)
        return int(value) - (1 if self.schema.kind == "rankings" else 0)
