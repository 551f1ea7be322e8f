"""The work of a study: an answer about another run, in ``study.json``."""

from jebm_core.runs.context import JobContext
from jebm_core.runs.home import write_json
from jebm_core.runs.work import given, read_data, settings_of

STEPS = 1000
"""In which progress is told."""


def learning_curve_of_run(context: JobContext) -> str | None:
    """How much more rows would help a run: fits to growing parts of all its rows.

    Raises:
        UserError: too few rows, or what the parent was fitted with is gone.
        Cancelled: if the study was asked to stop.
    """
    from jebm_core.evaluation.learning_curve import learning_curve

    spec = context.spec
    settings = settings_of(spec)

    def tell(share: float) -> None:
        context.report({"stage": "learning-curve", "epoch": round(share * STEPS), "epochs": STEPS})

    tell(0.0)
    examples = read_data(spec, context.data)
    found = learning_curve(
        examples, settings, on_progress=tell, should_stop=context.should_stop, **given(context, settings)
    )
    write_json(context.folder.study, found.to_json())
    return None
