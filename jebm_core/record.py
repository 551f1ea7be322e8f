"""What a model folder's `model.json` holds: everything but tensors."""

from dataclasses import dataclass
from typing import Any, final

from jebm_core.recipes import Architecture
from jebm_core.settings import FitSettings
from jebm_core.tables import FeatureEncoder, OutputSchema

FORMAT = 2


@final
@dataclass(frozen=True)
class ModelRecord:
    """What `model.json` holds: everything but tensors.

    Attributes:
        interval: the 2.5 % and 97.5 % quantiles of τ − log Z on held-out rows, in nats: what a 95 % interval of
            log p is made from.
        summary: figures of the fit (rows, seconds, stop reason, verdict …) for people.
        rules: the rules of the space, as text; None without rules.
        checked: places of the demands that draws are checked against, since no diagram could hold them.
    """

    schema: OutputSchema
    encoder: FeatureEncoder
    features: tuple[str, ...]
    architecture: Architecture
    settings: FitSettings
    interval: tuple[float, float]
    data_name: str
    data_sha256: str
    versions: dict[str, str]
    summary: dict[str, Any]
    rules: str | None = None
    checked: tuple[int, ...] = ()

    @property
    def is_healthy(self) -> bool:
        """Whether training ended without a guard having stopped it; else its probabilities are not to be trusted."""
        return self.summary.get("healthy") is not False

    def to_json(self) -> dict[str, Any]:
        """A record that JSON can hold."""
        return {
            "format": FORMAT,
            "schema": self.schema.to_json(),
            "encoder": self.encoder.to_json(),
            "features": list(self.features),
            "architecture": self.architecture.to_json(),
            "settings": self.settings.to_json(),
            "interval": list(self.interval),
            "data_name": self.data_name,
            "data_sha256": self.data_sha256,
            "versions": self.versions,
            "summary": self.summary,
            "rules": self.rules,
            "checked": list(self.checked),
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "ModelRecord":
        """The record that `to_json` described."""
        return cls(
            OutputSchema.from_json(record["schema"]),
            FeatureEncoder.from_json(record["encoder"]),
            tuple(record["features"]),
            Architecture.from_json(record["architecture"]),
            FitSettings.from_json(record["settings"]),
            (record["interval"][0], record["interval"][1]),
            record["data_name"],
            record["data_sha256"],
            record["versions"],
            record["summary"],
            record.get("rules"),
            tuple(record.get("checked", ())),
        )
