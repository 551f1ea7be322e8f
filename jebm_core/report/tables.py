"""The rows of the table under each plot."""

from jebm_core.report.records import Record, TableRow, groups, judged_part


def partition_rows(record: Record) -> list[TableRow]:
    """One row a context and group: learned, audited, interval, error and deterministic bounds in nats."""
    rows: list[TableRow] = []
    for group, e in groups(record):
        values = e["log_partition_rows"]
        none = [None] * len(values["learned"])
        for learned, audited, low, high, *bounds in zip(
            *(values[k] for k in ("learned", "audited", "low", "high")),
            *(values.get(k, none) for k in ("bound_low", "bound_high")),  # a record of an earlier version has none
            strict=True,
        ):
            error = None if learned is None or audited is None else learned - audited
            row: TableRow = {"group": group, "learned": learned, "audited": audited, "low": low, "high": high}
            rows.append({**row, "error": error, **dict(zip(("bound_low", "bound_high"), bounds, strict=True))})
    return rows


def partition_summary_rows(record: Record) -> list[TableRow]:
    """One row a group: the audit in one line; a group without an audit is left out."""
    return [{"group": group, **e["log_partition"]} for group, e in groups(record) if e["log_partition"]]


def reliability_rows(record: Record) -> list[TableRow]:
    """One row a bin: of all events together (``pooled``), of whole combinations (``joint``), then of each event."""
    found = judged_part(record)["calibration"]
    named = [("pooled", found["pooled"]), ("joint", found["joint"])]
    named += [(event["name"], event["reliability"]) for event in found["events"]]
    return [
        {"kind": "event" if place > 1 else name, "event": name if place > 1 else None, **row}
        for place, (name, one) in enumerate(named)
        for row in one["bins"]
    ]


def event_rows(record: Record) -> list[TableRow]:
    """One row an event: how often stated, how often observed, and its calibration error, the largest first."""
    rows = [
        {
            "event": event["name"],
            "predicted": event["predicted"],
            "observed": event["observed"],
            "ece": event["reliability"]["ece"],
            "low": event["reliability"]["ece_low"],
            "high": event["reliability"]["ece_high"],
        }
        for event in judged_part(record)["calibration"]["events"]
    ]
    return sorted(rows, key=lambda row: -row["ece"])


def coverage_rows(record: Record) -> list[TableRow]:
    """One row a level: stated, observed with its interval, and whether chance explains the difference."""
    return [
        {**row, "explained": row["low"] <= row["level"] <= row["high"]}
        for row in judged_part(record)["calibration"]["coverage"]
    ]


def unseen_rows(table: Record) -> list[TableRow]:
    """One row a combination of `rank_unseen(…).to_json()`, the likeliest first."""
    rows = []
    for entry in table["entries"]:
        changes = [f"{change['item']}: {change['before']} → {change['after']}" for change in entry["changes"]]
        kept = (
            "rank",
            "probability",
            "low",
            "high",
            "plausibility",
            "odds_reference",
            "odds_random",
            "distance",
            "seen",
        )
        joined = {
            key: ", ".join(value) for key, value in (("combination", entry["labels"]), ("nearest", entry["nearest"]))
        }
        rows.append({**joined, **{key: entry[key] for key in kept}, "changes": "; ".join(changes)})
    return rows


def baseline_rows(record: Record) -> list[TableRow]:
    """One row a way of predicting: mean −log p in nats with its interval, and how much worse than the model it is."""
    e = judged_part(record)
    rows: list[TableRow] = []
    for name in ("model", "independent", "frequency", "neighbours", "reference"):
        key = "nll" if name == "model" else f"nll_{name}"
        if key not in e:  # a record of an earlier version
            continue
        low, high = e["intervals"][key]
        gap = [None, None, None] if name == "model" else e["differences"][name]
        keys = ("difference", "difference_low", "difference_high")
        rows.append({"predictor": name, "nll": e[key], "low": low, "high": high, **dict(zip(keys, gap, strict=True))})
    return rows
