"""jebm: how likely is each combination, and may we trust the number?

A score g(x,y) over combinations and its log-partition τ(x), trained jointly and without Markov chains, on top of a
reference distribution q:

    p(y|x) = q(y|x) · exp(g(x,y) − τ(x)).

=================  ==========================================================================
word               meaning
=================  ==========================================================================
context x          one row of features; may be absent
combination y      an element of a finite output space: `Subsets`, `Configurations`, `Rankings`
reference q        normalised base measure from which candidates are drawn
affinity g         score; high = likely. The energy is −g
log-partition τ    log Z_q(x) = log E_{y∼q} e^{g(x,y)}, in nats
proposal r         where training draws come from; never part of the model
=================  ==========================================================================

Names are imported when they are first used, so that ``import jebm_core`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jebm_core.evaluation import evaluate as evaluate
    from jebm_core.fitted import FittedModel as FittedModel
    from jebm_core.fitted import load as load
    from jebm_core.fitting import fit as fit
    from jebm_core.settings import FitSettings as FitSettings
    from jebm_core.spaces import Configurations as Configurations
    from jebm_core.spaces import Rankings as Rankings
    from jebm_core.spaces import Subsets as Subsets
    from jebm_core.tables import guess_roles as guess_roles
    from jebm_core.tables import read_examples as read_examples
    from jebm_core.tables import read_table as read_table

_HOME = {
    "Configurations": "spaces",
    "FitSettings": "settings",
    "FittedModel": "fitted",
    "Rankings": "spaces",
    "Subsets": "spaces",
    "evaluate": "evaluation",
    "fit": "fitting",
    "guess_roles": "tables",
    "load": "fitted",
    "read_examples": "tables",
    "read_table": "tables",
}

__all__ = [
    "Configurations",
    "FitSettings",
    "FittedModel",
    "Rankings",
    "Subsets",
    "evaluate",
    "fit",
    "guess_roles",
    "load",
    "read_examples",
    "read_table",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"jebm_core.{_HOME[name]}"), name)
    raise AttributeError(f"module 'jebm_core' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
