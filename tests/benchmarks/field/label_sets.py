"""Sets of labels that hold a promised share of the true ones, by conformal risk control on rows set aside.

A set holds the labels whose score is at least a threshold; the loss of a row is the share of its labels that the set
misses, which only grows with the threshold. Angelopoulos, Bates, Fisch, Lei, Schuster, ICLR 2024.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tests.benchmarks.field.chains import fit_chains
from tests.benchmarks.field.data import Rows
from tests.benchmarks.field.independent import fit_forest

if TYPE_CHECKING:
    from jebm_core.fitted import FittedModel
    from jebm_core.model import Context

GRID = 0.002
"""Steps between the thresholds that MAPIE tries; it does so by 0.01 where it is not told."""

Scores = Callable[[np.ndarray], np.ndarray]


def forest_scores(train: Rows, seed: int) -> Scores:
    """Probabilities of each label by a random forest."""
    predict = fit_forest(train, seed)
    return lambda x: predict(x).marginals()


def chain_scores(train: Rows, seed: int) -> Scores:
    """Probabilities of each label by an ensemble of classifier chains."""
    predict = fit_chains(train, seed)
    return lambda x: predict(x).marginals()


def sets_by_mapie(scores: Scores, calibration: Rows, x: np.ndarray, recall: float) -> np.ndarray:
    """MAPIE's sets [row, label]."""
    from mapie.risk_control import MultiLabelClassificationController

    controller = MultiLabelClassificationController(
        scores, risk="recall", method="crc", target_level=recall, predict_params=np.arange(0, 1, GRID)
    )
    return controller.calibrate(calibration.x, calibration.y).predict(x)[:, :, 0]


def sets_by_ours(known: np.ndarray, truth: np.ndarray, scores: np.ndarray, recall: float) -> np.ndarray:
    """Sets [row, label] by this project's conformal risk control, from scores of rows with known labels.

    Its control counts a loss for each case that it leaves above a threshold, here a label that is left out; each true
    label costs its row's share. It divides by the number of cases and one, so that α is given by rows instead.
    """
    from jebm_core.decisions.conformal import control_risk

    row, label = np.nonzero(truth)
    alpha = (1 - recall) * (len(truth) + 1) / (len(row) + 1)
    return 1 - scores <= control_risk(1 - known[row, label], 1 / truth.sum(1)[row], alpha)


def expected_shares(model: "FittedModel", context: "Context") -> np.ndarray:
    """E[y_i / |y|] [row, label]: what label i adds to the expected share of true labels in a set.

    The smallest mean set of a given expected share takes the labels with the largest of these; marginals are not enough
    for that, since a label counts for more where it comes with few others.
    """
    import torch

    parts = []
    for _, draws in model.weighted_draws(context, generator=torch.Generator().manual_seed(0)):
        weight = draws.log_weight.exp().T
        y = draws.y[:, 0] if draws.listed else draws.y
        share = y / y.sum(-1, keepdim=True).clamp_min(1)
        parts.append(weight @ share if draws.listed else torch.einsum("bm,mbs->bs", weight, share))
    return torch.cat(parts).double().numpy()


def recall_and_size(truth: np.ndarray, inside: np.ndarray) -> dict[str, np.ndarray]:
    """The share of each row's labels that its set holds (1 of a row without any), and how many labels the set has."""
    count = truth.sum(1)
    held = (truth * inside).sum(1)
    return {"recall": np.where(count > 0, held / np.maximum(count, 1), 1.0), "size": inside.sum(1).astype(np.float64)}
