"""What to do, and when a person should decide: the answer and the table of the page."""

from jebm_core.report.records import FEW_ROWS, ORDER, Answer, Record, Sentence, TableRow, Verdict


def answer_decisions(record: Record) -> Answer:
    """From a decision record: the worth of the policy, the share that a person decides, and the guarantee.

    The verdict is that of the model; it is at most *caution* where few rows were used, where deciding is not better
    than leaving rows alone beyond chance, or where independent parts decide better.
    """
    given, n = record["guarantee"], record["n"]
    found: Verdict = record["verdict"]
    reasons: list[Sentence] = []
    if found == "do not trust":
        reasons.append(Sentence("The model is not to be trusted, so the policy hands every row to a person."))
    elif found == "caution":
        reasons.append(Sentence("The model itself is to be used with caution; see the other pages for why."))
    if given["coverage"] == 0:
        reasons.append(
            Sentence(
                "No threshold keeps the risk at {alpha:.3g} on {n} rows; accept more risk, or label more rows.",
                {"alpha": given["alpha"], "n": n},
            )
        )
    if n < FEW_ROWS:
        reasons.append(
            Sentence(
                "Only {n} rows were evaluated; with {least} or more the verdict can be better.",
                {"n": n, "least": FEW_ROWS},
            )
        )
    if record["gain_not_acting"][1] <= 0:
        reasons.append(Sentence("Following the policy is not better than leaving every row alone, beyond chance."))
    alone = record["gain_independent"]
    if alone is not None and alone[2] < 0:
        reasons.append(
            Sentence(
                "Deciding from independent parts is better, by {gap:,.2f} a row; use that instead.", {"gap": -alone[0]}
            )
        )
    if reasons and found == "trusted":
        found = ORDER[1]
    value, low, high = record["with_policy"]
    sentence = Sentence(
        "Following the policy is worth {value:,.2f} a row ({low:,.2f} to {high:,.2f}), leaving every row alone "
        "{idle:,.2f}; a person decides {person:.0f} % of {n} rows.",
        {
            "value": value, "low": low, "high": high, "idle": record["not_acting"],
            "person": 100 * (1 - given["coverage"]), "n": n,
        },
    )  # fmt: skip
    limit = Sentence("The guarantee holds for new rows like these; other conditions may differ.")
    return Answer(found, sentence, (*reasons, guarantee_sentence(record), limit))


def guarantee_sentence(record: Record) -> Sentence:
    """The guarantee, with the risk that it controls named exactly."""
    given = record["guarantee"]
    values = {"n": given["n"], "alpha": given["alpha"], "sure": 100 * (1 - given["delta"])}
    if given["kind"] == "crc" and given["loss"] == "exact":
        return Sentence(
            "Guarantee: on average over {n} calibration rows and one new row, the chance of giving an answer that is "
            "not right as a whole is at most {alpha:.3g}; rows left to a person count 0.",
            values,
        )
    if given["kind"] == "crc":
        return Sentence(
            "Guarantee: on average over {n} calibration rows and one new row, the expected share of wrong parts is at "
            "most {alpha:.3g}; rows left to a person count 0.",
            values,
        )
    if given["loss"] == "exact":
        return Sentence(
            "Guarantee: with {sure:.3g} % certainty over {n} calibration rows, at most a share {alpha:.3g} of the "
            "answered rows gets an answer that is not right as a whole.",
            values,
        )
    return Sentence(
        "Guarantee: with {sure:.3g} % certainty over {n} calibration rows, the mean share of wrong parts in answered "
        "rows is at most {alpha:.3g}.",
        values,
    )


def decision_rows(record: Record) -> list[TableRow]:
    """One row a way of deciding: mean worth, in the currency of the values; its interval where there is one."""
    rows: list[TableRow] = [
        dict(zip(("way", "value", "low", "high"), (way, *record[way]), strict=True)) for way in ("with_policy", "value")
    ]
    for way in ("independent", "not_acting", "oracle"):
        if record[way] is not None:
            rows.append({"way": way, "value": record[way], "low": None, "high": None})
    return rows
