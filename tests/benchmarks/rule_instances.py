"""Rules to measure with, made from a seed: shapes that rules have in practice, in four sizes, and feature models."""

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jebm_core.rules.language import RuleSet

INSTANCES = {
    "60 items, 40 rules, 5 to 12 chosen": "items",
    "15 slots of 6 options, 40 implications": "slots",
    "40 items, whole-number budget": "budget",
    "100 items, 60 rules, size and cost": "large",
}


def instance(kind: str, seed: int = 0) -> "RuleSet":
    """One of `INSTANCES`, read from its text."""
    from jebm_core.rules.notation.parser import parse_rules

    return parse_rules(instance_text(kind, seed), kind)


def instance_text(kind: str, seed: int = 0) -> str:
    """The rules as a person writes them."""
    draw = random.Random(seed)
    match kind:
        case "items":
            lines = [_items(60), *_pairs(draw, 60, 40), "size between 5 and 12"]
        case "slots":
            lines = [f"slot s{i}: {', '.join(f'o{o}' for o in range(6))}" for i in range(15)]
            lines += [_implication(draw, 15, 6) for _ in range(40)]
        case "budget":
            costs = [draw.randint(1, 50) for _ in range(40)]
            lines = [_items(40), _costs(costs), f"total cost at most {sum(costs) // 4}"]
        case "large":
            costs = [draw.randint(1, 50) for _ in range(100)]
            lines = [_items(100), _costs(costs), *_pairs(draw, 100, 60)]
            lines += ["size between 5 and 20", "total cost at most 300"]
        case _:
            raise ValueError(f"expected one of {', '.join(INSTANCES.values())}, found {kind!r}")
    return "\n".join(lines)


def _items(count: int) -> str:
    return "items " + ", ".join(f"i{i}" for i in range(count))


def _costs(costs: list[int]) -> str:
    return "attribute cost: " + ", ".join(f"i{i} {cost}" for i, cost in enumerate(costs))


def _pairs(draw: random.Random, items: int, rules: int) -> list[str]:
    """Requires and excludes between random items, half and half."""
    found = []
    for number in range(rules):
        first, second = draw.sample(range(items), 2)
        found.append(f"i{first} {'requires' if number % 2 else 'excludes'} i{second}")
    return found


def _implication(draw: random.Random, slots: int, options: int) -> str:
    """An option of one slot leaves half of another's."""
    first, second = draw.sample(range(slots), 2)
    allowed = ", ".join(f"o{o}" for o in sorted(draw.sample(range(options), options // 2)))
    return f"if s{first} = o{draw.randrange(options)} then s{second} in {{{allowed}}}"


def feature_model(features: int, seed: int = 0) -> str:
    """A feature model as DIMACS CNF: a random tree and constraints across it, as published ones have them.

    Two in three children are single, half of them mandatory; the others stand in groups of two to six, of which one or
    at least one is chosen. One constraint across the tree for every ten features, each between features of one part of
    the tree: requires, excludes, and clauses of three. All hold for one choice that the tree allows, so that the model
    is never void.
    """
    draw = random.Random(seed)
    clauses: list[list[int]] = [[1]]
    parents: dict[int, int] = {}
    open_features, made, chosen = [1], 1, {1}
    while made < features:
        parent = open_features.pop(draw.randrange(min(len(open_features), 12)))
        for _ in range(draw.randint(2, 5)):
            size = min(1 if draw.random() < 2 / 3 else draw.randint(2, 6), features - made)
            if size < 1:
                break
            children = list(range(made + 1, made + size + 1))
            made += size
            parents |= dict.fromkeys(children, parent)
            open_features += children
            clauses += [[-child, parent] for child in children]
            taken = draw.sample(children, draw.randint(0, 1)) if size == 1 else [draw.choice(children)]
            if size == 1 and taken and draw.random() < 0.8:
                clauses.append([-parent, *children])
            if size > 1:
                clauses.append([-parent, *children])
                if draw.random() < 0.5:
                    clauses += [[-a, -b] for i, a in enumerate(children) for b in children[i + 1 :]]
            chosen |= set(taken) if parent in chosen else set()
    clauses += _across(draw, parents, features, chosen)
    names = [f"c {number} f{number}" for number in range(1, features + 1)]
    body = [" ".join(map(str, [*clause, 0])) for clause in clauses]
    return "\n".join([*names, f"p cnf {features} {len(clauses)}", *body]) + "\n"


def _across(draw: random.Random, parents: dict[int, int], features: int, chosen: set[int]) -> list[list[int]]:
    """Clauses within parts of the tree – features of one grandparent – that the choice obeys."""
    near: dict[int, list[int]] = {}
    for feature in range(2, features + 1):
        above = feature
        for _ in range(2):
            above = parents.get(above, 1)
        near.setdefault(above, []).append(feature)
    parts = [members for members in near.values() if len(members) >= 6]
    found: list[list[int]] = []
    while len(found) < features // 10 and parts:
        a, b, c = draw.sample(draw.choice(parts), 3)
        kind = draw.random()
        clause = [-a, b] if kind < 0.55 else [-a, -b] if kind < 0.8 else [-a, b, c]
        if any((literal > 0) == (abs(literal) in chosen) for literal in clause):
            found.append(clause)
    return found
