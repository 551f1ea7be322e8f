"""The work of recalibrating a run: a model of its own, chosen on validation rows and judged on held-out ones."""

import time

from jebm_core.errors import SpecError
from jebm_core.runs.context import JobContext
from jebm_core.runs.home import write_json
from jebm_core.runs.work import given, judged, provenance, read_data, report_evaluation, save_models, settings_of
from jebm_core.splits import split_examples

LEAST_ROWS = 20


def recalibrate_run(context: JobContext) -> str | None:
    """Recalibrate the parent's model and its replicates; write ``model/`` and ``evaluation.json`` as a fit does.

    The rows that the fit kept from its training, to stop by, choose; the rows that were held out judge. The evaluation
    has an entry ``recalibration`` besides: what was chosen, and every number before and after.

    Raises:
        UserError: the parent is gone, its scores have no temperature, or too few rows may choose.
    """
    from jebm_core.evaluation.changes import compare
    from jebm_core.evaluation.measured import measure
    from jebm_core.evaluation.recalibrated import recalibrated
    from jebm_core.fitted import load
    from jebm_core.preparation import validation_part
    from jebm_core.replicates import load_replicates

    begun = time.time()
    spec, folder = context.spec, context.folder
    settings = settings_of(spec)
    context.report({"stage": "recalibration", "epoch": 0, "epochs": 1})
    model = load(context.parent)
    examples = read_data(spec, context.data)
    train, test = split_examples(examples, spec.hold_out_fraction, spec.hold_out_mode, spec.seed)
    choose = validation_part(train, settings, given(context, settings)["rules"])
    if len(choose.keep) < LEAST_ROWS:
        raise SpecError(
            "Recalibration: expected at least {least} rows to choose by, found {rows} that the fit had kept from its "
            "training; add rows, or fit with a larger share of validation rows.",
            least=LEAST_ROWS,
            rows=len(choose.keep),
        )
    how = {"method": spec.method or "temperature", "contexts": train, "seed": spec.seed}
    found = recalibrated(model, choose, **how)
    members = [recalibrated(member, choose, **how).model for member in load_replicates(context.parent)]
    save_models(found.model, members, folder.model)
    report_evaluation(context)
    content = judged(found.model, train, test, spec)
    changes = compare(measure(model, test), measure(found.model, test)) if len(test.keep) else ()
    content["recalibration"] = {**found.to_json(), "changes": [vars(one) for one in changes]}
    content["notes"] = []
    content["provenance"] = provenance(spec, settings, time.time() - begun)
    write_json(folder.evaluation, content)
    return None
