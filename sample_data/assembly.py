"""Sample project 1: drive assemblies, one option in each of seven slots, and whether the acceptance test was passed."""

import numpy as np
import pandas as pd

from sample_data.design import ALWAYS, Column, Effect, Project, effects, options, scatter

CONTEXTS = (
    Column("x_ambient_temp_c", "Ambient temperature", "周囲温度", (), "°C", "℃", centre=22.0, scale=12.0),
    Column("x_peak_torque_nm", "Peak torque", "最大トルク", (), "N·m", "N・m", centre=85.0, scale=40.0),
    Column(
        "x_environment",
        "Environment",
        "使用環境",
        options("dry | Dry | 乾燥", "dusty | Dusty | 粉じん", "wet | Wet | 水濡れ"),
    ),
    Column(
        "x_line",
        "Assembly line",
        "組立ライン",
        options("line 1 | Line 1 | 第1ライン", "line 2 | Line 2 | 第2ライン", "line 3 | Line 3 | 第3ライン"),
    ),
)

SLOTS = (
    Column(
        "c_motor",
        "Motor",
        "モーター",
        options(
            "induction 0.75 kW | Induction motor 0.75 kW | 誘導モーター 0.75kW",
            "induction 1.5 kW | Induction motor 1.5 kW | 誘導モーター 1.5kW",
            "servo 0.75 kW | Servo motor 0.75 kW | サーボモーター 0.75kW",
            "servo 1.5 kW | Servo motor 1.5 kW | サーボモーター 1.5kW",
            "brushless 0.4 kW | Brushless motor 0.4 kW | ブラシレスモーター 0.4kW",
            "stepper 0.2 kW | Stepper motor 0.2 kW | ステッピングモーター 0.2kW",
        ),
    ),
    Column(
        "c_gearbox",
        "Gearbox",
        "減速機",
        options(
            "direct drive | Direct drive, no gearbox | 減速機なし(直結)",
            "spur | Spur gearbox | 平歯車",
            "helical | Helical gearbox | はすば歯車",
            "planetary | Planetary gearbox | 遊星歯車",
            "strain wave | Strain wave gearbox | 波動歯車",
            "worm | Worm gearbox | ウォームギヤ",
        ),
    ),
    Column(
        "c_controller",
        "Controller",
        "制御装置",
        options(
            "relay starter | Relay starter | 電磁開閉器",
            "frequency inverter | Frequency inverter | インバーター",
            "servo drive | Servo drive | サーボアンプ",
            "stepper driver | Stepper driver | ステッピングドライバー",
            "integrated drive | Integrated drive | 一体型ドライバー",
        ),
    ),
    Column(
        "c_housing",
        "Housing",
        "ハウジング",
        options(
            "cast iron | Cast iron | 鋳鉄",
            "die-cast aluminium | Die-cast aluminium | アルミダイカスト",
            "stainless steel | Stainless steel | ステンレス鋼",
            "welded steel | Welded steel | 溶接鋼板",
            "polymer | Polymer | 樹脂",
        ),
    ),
    Column(
        "c_seal",
        "Seal",
        "シール",
        options(
            "NBR lip | NBR lip seal | NBRリップシール",
            "FKM lip | FKM lip seal | FKMリップシール",
            "PTFE lip | PTFE lip seal | PTFEリップシール",
            "labyrinth | Labyrinth seal | ラビリンスシール",
            "mechanical face | Mechanical face seal | メカニカルシール",
        ),
    ),
    Column(
        "c_bearing",
        "Bearing",
        "軸受",
        options(
            "deep-groove ball | Deep-groove ball bearing | 深溝玉軸受",
            "angular contact | Angular contact ball bearing | アンギュラ玉軸受",
            "tapered roller | Tapered roller bearing | 円すいころ軸受",
            "cylindrical roller | Cylindrical roller bearing | 円筒ころ軸受",
            "hybrid ceramic | Hybrid ceramic bearing | ハイブリッドセラミック軸受",
        ),
    ),
    Column(
        "c_sensor",
        "Position sensor",
        "位置センサー",
        options(
            "no sensor | No sensor | センサーなし",
            "Hall | Hall sensor | ホールセンサー",
            "incremental encoder | Incremental encoder | インクリメンタルエンコーダー",
            "absolute encoder | Absolute encoder | アブソリュートエンコーダー",
            "resolver | Resolver | レゾルバー",
        ),
    ),
)

RESULT = Column("c_result", "Acceptance test", "受入試験", options("fail | Failed | 不合格", "pass | Passed | 合格"))

PROJECT = Project(
    name="assembly",
    kind="configurations",
    title={"en": "Drive assemblies: which untried combination works?", "ja": "駆動ユニット:未試行の組合せを見極める"},
    question={
        "en": "Which part combinations that were never built are likely to pass the acceptance test, and how likely?",
        "ja": "まだ組んだことのない部品の組合せのうち、受入試験に合格しそうなのはどれか。その確率はどのくらいか。",
    },
    description={
        "en": "Each drive assembly takes one option in each of seven slots. Design rules leave about a tenth of the "
        "combinations valid, and only a few hundred assemblies have been built and tested. The data are generated, so "
        "the true probability of every combination is known.",
        "ja": "駆動ユニットは7か所の部品をそれぞれ1つ選んで組み立てます。設計ルールを満たす組合せは全体の約1割で、"
        "実際に組んで試験したのは数百台だけです。データは人工的に生成したものなので、すべての組合せの真の確率が分かっています。",
    },
    contexts=CONTEXTS,
    outputs=(*SLOTS, RESULT),
)

# What engineers tend to build. Pairs that the rules forbid are left out: they would change nothing.
_PREFERENCE = """
always | c_motor=induction 0.75 kW | 0.8
always | c_motor=servo 0.75 kW | 1.4
always | c_motor=servo 1.5 kW | 1.0
always | c_motor=stepper 0.2 kW | -0.5
always | c_gearbox=planetary | 1.0
always | c_gearbox=helical | 0.6
always | c_gearbox=worm | -0.3
always | c_controller=frequency inverter | 0.8
always | c_controller=integrated drive | -0.5
always | c_housing=die-cast aluminium | 1.1
always | c_housing=cast iron | 0.5
always | c_seal=NBR lip | 1.0
always | c_seal=FKM lip | 0.6
always | c_bearing=deep-groove ball | 0.8
always | c_bearing=hybrid ceramic | -1.0
always | c_sensor=incremental encoder | 0.6
x_peak_torque_nm | c_motor=servo 1.5 kW | 1.3
x_peak_torque_nm | c_motor=induction 1.5 kW | 1.1
x_peak_torque_nm | c_motor=stepper 0.2 kW | -1.4
x_peak_torque_nm | c_motor=brushless 0.4 kW | -1.0
x_peak_torque_nm | c_housing=cast iron | 0.8
x_peak_torque_nm | c_housing=polymer | -0.8
x_peak_torque_nm | c_bearing=tapered roller | 0.8
x_ambient_temp_c | c_seal=FKM lip | 0.8
x_ambient_temp_c | c_seal=NBR lip | -0.6
x_environment=wet | c_housing=stainless steel | 1.9
x_environment=wet | c_seal=mechanical face | 1.3
x_environment=dusty | c_seal=labyrinth | 1.6
x_line=line 1 | c_gearbox=helical | 1.0
x_line=line 2 | c_motor=brushless 0.4 kW | 1.3
x_line=line 3 | c_sensor=absolute encoder | 1.1
always | c_motor=servo 0.75 kW & c_gearbox=planetary | 1.3
always | c_motor=servo 1.5 kW & c_gearbox=planetary | 1.0
always | c_motor=induction 1.5 kW & c_gearbox=helical | 1.3
always | c_motor=induction 0.75 kW & c_gearbox=worm | 1.4
always | c_motor=stepper 0.2 kW & c_gearbox=direct drive | 1.4
always | c_gearbox=strain wave & c_sensor=absolute encoder | 1.3
always | c_housing=stainless steel & c_seal=FKM lip | 1.1
always | c_housing=cast iron & c_bearing=tapered roller | 1.0
always | c_housing=die-cast aluminium & c_seal=NBR lip | 1.0
always | c_seal=PTFE lip | -0.4
always | c_housing=polymer | -0.2
always | c_bearing=cylindrical roller | -0.6
always | c_gearbox=strain wave | -0.8
always | c_sensor=Hall | -0.6
always | c_sensor=no sensor | 0.5
x_environment=wet | c_seal=labyrinth | -1.2
x_environment=dusty | c_seal=mechanical face | -0.8
always | c_controller=frequency inverter & c_bearing=deep-groove ball | -0.7
always | c_gearbox=helical & c_bearing=tapered roller | 1.0
always | c_gearbox=helical & c_bearing=cylindrical roller | -1.0
always | c_housing=welded steel & c_seal=mechanical face | -0.8
always | c_controller=frequency inverter & c_bearing=hybrid ceramic | 1.0
"""

# What makes the log-odds of passing: parts, parts under conditions, and pairs that help or hurt each other.
_SUCCESS = """
always | c_motor=servo 1.5 kW | 0.5
always | c_motor=stepper 0.2 kW | -0.7
always | c_gearbox=planetary | 0.9
always | c_gearbox=worm | -1.0
always | c_gearbox=strain wave | -0.5
always | c_controller=relay starter | -0.6
always | c_controller=servo drive | 0.5
always | c_housing=polymer | -1.3
always | c_housing=stainless steel | 0.6
always | c_seal=NBR lip | -0.9
always | c_seal=mechanical face | 0.7
always | c_bearing=deep-groove ball | -0.5
always | c_bearing=hybrid ceramic | 0.8
always | c_bearing=tapered roller | 0.4
always | c_sensor=Hall | -0.7
always | c_sensor=absolute encoder | 0.5
x_peak_torque_nm | always | -0.5
x_ambient_temp_c^2 | always | -0.15
x_environment=wet | always | -0.5
x_ambient_temp_c | c_seal=NBR lip | -0.8
x_ambient_temp_c | c_controller=integrated drive | -0.7
x_peak_torque_nm | c_housing=polymer | -0.8
x_peak_torque_nm | c_bearing=deep-groove ball | -0.6
x_peak_torque_nm | c_motor=servo 1.5 kW | 0.4
x_environment=wet | c_seal=labyrinth | -1.8
x_environment=wet | c_housing=stainless steel | 0.8
x_environment=dusty | c_seal=labyrinth | 1.0
x_environment=dusty | c_seal=mechanical face | -0.9
x_line=line 2 | c_gearbox=helical | -0.5
always | c_controller=frequency inverter & c_bearing=deep-groove ball | -1.2
always | c_controller=frequency inverter & c_bearing=hybrid ceramic | 0.9
always | c_motor=servo 0.75 kW & c_gearbox=planetary | 0.8
always | c_motor=induction 1.5 kW & c_housing=die-cast aluminium | -0.9
always | c_gearbox=helical & c_bearing=tapered roller | 1.0
always | c_gearbox=helical & c_bearing=cylindrical roller | -1.3
always | c_gearbox=strain wave & c_sensor=absolute encoder | 1.1
always | c_housing=stainless steel & c_seal=FKM lip | 0.8
always | c_housing=welded steel & c_seal=mechanical face | -1.1
always | c_motor=brushless 0.4 kW & c_sensor=Hall | 1.0
"""


def _every_option() -> list[str]:
    return [f"{slot.name}={option.value}" for slot in SLOTS for option in slot.options]


def preference(rng: np.random.Generator) -> list[Effect]:
    """Effects on the score of a configuration, before the rules."""
    return effects(_PREFERENCE) + scatter([ALWAYS], _every_option(), 0.3, rng)


def success(rng: np.random.Generator) -> list[Effect]:
    """Effects on the log-odds of passing, without the intercept."""
    return effects(_SUCCESS) + scatter([ALWAYS], _every_option(), 0.2, rng)


def contexts(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Orders as they come in: line 3 builds the heavier drives, and wet sites are cooler."""
    line = rng.choice(3, size=rows, p=[0.45, 0.35, 0.20])
    environment = rng.choice(3, size=rows, p=[0.55, 0.25, 0.20])
    torque = 85.0 + np.array([-10.0, 0.0, 25.0])[line] + 38.0 * rng.normal(size=rows)
    temperature = 22.0 + np.array([0.0, 4.0, -6.0])[environment] + 12.0 * rng.normal(size=rows)
    values = {
        "x_ambient_temp_c": np.clip(temperature.round(), -15, 50).astype(int),
        "x_peak_torque_nm": (np.clip(torque, 10, 200) / 5).round().astype(int) * 5,
        "x_environment": [CONTEXTS[2].options[i].value for i in environment],
        "x_line": [CONTEXTS[3].options[i].value for i in line],
    }
    return pd.DataFrame(values)
