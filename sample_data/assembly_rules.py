"""The design rules of the drive assemblies, and the files in which people and other tools read them."""

import re
from collections.abc import Sequence
from typing import Literal

from sample_data.assembly import SLOTS
from sample_data.design import Rule

_INDUCTION = ["induction 0.75 kW", "induction 1.5 kW"]
_SERVO = ["servo 0.75 kW", "servo 1.5 kW"]

RULES = (
    Rule(
        "induction-control",
        {"c_motor": _INDUCTION},
        "requires",
        {"c_controller": ["relay starter", "frequency inverter"]},
        "An induction motor needs a relay starter or a frequency inverter.",
        "誘導モーターには、電磁開閉器かインバーターが必要です。",
    ),
    Rule(
        "servo-control",
        {"c_motor": _SERVO},
        "requires",
        {"c_controller": ["servo drive"]},
        "A servo motor needs a servo drive.",
        "サーボモーターには、サーボアンプが必要です。",
    ),
    Rule(
        "brushless-control",
        {"c_motor": ["brushless 0.4 kW"]},
        "requires",
        {"c_controller": ["servo drive", "integrated drive"]},
        "A brushless motor needs a servo drive or an integrated drive.",
        "ブラシレスモーターには、サーボアンプか一体型ドライバーが必要です。",
    ),
    Rule(
        "stepper-control",
        {"c_motor": ["stepper 0.2 kW"]},
        "requires",
        {"c_controller": ["stepper driver", "integrated drive"]},
        "A stepper motor needs a stepper driver or an integrated drive.",
        "ステッピングモーターには、ステッピングドライバーか一体型ドライバーが必要です。",
    ),
    Rule(
        "servo-feedback",
        {"c_motor": _SERVO},
        "excludes",
        {"c_sensor": ["no sensor", "Hall"]},
        "A servo motor can't run without an encoder or a resolver.",
        "サーボモーターは、エンコーダーかレゾルバーなしでは運転できません。",
    ),
    Rule(
        "brushless-feedback",
        {"c_motor": ["brushless 0.4 kW"]},
        "excludes",
        {"c_sensor": ["no sensor"]},
        "A brushless motor can't run without a position sensor.",
        "ブラシレスモーターは、位置センサーなしでは運転できません。",
    ),
    Rule(
        "relay-feedback",
        {"c_controller": ["relay starter"]},
        "requires",
        {"c_sensor": ["no sensor"]},
        "A relay starter has no input for a position sensor.",
        "電磁開閉器には、位置センサーの入力がありません。",
    ),
    Rule(
        "integrated-resolver",
        {"c_controller": ["integrated drive"]},
        "excludes",
        {"c_sensor": ["resolver"]},
        "An integrated drive can't read a resolver.",
        "一体型ドライバーは、レゾルバーの信号を読み取れません。",
    ),
    Rule(
        "strain-wave-motor",
        {"c_gearbox": ["strain wave"]},
        "excludes",
        {"c_motor": _INDUCTION},
        "A strain wave gearbox isn't used with an induction motor.",
        "波動歯車は、誘導モーターとは組み合わせません。",
    ),
    Rule(
        "worm-thrust",
        {"c_gearbox": ["worm"]},
        "requires",
        {"c_bearing": ["angular contact", "tapered roller"]},
        "A worm gearbox needs a bearing that takes thrust: angular contact or tapered roller.",
        "ウォームギヤには、軸方向の荷重を受けられるアンギュラ玉軸受か円すいころ軸受が必要です。",
    ),
    Rule(
        "worm-motor",
        {"c_gearbox": ["worm"]},
        "excludes",
        {"c_motor": ["brushless 0.4 kW", "stepper 0.2 kW"]},
        "A worm gearbox loses too much for a brushless or stepper motor.",
        "ウォームギヤは損失が大きく、ブラシレスモーターやステッピングモーターでは力が足りません。",
    ),
    Rule(
        "strain-wave-bearing",
        {"c_gearbox": ["strain wave"]},
        "excludes",
        {"c_bearing": ["tapered roller", "cylindrical roller"]},
        "A strain wave gearbox has no room for roller bearings.",
        "波動歯車には、ころ軸受を収める場所がありません。",
    ),
    Rule(
        "polymer-power",
        {"c_housing": ["polymer"]},
        "excludes",
        {"c_motor": ["induction 1.5 kW", "servo 1.5 kW"]},
        "A polymer housing doesn't carry a 1.5 kW motor.",
        "樹脂ハウジングには、1.5kWのモーターを載せられません。",
    ),
    Rule(
        "polymer-seal",
        {"c_housing": ["polymer"]},
        "excludes",
        {"c_seal": ["mechanical face", "labyrinth"]},
        "A polymer housing takes lip seals only.",
        "樹脂ハウジングに使えるのは、リップシールだけです。",
    ),
    Rule(
        "stainless-nbr",
        {"c_housing": ["stainless steel"]},
        "excludes",
        {"c_seal": ["NBR lip"]},
        "A stainless steel housing is made to be washed down, which an NBR lip seal doesn't survive.",
        "ステンレス鋼のハウジングは洗浄を前提とするため、NBRリップシールは使えません。",
    ),
    Rule(
        "stepper-iron",
        {"c_motor": ["stepper 0.2 kW"]},
        "excludes",
        {"c_housing": ["cast iron", "welded steel"]},
        "A stepper motor isn't mounted in a cast iron or welded steel housing.",
        "ステッピングモーターは、鋳鉄や溶接鋼板のハウジングには取り付けません。",
    ),
    Rule(
        "inverter-feedback",
        {"c_controller": ["frequency inverter"]},
        "excludes",
        {"c_sensor": ["absolute encoder", "resolver"]},
        "A frequency inverter reads neither an absolute encoder nor a resolver.",
        "インバーターは、アブソリュートエンコーダーとレゾルバーの信号を読み取れません。",
    ),
    Rule(
        "direct-roller",
        {"c_gearbox": ["direct drive"]},
        "excludes",
        {"c_bearing": ["tapered roller"]},
        "A drive without a gearbox is too fast for tapered roller bearings.",
        "減速機なしでは回転が速く、円すいころ軸受は使えません。",
    ),
    Rule(
        "direct-servo-seal",
        {"c_gearbox": ["direct drive"], "c_motor": _SERVO},
        "excludes",
        {"c_seal": ["mechanical face"]},
        "A direct-drive servo motor is too fast for a mechanical face seal.",
        "減速機なしのサーボモーターは回転が速く、メカニカルシールは使えません。",
    ),
)


def dimacs() -> str:
    """The rules as a DIMACS file: one variable for each option, one option in each slot, one clause for each breach.

    A clause forbids one pair (or triple) of options; ``c N slot=option`` lines name the variables.
    """
    names = [f"{slot.name}={option.value}" for slot in SLOTS for option in slot.options]
    number = {name: i for i, name in enumerate(names, start=1)}
    clauses: list[list[int]] = []
    for slot in SLOTS:
        own = [number[f"{slot.name}={option.value}"] for option in slot.options]
        clauses.append(own)
        clauses += [[-a, -b] for i, a in enumerate(own) for b in own[i + 1 :]]
    for rule in RULES:
        premises: list[list[int]] = [[]]
        for slot, values in rule.when.items():
            premises = [[*premise, -number[f"{slot}={value}"]] for premise in premises for value in values]
        for slot, values in rule.then.items():
            heads = [number[f"{slot}={value}"] for value in values]
            if rule.kind == "requires":
                clauses += [[*premise, *heads] for premise in premises]
            else:
                clauses += [[*premise, -head] for premise in premises for head in heads]
    lines = [f"c {i} {name}" for name, i in number.items()]
    lines.append(f"p cnf {len(names)} {len(clauses)}")
    lines += [" ".join(map(str, clause)) + " 0" for clause in clauses]
    return "\n".join(lines) + "\n"


Language = Literal["en", "ja"]


def text(lang: Language, notes: Language | None = None) -> str:
    """The rules as jebm reads them, one a line, each beneath its sentence.

    Args:
        lang: of the file whose columns and options the rules name.
        notes: language of the sentences; that of the file where it is left out.
    """
    notes = notes or lang
    heading = {"en": "# Design rules of the drive assemblies", "ja": "# 駆動ユニットの設計ルール"}[notes]
    lines = [heading]
    for rule in RULES:
        when = " and ".join(_chosen(slot, values, lang) for slot, values in rule.when.items())
        then = " and ".join(
            _chosen(slot, values, lang, avoided=rule.kind == "excludes") for slot, values in rule.then.items()
        )
        lines += ["", f"# {rule.ja if notes == 'ja' else rule.en}", f"if {when} then {then}"]
    return "\n".join(lines) + "\n"


def _chosen(name: str, values: Sequence[str], lang: Language, *, avoided: bool = False) -> str:
    """One slot with one of its options, or with none of them."""
    slot = next(slot for slot in SLOTS if slot.name == name)
    called = (slot.name if lang == "en" else slot.japanese_name()).removeprefix("c_")
    options = [option.value if lang == "en" else option.ja for option in slot.options if option.value in values]
    shown = [option if re.fullmatch(r"[^\W\d][\w.\-]*", option) else f'"{option}"' for option in options]
    if len(shown) == 1:
        return f"{called} {'!=' if avoided else '='} {shown[0]}"
    return f"{called} {'not in' if avoided else 'in'} {{{', '.join(shown)}}}"
