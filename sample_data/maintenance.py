"""Sample project 2: which maintenance actions one visit needs, 14 actions that go together or rule each other out."""

import numpy as np
import pandas as pd

from sample_data.design import ALWAYS, Column, Effect, Project, effects, options, scatter

CONTEXTS = (
    Column(
        "x_machine_type",
        "Machine type",
        "機械の種類",
        options(
            "pump | Pump | ポンプ",
            "compressor | Compressor | 空気圧縮機",
            "conveyor | Conveyor | コンベヤー",
            "machine tool | Machine tool | 工作機械",
        ),
    ),
    Column("x_age_years", "Age", "使用年数", (), "years", "年", centre=9.0, scale=5.0),
    Column(
        "x_operating_hours",
        "Operating hours since last visit",
        "前回点検からの稼働時間",
        (),
        "h",
        "時間",
        centre=2000.0,
        scale=900.0,
    ),
    Column(
        "x_season",
        "Season",
        "季節",
        options("spring | Spring | 春", "summer | Summer | 夏", "autumn | Autumn | 秋", "winter | Winter | 冬"),
    ),
)

ACTIONS = (
    Column("y_change_oil", "Change oil", "潤滑油の交換"),
    Column("y_replace_filter", "Replace filter", "フィルターの交換"),
    Column("y_grease_bearing", "Grease bearing", "軸受への給脂"),
    Column("y_replace_bearing", "Replace bearing", "軸受の交換"),
    Column("y_adjust_belt", "Adjust belt tension", "ベルトの張り調整"),
    Column("y_replace_belt", "Replace belt", "ベルトの交換"),
    Column("y_replace_seal", "Replace seal", "シールの交換"),
    Column("y_align_shaft", "Align shaft", "軸の芯出し"),
    Column("y_tighten_bolts", "Tighten bolts", "ボルトの増し締め"),
    Column("y_clean_cooler", "Clean cooler", "冷却器の清掃"),
    Column("y_top_up_coolant", "Top up coolant", "冷却液の補充"),
    Column("y_calibrate_sensor", "Calibrate sensor", "センサーの校正"),
    Column("y_update_firmware", "Update firmware", "ファームウェアの更新"),
    Column("y_inspect_wiring", "Inspect wiring", "配線の点検"),
)

PROJECT = Project(
    name="maintenance",
    kind="subsets",
    title={"en": "Maintenance visits: which actions go together?", "ja": "保全作業:一緒に必要になる作業を予測する"},
    question={
        "en": "Which set of actions will the next visit need, so that parts and time can be planned?",
        "ja": "次回の点検ではどの作業がまとめて必要になるか。部品と時間を事前に手配できるか。",
    },
    description={
        "en": "Each row is one maintenance visit with the actions that were carried out, out of 14. Some actions go "
        "together, such as oil and filter; others replace each other, such as greasing and replacing a bearing. "
        "The data are generated, so the true probability of all 16,384 sets is known.",
        "ja": "1行が1回の保全作業で、14種類の作業のうち実施したものを記録しています。油とフィルターのように"
        "同時に行われやすい作業もあれば、軸受への給脂と軸受の交換のようにどちらか一方で済む作業もあります。"
        "データは人工的に生成したものなので、16,384通りすべての真の確率が分かっています。",
    },
    contexts=CONTEXTS,
    outputs=ACTIONS,
)

_EFFECTS = """
always | y_change_oil | -0.6
always | y_replace_filter | -1.0
always | y_grease_bearing | 0.2
always | y_replace_bearing | -1.6
always | y_adjust_belt | -0.8
always | y_replace_belt | -1.6
always | y_replace_seal | -1.6
always | y_align_shaft | -1.8
always | y_tighten_bolts | -0.7
always | y_clean_cooler | -1.1
always | y_top_up_coolant | -1.0
always | y_calibrate_sensor | -1.4
always | y_update_firmware | -1.8
always | y_inspect_wiring | -0.8
x_operating_hours | y_change_oil | 0.9
x_operating_hours | y_replace_filter | 0.5
x_operating_hours | y_replace_belt | 0.6
x_operating_hours | y_adjust_belt | 0.3
x_operating_hours | y_grease_bearing | 0.4
x_operating_hours^2 | y_replace_filter | 0.15
x_age_years | y_replace_bearing | 0.7
x_age_years | y_replace_seal | 0.6
x_age_years | y_inspect_wiring | 0.5
x_age_years | y_update_firmware | -0.7
x_machine_type=pump | y_replace_seal | 1.2
x_machine_type=pump | y_align_shaft | 0.7
x_machine_type=pump | y_adjust_belt | -1.8
x_machine_type=pump | y_replace_belt | -1.8
x_machine_type=compressor | y_replace_filter | 0.9
x_machine_type=compressor | y_clean_cooler | 0.9
x_machine_type=conveyor | y_adjust_belt | 1.5
x_machine_type=conveyor | y_replace_belt | 1.0
x_machine_type=conveyor | y_change_oil | -1.1
x_machine_type=conveyor | y_top_up_coolant | -2.2
x_machine_type=conveyor | y_clean_cooler | -1.4
x_machine_type=machine tool | y_calibrate_sensor | 1.3
x_machine_type=machine tool | y_update_firmware | 1.2
x_machine_type=machine tool | y_top_up_coolant | 0.9
x_season=summer | y_clean_cooler | 0.9
x_season=summer | y_top_up_coolant | 0.7
x_season=winter | y_grease_bearing | 0.5
x_season=winter | y_inspect_wiring | 0.4
always | y_change_oil & y_replace_filter | 2.2
always | y_replace_bearing & y_align_shaft | 2.0
always | y_clean_cooler & y_top_up_coolant | 1.5
always | y_calibrate_sensor & y_update_firmware | 1.8
always | y_replace_seal & y_change_oil | 1.1
always | y_replace_bearing & y_replace_seal | 0.9
always | y_tighten_bolts & y_align_shaft | 1.0
always | y_inspect_wiring & y_calibrate_sensor | 0.8
always | y_replace_belt & y_tighten_bolts | 0.7
always | y_grease_bearing & y_replace_bearing | -4.0
always | y_adjust_belt & y_replace_belt | -4.5
always | y_tighten_bolts & y_update_firmware | -0.9
always | y_grease_bearing & y_calibrate_sensor | -0.7
x_machine_type=pump | y_replace_seal & y_align_shaft | 1.2
x_machine_type=pump | y_replace_seal & y_top_up_coolant | 0.9
x_machine_type=compressor | y_replace_filter & y_clean_cooler | 1.2
x_machine_type=conveyor | y_replace_belt & y_align_shaft | 1.4
x_machine_type=machine tool | y_change_oil & y_top_up_coolant | 1.0
x_season=winter | y_clean_cooler & y_top_up_coolant | -1.0
x_age_years | y_replace_bearing & y_replace_seal | 0.5
x_operating_hours | y_change_oil & y_replace_filter | 0.4
"""


def score(rng: np.random.Generator) -> list[Effect]:
    """Effects on the score of a set of actions, without the shift that sets the average number of actions."""
    names = [action.name for action in ACTIONS]
    return effects(_EFFECTS) + scatter([ALWAYS, "x_age_years", "x_operating_hours"], names, 0.15, rng)


def contexts(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Visits over the year; machine tools are newer, conveyors run longer between visits."""
    machine = rng.choice(4, size=rows, p=[0.30, 0.20, 0.25, 0.25])
    age = np.array([10.0, 9.0, 11.0, 6.5])[machine] + 4.5 * rng.normal(size=rows)
    hours = np.array([1900.0, 2100.0, 2500.0, 1600.0])[machine] + 800.0 * rng.normal(size=rows)
    season = rng.choice(4, size=rows)
    values = {
        "x_machine_type": [CONTEXTS[0].options[i].value for i in machine],
        "x_age_years": np.clip(age, 0.5, 25.0).round().astype(int),
        "x_operating_hours": (np.clip(hours, 200.0, 5000.0) / 10).round().astype(int) * 10,
        "x_season": [CONTEXTS[3].options[i].value for i in season],
    }
    return pd.DataFrame(values)
