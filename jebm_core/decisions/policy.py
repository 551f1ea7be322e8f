"""A policy: values, threshold, guarantee and what goes to a person, as one YAML file that says where it came from."""

import base64
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float

from jebm_core.decisions.conformal import Guarantee, guarantee
from jebm_core.decisions.escalation import MOST_POINTS, FarRows
from jebm_core.decisions.expected import Decisions, decide
from jebm_core.decisions.measuring import MeasuredDecisions
from jebm_core.decisions.values import ValueTable, read_yaml, values_of
from jebm_core.errors import SpecError
from jebm_core.fitted import FittedModel
from jebm_core.model import Context

FORMAT = 1
LOSSES = ("exact", "items")
REASONS = ("verdict", "far", "unsupported", "confidence")
"""Why a row goes to a person; of several, the first."""


@final
@dataclass(frozen=True)
class Policy:
    """What `make_policy` made.

    Attributes:
        verdict: of the model on the rows used; *do not trust* sends every row to a person.
        model_sha256: hash of the data that the model was fitted to. rows_name, rows_sha256: the file of the rows used.
    """

    values: ValueTable
    guarantee: Guarantee
    far: FarRows
    verdict: str
    model_sha256: str
    rows_name: str
    rows_sha256: str
    seed: int

    def to_record(self) -> dict[str, Any]:
        """The policy as its file holds it."""
        given, far = self.guarantee, self.far
        return {
            "format": FORMAT,
            "values": self.values.to_record(),
            "guarantee": {
                "words": given.words, "kind": given.kind, "loss": given.loss, "threshold": given.threshold,
                "alpha": given.alpha, "delta": given.delta, "n": given.n, "coverage": given.coverage,
                "risk": given.risk,
            },
            "escalation": {
                "neighbours": far.neighbours, "alpha": far.alpha,
                "threshold": far.threshold if math.isfinite(far.threshold) else None,
                "rows": len(far.points), "features": far.points.shape[1],
                "points": base64.b64encode(far.points.astype("<f4").tobytes()).decode("ascii"),
            },
            "provenance": {
                "verdict": self.verdict, "model_data_sha256": self.model_sha256, "rows": given.n,
                "rows_file": self.rows_name, "rows_sha256": self.rows_sha256, "seed": self.seed,
            },
        }  # fmt: skip

    def to_yaml(self) -> str:
        """The text of the file."""
        import yaml

        return yaml.safe_dump(self.to_record(), sort_keys=False, allow_unicode=True)


def make_policy(
    model: FittedModel,
    found: MeasuredDecisions,
    values: ValueTable,
    reference: Float[np.ndarray, "row feature"],
    *,
    loss: str = "exact",
    alpha: float = 0.1,
    delta: float | None = None,
    far_alpha: float = 0.01,
    verdict: str = "caution",
    rows_name: str = "",
    rows_sha256: str = "",
    seed: int = 0,
) -> Policy:
    """Choose the threshold on labelled rows that the fit has not seen.

    Args:
        found: decisions for those rows.
        reference: encoded features of rows that the model was fitted to, or of others like them.
        delta: with it the risk of answered rows is controlled (ltt), without it that of all rows (crc).

    Raises:
        SpecError: an unknown loss, or α, δ out of range.
    """
    if loss not in LOSSES:
        raise SpecError(
            "Loss: expected one of {known}, found {found!r}. Choose one of these.", known=", ".join(LOSSES), found=loss
        )
    given = guarantee(found.decisions.confidence(loss), found.loss(loss), loss, alpha, delta)
    far = FarRows.learn(reference, alpha=far_alpha, seed=seed)
    return Policy(values, given, far, verdict, model.record.data_sha256, rows_name, rows_sha256, seed)


def apply_policy(
    policy: Policy, model: FittedModel, context: Context, *, generator: torch.Generator | None = None
) -> tuple[Decisions, list[str]]:
    """The decision for each row, and why it goes to a person instead; "" where it doesn't.

    Raises:
        SpecError: the policy was made for another model.
    """
    require_same_model(policy, model)
    found = decide(model, context, policy.values, generator=generator)
    confident = found.confidence(policy.guarantee.loss) > policy.guarantee.threshold
    causes = {
        "verdict": np.full(len(found.y), policy.verdict == "do not trust"),
        "far": policy.far.is_far(context.x.cpu().numpy()),
        "unsupported": ~found.supported,
        "confidence": ~confident,  # also where the confidence is not a number
    }
    reasons = [next((name for name in REASONS if causes[name][row]), "") for row in range(len(found.y))]
    return found, reasons


def require_same_model(policy: Policy, model: FittedModel) -> None:
    """Refuse a policy that was made for another model.

    Raises:
        SpecError: fitted to other data, or with other features.
    """
    features = model.record.architecture.features
    if policy.model_sha256 != model.record.data_sha256 or policy.far.points.shape[1] != features:
        raise SpecError(
            "The policy was made for a model of other data (SHA-256 {expected} …, {points} features), found "
            "{found} … with {features}; make one for this model with jebm decide.",
            expected=policy.model_sha256[:12],
            points=policy.far.points.shape[1],
            found=model.record.data_sha256[:12],
            features=features,
        )


def read_policy(path: Path, model: FittedModel) -> Policy:
    """A policy from its file, for the model it was made for.

    Raises:
        SpecError: missing, no YAML, another format, damaged, or made for another model; names file and key.
    """
    record = read_yaml(path, "a policy, as jebm decide --out writes it")
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise SpecError(
            "{file}: expected a policy of format {expected}, found {found}; make it again with jebm decide.",
            file=path.name,
            expected=FORMAT,
            found=repr(record.get("format") if isinstance(record, dict) else record)[:40],
        )
    try:
        given, far, origin = record["guarantee"], record["escalation"], record["provenance"]
        policy = Policy(
            values_of(record["values"], model.record.schema, path.name),
            Guarantee(
                _one_of(given["kind"], ("crc", "ltt")), _one_of(given["loss"], LOSSES), _share(given["threshold"]),
                _share(given["alpha"]), _share(given["delta"]), int(given["n"]), _share(given["coverage"]),
                float(given["risk"]),
            ),
            FarRows(
                _points(far), int(far["neighbours"]), _share(far["alpha"]),
                math.inf if far["threshold"] is None else float(far["threshold"]),
            ),
            _one_of(origin["verdict"], ("trusted", "caution", "do not trust")),
            str(origin["model_data_sha256"]), str(origin["rows_file"]), str(origin["rows_sha256"]), int(origin["seed"]),
        )  # fmt: skip
    except SpecError:
        raise
    except KeyError as error:
        raise _damaged(path, f"no {error.args[0]!r}") from None
    except (TypeError, ValueError) as error:
        raise _damaged(path, str(error)[:100]) from None
    require_same_model(policy, model)
    return policy


def _damaged(path: Path, detail: str) -> SpecError:
    return SpecError(
        "{file}: expected a whole policy, found {detail}; make it again with jebm decide.",
        file=path.name,
        detail=detail,
    )


def _points(far: dict[str, Any]) -> np.ndarray:
    rows, features = int(far["rows"]), int(far["features"])
    numbers = np.frombuffer(base64.b64decode(far["points"], validate=True), dtype="<f4").astype(np.float32)
    if not 0 <= rows <= MOST_POINTS or len(numbers) != rows * features or not np.isfinite(numbers).all():
        raise ValueError("points that don't fit their number of rows and features")
    if features and not 0 < int(far["neighbours"]) <= rows:
        raise ValueError("fewer points than neighbours")
    return numbers.reshape(rows, features)


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{value!r} where a number from 0 to 1 belongs")
    return float(value)


def _one_of(value: object, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"{value!r} where one of {', '.join(known)} belongs")
    return str(value)
