"""YAML and JSON text as plain values, read strictly: no key twice, no references, no deep nesting."""

import json
import re
from decimal import Decimal
from typing import Any, final

import yaml
from yaml.events import AliasEvent
from yaml.nodes import MappingNode, Node
from yaml.reader import Reader

from jebm_core.errors import RuleError

MOST_CHARACTERS = 1_000_000
"""Characters of YAML, which is read slowly; JSON may be longer."""
_DEEPEST = 100
_TAG = re.compile(r"constructor for the tag '(?:tag:yaml\.org,2002:)?([^']*)'")


def read_plain(text: str, source: str) -> Any:
    """The value that YAML or JSON text stands for; numbers of JSON keep their digits.

    Raises:
        RuleError: text that is neither, a key that is given twice, a reference, or too deep nesting.

    >>> read_plain("rules: [A requires B]", "r.yaml"), read_plain('{"weight": 0.10}', "r.json")
    ({'rules': ['A requires B']}, {'weight': Decimal('0.10')})
    """
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text, parse_float=Decimal, object_pairs_hook=lambda pairs: _once_each(pairs, source))
        except ValueError:
            pass  # YAML begins like this too
        except RecursionError:
            raise _too_deep(source) from None
    if len(text) > MOST_CHARACTERS:
        raise RuleError(
            "{source} holds {found} characters of YAML; expected at most {most}. Save it as JSON, which is read "
            "faster, or split the rules.",
            source=source,
            found=len(text),
            most=MOST_CHARACTERS,
        )
    control = Reader.NON_PRINTABLE.search(text)
    if control is not None:
        raise RuleError(
            "{source}, line {line}, column {column}: expected text, found the character {found}, which YAML does not "
            "allow. Take it out, or write it in double quotes as \\x01 is written.",
            line=text.count("\n", 0, control.start()) + 1,
            column=control.start() - text.rfind("\n", 0, control.start()),
            source=source,
            found=f"U+{ord(control[0]):04X}",
        )
    loader = _Strict(text, source)
    try:
        return loader.get_single_data()
    except yaml.YAMLError as error:
        raise _misread(error, source) from None
    finally:
        loader.dispose()


def _misread(error: yaml.YAMLError, source: str) -> RuleError:
    """The error for text that is no YAML. What PyYAML says is English, so the usual mistakes get sentences of ours."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return RuleError(
            "{source}: expected YAML or JSON, found text that is neither. Check indentation, brackets and quotes.",
            source=source,
        )
    place = {"line": mark.line + 1, "column": mark.column + 1, "source": source}
    problem = str(getattr(error, "problem", ""))
    if "<stream end>" in problem or "end of stream" in problem:
        return RuleError(
            "{source}, line {line}, column {column}: expected a bracket or a quote to be closed, found the end of the "
            "file. Close what is open.",
            **place,
        )
    if problem.startswith("found character '\\t'"):
        return RuleError(
            "{source}, line {line}, column {column}: expected spaces, found a tab, with which YAML is not indented. "
            "Put spaces in its place.",
            **place,
        )
    if problem == "mapping values are not allowed here":
        return RuleError(
            "{source}, line {line}, column {column}: expected one key in the line, found a further colon. Put text "
            "with a colon in quotes, or check the indentation.",
            **place,
        )
    tag = _TAG.search(problem)
    if tag is not None:
        return RuleError(
            "{source}, line {line}, column {column}: expected plain values, found one with the type {found}. Leave the "
            "type out, or put quotes around it.",
            **place,
            found=tag[1],
        )
    return RuleError(
        "{source}, line {line}, column {column}: expected YAML or JSON, found text that is neither. Check indentation, "
        "brackets and quotes there.",
        **place,
    )


@final
class _Strict(yaml.SafeLoader):
    """The safe loader of PyYAML, which by itself lets the last of two equal keys win and follows references."""

    def __init__(self, text: str, source: str) -> None:
        self._source = source
        self._depth = 0
        super().__init__(text)

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event = self.peek_event()
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None) is not None:
            raise RuleError(
                "{source}, line {line}, column {column}: expected plain values, found the reference {found!r}. Write "
                "the value itself, or put quotes around it.",
                line=event.start_mark.line + 1,
                column=event.start_mark.column + 1,
                source=self._source,
                found=("*" if isinstance(event, AliasEvent) else "&") + str(event.anchor),
            )
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _too_deep(self._source)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except ValueError:  # a date or number that looks like one and is none
            raise RuleError(
                "{source}, line {line}, column {column}: expected a value, found {found}, which looks like a number or "
                "a date and is none. Put it in quotes.",
                line=node.start_mark.line + 1,
                column=node.start_mark.column + 1,
                source=self._source,
                found=str(node.value)[:40],
            ) from None

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise RuleError(
                    "{source}, line {line}, column {column}: the key {found!r} is given a second time. Leave one of "
                    "the two out, or change a name.",
                    line=key.start_mark.line + 1,
                    column=key.start_mark.column + 1,
                    source=self._source,
                    found=str(key.value),
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep=deep)


def _once_each(pairs: list[tuple[str, Any]], source: str) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [key for key, _ in pairs]
        raise RuleError(
            "{source}: the key {found!r} is given a second time. Leave one of the two out, or change a name.",
            source=source,
            found=next(key for index, key in enumerate(names) if key in names[:index]),
        )
    return record


def _too_deep(source: str) -> RuleError:
    return RuleError(
        "{source} has more than {most} levels inside one another. Split its rules into several.",
        source=source,
        most=_DEEPEST,
    )
