"""Exact sums over what is valid, whatever it is compiled to: values with their gradients from one pass each way."""

from abc import ABC, abstractmethod
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor


class ExactSum(ABC):
    """A(θ) = log Σ_{y valid} exp⟨θ, φ(y)⟩ with its gradient E_θ[φ]."""

    @abstractmethod
    def log_partition_and_marginals(
        self, theta: Float[Tensor, "*batch statistic"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch statistic"]]:
        """Both, from one pass up and one down."""

    @abstractmethod
    def values(self, theta: Float[Tensor, "vector statistic"]) -> Float[Tensor, " vector"]:
        """A(θ) alone, in double precision, without a gradient."""

    @final
    def log_partition(self, theta: Float[Tensor, "*batch statistic"]) -> Float[Tensor, "*batch"]:
        """A(θ) in nats, differentiable once; −∞ where nothing valid has a finite weight."""
        flat = theta.reshape(-1, theta.shape[-1])
        if theta.requires_grad and torch.is_grad_enabled():
            value: Tensor = _LogPartition.apply(flat, self)  # pyright: ignore[reportAssignmentType]
        else:
            value = self.values(flat)
        return value.to(theta.dtype).reshape(theta.shape[:-1])

    @final
    def marginals(self, theta: Float[Tensor, "*batch statistic"]) -> Float[Tensor, "*batch statistic"]:
        """E_θ[φ]: the gradient of A."""
        return self.log_partition_and_marginals(theta)[1]


@final
class _LogPartition(torch.autograd.Function):
    """The value with its gradient, both found in the forward pass: then no layer outlives it."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, source: ExactSum) -> Tensor:
        value, expected = source.log_partition_and_marginals(theta)
        ctx.save_for_backward(expected)
        return value

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if torch.is_grad_enabled():  # only under create_graph=True; the marginals would pass for constants there
            raise NotImplementedError("A log-partition over rules has a first derivative only.")
        (expected,) = ctx.saved_tensors
        return grad_output.unsqueeze(-1) * expected, None
