"""The model that every method of stream_fm trains, unchanged.

Shapes: B rows of a batch, F fields (8), K factors (16).
"""

import time
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from fm.ratings import FIELDS

NUM_FACTORS = 16
LEARNING_RATE = 0.05


class FactorizationMachine(torch.nn.Module):
    """Rendle 2010, second order, by the sum-of-squares identity."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        size = sum(FIELDS.values())
        self.bias = torch.nn.Parameter(torch.tensor(3.5))
        self.linear = torch.nn.Embedding(size, 1)
        self.factors = torch.nn.Embedding(size, NUM_FACTORS)
        torch.nn.init.zeros_(self.linear.weight)
        torch.nn.init.normal_(self.factors.weight, std=0.05)

    def forward(self, ids_BF: torch.Tensor, values_BF: torch.Tensor) -> torch.Tensor:
        v_BFK = self.factors(ids_BF) * values_BF[..., None]
        sum_BK = v_BFK.sum(dim=1)
        pairs_B = 0.5 * (sum_BK.square() - v_BFK.square().sum(dim=1)).sum(dim=1)
        return self.bias + (self.linear(ids_BF)[..., 0] * values_BF).sum(dim=1) + pairs_B


class Learner:
    """The model, its optimizer, and an ordinary training loop that keeps the time."""

    def __init__(self) -> None:
        # Batches arrive read-only from several methods; torch warns, and nothing writes to them.
        warnings.filterwarnings("ignore", message=".*not writable.*")
        torch.set_num_threads(1)
        self.model = FactorizationMachine()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=LEARNING_RATE)
        # torch loads parts of itself at the first step: that belongs to the start-up.
        for parameter in self.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.rows = self.batches = 0
        self.squared_error = 0.0
        self.step_s = self.step_cpu_s = 0.0
        self.first_at = self.last_at = 0.0

    def fit(self, batches: Iterable[Mapping[str, Any]]) -> None:
        """One step for each batch."""
        for batch in batches:
            self.step(batch)

    def step(self, batch: Mapping[str, Any]) -> None:
        """One step of SGD; arrays and tensors are equally welcome."""
        start_at, start_cpu_s = time.perf_counter(), time.thread_time()
        self.first_at = self.first_at or start_at
        label_B = torch.as_tensor(batch["label"])
        predicted_B = self.model(torch.as_tensor(batch["ids"]), torch.as_tensor(batch["values"]))
        loss = torch.nn.functional.mse_loss(predicted_B, label_B)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.rows += len(label_B)
        self.batches += 1
        self.squared_error += float(loss.detach()) * len(label_B)
        self.last_at = time.perf_counter()
        self.step_s += self.last_at - start_at
        self.step_cpu_s += time.thread_time() - start_cpu_s

    def outcome(self) -> dict[str, float]:
        """Figures of the consumer."""
        return {
            "rows": self.rows,
            "batches": self.batches,
            "loss": self.squared_error / max(1, self.rows),
            "step_s": self.step_s,
            "step_cpu_s": self.step_cpu_s,
            "first_at": self.first_at,
            "last_at": self.last_at,
        }
