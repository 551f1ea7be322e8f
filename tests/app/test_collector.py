"""Collections after each look at a page pass over what the libraries brought, and still find what is lost."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from app import collector


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


class Knot:
    """Holds itself."""

    def __init__(self) -> None:
        self.self = self


def test_what_the_libraries_brought_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "_known", 0)
    before = len(gc.get_objects())
    collector.settle()
    assert gc.get_freeze_count() > 0.9 * before
    assert len(gc.get_objects()) < 0.1 * before


def test_it_is_done_once_for_the_same_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "_known", 0)
    collector.settle()
    gc.unfreeze()
    collector.settle()
    assert gc.get_freeze_count() == 0


def test_what_is_lost_before_and_after_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "_known", 0)
    early = weakref.ref(Knot())
    collector.settle()
    assert early() is None
    late = weakref.ref(Knot())
    gc.collect()
    assert late() is None
