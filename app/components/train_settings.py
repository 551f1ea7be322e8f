"""What a run is started with: sensible choices for everybody, every setting in a form for experts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import streamlit as st

from app.components.language import _
from app.text import marked
from jebm_core.runs.records import MOST_PROCESSES, HoldOutMode
from jebm_core.settings import AFFINITIES, DEVICES, LOG_PARTITIONS, PROPOSALS, REFERENCES, FitSettings
from jebm_core.tables import Kind

WORDS: Final[Mapping[str, str]] = {
    "auto": marked("Chosen from the data"),
    "unary": marked("Parts alone, no interactions"),
    "pairwise": marked("Pairs, depending on the features"),
    "pairwise-constant": marked("Pairs, the same for every case"),
    "lowrank": marked("Low-rank pairs, depending on the features"),
    "lowrank-constant": marked("Low-rank pairs, the same for every case"),
    "set": marked("Set network"),
    "permutahedron": marked("Worth of each item times its place"),
    "birkhoff": marked("Worth of each item in each place"),
    "preference": marked("Preferences between pairs of items"),
    "reference": marked("Reference distribution (the published method)"),
    "tilt": marked("Tilted reference"),
    "meanfield": marked("Mean field"),
    "anchored": marked("Observed combinations and mean field"),
    "plackett-luce": marked("Plackett–Luce (rankings)"),
    "listing": marked("Every combination listed"),
    "uniform": marked("Uniform"),
    "marginals": marked("Shares of the data, parts independent"),
    "candidates": marked("Observed combinations"),
    "edits": marked("Observed combinations and what is one change away"),
    "table": marked("A table of candidates, simulated ones for instance"),
    "model": marked("A fitted model"),
    "logistic": marked("Logistic regression for each part"),
    "forest": marked("Random forest for each part"),
    "stacked": marked("Pooled classifiers and observed combinations"),
    "trees": marked("Mixtures of trees over the parts"),
    "corrected": marked("Closed form plus a network"),
    "constant": marked("One number"),
    "linear": marked("Linear in the features"),
    "mlp": marked("Network"),
    "residual": marked("Residual network"),
    "kl": marked("KL (maximum likelihood)"),
    "chi2": marked("χ² (sparse probabilities)"),
    "tsallis:1.5": marked("Tsallis, α = 1.5"),
    "jensen-shannon": marked("Jensen–Shannon"),
    "hellinger": marked("Hellinger"),
    "reverse-kl": marked("Reverse KL"),
    "jeffreys": marked("Jeffreys"),
    "cpu": marked("Processor (CPU)"),
    "cuda": marked("Graphics processor (GPU)"),
    "rows": marked("Rows at random"),
    "combinations": marked("Whole combinations"),
}
DIVERGENCES: Final = ("kl", "chi2", "tsallis:1.5", "jensen-shannon", "hellinger", "reverse-kl", "jeffreys")
WITH_A_SOURCE: Final = ("table", "model")
"""References that need a table or a run beside them, which a generator version names."""
REPLICATES: Final = 8
"""Refits that the switch asks for."""
_OF_RANKINGS: Final = ("auto", "unary", "permutahedron", "birkhoff", "preference")


@dataclass(frozen=True)
class Choice:
    """Settings of the fit, and what is kept out of it to judge it."""

    settings: FitSettings
    fraction: float = 0.2
    mode: HoldOutMode = "rows"
    processes: int = 1


def settings_form(kind: Kind, start: Choice) -> Choice | None:
    """Draw every setting; return the choice when the form was sent just now, else nothing.

    Raises:
        SpecError: a value that can't be met.
    """
    known = (
        _OF_RANKINGS if kind == "rankings" else tuple(a for a in AFFINITIES if a == "unary" or a not in _OF_RANKINGS)
    )
    known = ("auto", *(name for name in known if name != "auto"))
    was = start.settings
    with st.form("settings", border=True):
        heading = _("Settings")
        st.markdown(f"**{heading}**")
        left, middle, right = st.columns(3)
        with left:
            affinity = _choose(_("Score (affinity)"), known, was.affinity, "affinity")
            divergence = _choose(_("Divergence"), DIVERGENCES, was.divergence, "divergence")
            epochs = _optional(_("Epochs, at most"), was.epochs, "epochs", least=1)
        with middle:
            proposal = _choose(_("Where draws come from (proposal)"), PROPOSALS, was.proposal, "proposal")
            log_partition = _choose(_("Log-partition"), LOG_PARTITIONS, was.log_partition, "log_partition")
            budget = _optional(_("Time for training, seconds, at most"), was.time_budget, "time_budget", least=1)
        with right:
            # The key holds the generator's reference, so that another generator brings its own.
            reference = _choose(
                _("Reference distribution"), _references(was.reference), was.reference, f"reference_{was.reference}"
            )
            device = _choose(_("Device"), DEVICES, was.device, "device")
            samples = _optional(_("Draws per case and step"), was.samples, "samples", least=2)
        left, middle, right = st.columns(3)
        with left:
            mode = _choose(_("Held out for the evaluation"), ("rows", "combinations"), start.mode, "mode")
            processes = st.number_input(
                _("Processes"),
                1,
                MOST_PROCESSES,
                start.processes,
                key="processes",
                help=_(
                    "Several processes train one model together, each on a graphics processor of its own where there "
                    "are some. It pays for tables of more than 20,000 rows; small ones take longer."
                ),
            )
        with middle:
            percent = st.slider(
                _("Share held out"), 5, 50, round(100 * start.fraction), step=5, format="%d %%", key="fraction"
            )
        with right:
            seed = st.number_input(_("Seed"), 0, 2**31 - 1, was.seed, key="seed")
        replicated = st.toggle(
            _("Intervals that hold the model's own uncertainty"),
            was.replicates > 0,
            key="replicates",
            help=_(
                "The fit is done again on {count} random halves of the rows; how much a probability moves between them "
                "says how sure the model can be of it. Takes about six times as long."
            ).format(count=REPLICATES),
        )
        sent = st.form_submit_button(_("Start training"), type="primary", key="start")
    if not sent:
        return None
    settings = FitSettings(
        affinity=affinity,
        proposal=proposal,
        divergence=divergence,
        reference=reference,
        log_partition=log_partition,
        seed=int(seed),
        device=device,
        epochs=epochs,
        time_budget=None if budget is None else float(budget),
        samples=samples,
        replicates=(was.replicates or REPLICATES) if replicated else 0,
    )
    held_out: HoldOutMode = "combinations" if mode == "combinations" else "rows"
    return Choice(settings, percent / 100, held_out, int(processes))


def _references(chosen: str) -> tuple[str, ...]:
    return tuple(name for name in REFERENCES if name not in WITH_A_SOURCE or name == chosen)


def settings_rows(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings that differ from the usual ones, in words; for a line beneath a run."""
    usual = FitSettings().to_json()
    return {name: _(WORDS[str(value)]) if str(value) in WORDS else str(value) for name, value in settings.items()
            if value != usual.get(name)}  # fmt: skip


def _choose(label: str, codes: tuple[str, ...], value: str, key: str) -> str:
    # Words are looked up now, in the language of this session, and not when the widget asks for them.
    words = {code: _(WORDS[code]) for code in codes}
    place = codes.index(value) if value in codes else 0
    return st.selectbox(label, codes, index=place, format_func=words.__getitem__, key=key) or codes[place]


def _optional(label: str, value: float | None, key: str, *, least: int) -> int | None:
    found = st.number_input(
        label, least, None, None if value is None else int(value), step=1, placeholder=_("Automatic"), key=key
    )
    return None if found is None else int(found)
