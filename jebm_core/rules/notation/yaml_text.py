"""YAML and JSON text as plain values, read strictly: no key twice, no references, no deep nesting."""

import json
from decimal import Decimal
from typing import Any, final

import yaml
from yaml.events import AliasEvent
from yaml.nodes import MappingNode, Node

from jebm_core.errors import RuleError

MOST_CHARACTERS = 1_000_000
"""Characters of YAML, which is read slowly; JSON may be longer."""
_DEEPEST = 100


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
    loader = _Strict(text, source)
    try:
        return loader.get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise RuleError(
            "{source}, line {line}, column {column}: expected YAML or JSON, found a mistake in its form ({reason}). "
            "Check indentation, brackets and quotes there.",
            line=0 if mark is None else mark.line + 1,
            column=0 if mark is None else mark.column + 1,
            source=source,
            reason=getattr(error, "problem", None) or type(error).__name__,
        ) from None
    except ValueError as error:  # a date or number that looks like one and is none
        raise RuleError(
            "{source} holds a value that can't be read ({reason}). Put names that look like numbers or dates in "
            "quotes.",
            source=source,
            reason=str(error),
        ) from None
    finally:
        loader.dispose()


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
