"""Sample project 3: in which order a purchasing department prefers six suppliers for one order."""

import numpy as np
import pandas as pd

from sample_data.design import ALWAYS, Column, Effect, Project, effects, options, scatter

CONTEXTS = (
    Column("x_order_volume", "Order volume", "発注数量", (), "pieces", "個", centre=7.3, scale=1.1, log=True),
    Column(
        "x_lead_time_days", "Days until delivery is due", "納期までの日数", (), "days", "日", centre=21.0, scale=10.0
    ),
    Column(
        "x_quality_requirement",
        "Quality requirement",
        "品質要求",
        options("standard | Standard | 標準", "high | High | 高", "critical | Safety-critical | 重要保安部品"),
    ),
    Column(
        "x_region",
        "Delivery region",
        "納入地域",
        options("east | East | 東部", "west | West | 西部", "overseas | Overseas | 海外"),
    ),
)

SUPPLIERS = tuple(Column(f"r_supplier_{c.lower()}", f"Supplier {c}", f"仕入先{c}") for c in "ABCDEF")

PROJECT = Project(
    name="suppliers",
    kind="rankings",
    title={"en": "Suppliers: who comes first for this order?", "ja": "仕入先の選定:この案件ではどこを優先するか"},
    question={
        "en": "In which order will the purchasing department prefer the six suppliers, and how settled is that order?",
        "ja": "6社の仕入先を、購買部門はこの案件でどの順に優先するか。その順位はどの程度確かか。",
    },
    description={
        "en": "Each row is one order with the ranking of six suppliers that the purchasing department gave, 1 being "
        "the most preferred. Volume, time, quality and region change who comes first. The data are generated, so the "
        "true probability of all 720 rankings is known.",
        "ja": "1行が1件の発注で、購買部門が付けた6社の順位(1が最優先)を記録しています。数量・納期・品質・地域によって"
        "優先される仕入先が変わります。データは人工的に生成したものなので、720通りすべての真の確率が分かっています。",
    },
    contexts=CONTEXTS,
    outputs=SUPPLIERS,
)

# `r_supplier_a` adds its nats for every place the supplier climbs; `r_supplier_a=1` adds them where it comes first.
_EFFECTS = """
always | r_supplier_a | 0.21
always | r_supplier_b | 0.14
always | r_supplier_c | 0.35
always | r_supplier_d | -0.07
always | r_supplier_e | -0.21
always | r_supplier_f | -0.42
x_order_volume | r_supplier_a | 0.49
x_order_volume | r_supplier_d | -0.35
x_lead_time_days | r_supplier_b | -0.49
x_lead_time_days | r_supplier_f | 0.35
x_quality_requirement=high | r_supplier_c | 0.28
x_quality_requirement=critical | r_supplier_c | 0.7
x_quality_requirement=critical | r_supplier_a | -0.49
x_quality_requirement=critical | r_supplier_d | 0.28
x_region=east | r_supplier_d | 0.49
x_region=west | r_supplier_e | 0.56
x_region=overseas | r_supplier_f | 0.84
x_region=overseas | r_supplier_b | -0.35
always | r_supplier_c=1 | 0.7
always | r_supplier_b=2 | 0.56
always | r_supplier_f=6 | 0.7
always | r_supplier_e=3 | 0.42
x_order_volume | r_supplier_a=1 | 0.56
x_quality_requirement=critical | r_supplier_a=6 | 0.84
"""


def score(rng: np.random.Generator) -> list[Effect]:
    """Effects on the score of a ranking: places climbed, and particular places."""
    places = [f"{s.name}={place}" for s in SUPPLIERS for place in range(1, len(SUPPLIERS) + 1)]
    return effects(_EFFECTS) + scatter([ALWAYS], places, 0.15, rng)


def contexts(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Orders; large ones leave more time, and safety-critical ones are the smallest group."""
    log_volume = 7.3 + 1.1 * rng.normal(size=rows)
    days = 21.0 + 3.0 * (log_volume - 7.3) + 9.5 * rng.normal(size=rows)
    quality = rng.choice(3, size=rows, p=[0.50, 0.32, 0.18])
    region = rng.choice(3, size=rows, p=[0.42, 0.38, 0.20])
    values = {
        "x_order_volume": (np.exp(np.clip(log_volume, 4.6, 10.0)) / 10).round().astype(int) * 10,
        "x_lead_time_days": np.clip(days, 3.0, 60.0).round().astype(int),
        "x_quality_requirement": [CONTEXTS[2].options[i].value for i in quality],
        "x_region": [CONTEXTS[3].options[i].value for i in region],
    }
    return pd.DataFrame(values)
