"""Training of logistic regression, FM and FFM on sparse rows.

Shapes: B rows, S slots, F features, k latent dimensions.
"""

import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

import tadka.scoring.trainer_reference as plain_loops
from tadka.core.error import ConfigError, DataError
from tadka.core.native import use_native
from tadka.core.resource import format_bytes
from tadka.features.sparse import SparseRows
from tadka.scoring.metric import auc, log_loss

try:
    import tadka.scoring.trainer as native_loops
except ImportError:  # built without a compiler
    native_loops = None  # type: ignore[assignment]

Kind = Literal["linear", "fm", "ffm"]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Valid = tuple[SparseRows, npt.ArrayLike, npt.ArrayLike | None]

CHUNK_ROWS = 4096
"""Rows between two looks at signals, and that one thread takes at a time."""

_LINE_BYTES = 64
_PROGRESS_PERIOD_S = 0.05
_HOW_TO_BUILD = "Install tadka where a C compiler and the headers of Python are."
_FM_WIDTH = 0.1  # of the uniform start of FM; larger ones overfit the first epochs of small data


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a model learns.

    Args:
        optimizer: `"adagrad"`: steps shrink with the squared gradients that a parameter has seen.
            `"ftrl"`: the same with l1 that makes weights exactly 0; for linear models only.
        learning_rate: Above 0; alpha of FTRL.
        l1: At least 0, for FTRL only: a slot whose evidence stays below it weighs 0.
        l2: At least 0. AdaGrad adds `l2 * parameter` to the gradient of the parameters that a row
            touches, and leaves the others alone, as libffm does: rare slots are held less. FTRL
            applies it to the whole of what a slot has learnt. The bias is free of both.
        epochs: Passes over the rows, at least 1; the most, where validation rows are given.
        patience: Epochs in a row without a better validation log loss after which it stops, at
            least 1. Without validation rows it has no effect.
        seed: Of the order of rows and of the first latent parameters, in [0, 2^64).
        threads: Threads that learn at the same time; None for one a core. With 1 a run repeats
            bit for bit. More do not lock what they share, so that runs differ in the last digits.
        ftrl_beta: Above 0: damps FTRL's first steps.
        latent_scale: Bound of the uniform random start of latent parameters, above 0: in
            [0, scale) for ffm and [-scale, scale) for fm. None: 1 / sqrt(k) for ffm, 0.1 for fm.

    Raises:
        ConfigError: A value is not as said.

    Source: lock-free threads, Niu, Recht, Re and Wright 2011, "Hogwild!".
    """

    optimizer: Literal["adagrad", "ftrl"] = "adagrad"
    learning_rate: float = 0.2
    l1: float = 0.0
    l2: float = 2e-5
    epochs: int = 20
    patience: int = 2
    seed: int = 0
    threads: int | None = None
    ftrl_beta: float = 1.0
    latent_scale: float | None = None

    def __post_init__(self) -> None:
        if self.optimizer not in {"adagrad", "ftrl"}:
            raise ConfigError(f"'optimizer' is {self.optimizer!r}; it must be 'adagrad' or 'ftrl'.")
        numbers: list[tuple[str, float | None, bool]] = [
            ("learning_rate", self.learning_rate, True),
            ("l1", self.l1, False),
            ("l2", self.l2, False),
            ("ftrl_beta", self.ftrl_beta, True),
            ("latent_scale", self.latent_scale, True),
        ]
        for name, value, is_positive in numbers:
            if value is None and name == "latent_scale":
                continue
            is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            if not is_number or not _fits(float(value), is_positive):  # type: ignore[arg-type]
                bound = "above 0" if is_positive else "at least 0"
                raise ConfigError(f"{name!r} is {value!r}; it must be a finite number {bound}.")
        wholes: list[tuple[str, int | None, int, int]] = [
            ("epochs", self.epochs, 1, 1 << 31),
            ("patience", self.patience, 1, 1 << 31),
            ("seed", self.seed, 0, (1 << 64) - 1),
            ("threads", self.threads, 1, 1024),
        ]
        for name, whole, least, most in wholes:
            if whole is None and name == "threads":
                continue
            if (
                not isinstance(whole, int | np.integer)
                or isinstance(whole, bool)
                or not least <= whole <= most
            ):
                raise ConfigError(
                    f"{name!r} is {whole!r}; it must be a whole number from {least} to {most}."
                )
        if self.l1 > 0 and self.optimizer != "ftrl":
            raise ConfigError(f"'l1' is {self.l1}, which only optimizer 'ftrl' knows. Choose it.")


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One pass over the training rows.

    Args:
        number: From 1.
        train_log_loss: Weighted mean, in nats; every row is scored before it is learnt, so the
            first epoch is an honest estimate.
        valid_log_loss: On the validation rows after the pass; None without them.
        valid_auc: The same.
        seconds: Spent learning, validation not counted.
        rows_per_s: Rows learnt a second.
    """

    number: int
    train_log_loss: float
    valid_log_loss: float | None
    valid_auc: float | None
    seconds: float
    rows_per_s: float

    def __str__(self) -> str:
        parts = [f"epoch {self.number}: train log loss {self.train_log_loss:.5f}"]
        if self.valid_log_loss is not None:
            parts.append(f"valid log loss {self.valid_log_loss:.5f}, AUC {self.valid_auc:.5f}")
        return ", ".join([*parts, f"{self.rows_per_s:,.0f} rows/s"])


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What training gives.

    Args:
        parameters: Of the best epoch: `bias` float64 (1,), `linear` float32 (S,), and for fm
            `latent` (S, k) or for ffm `latent` (S, F, k).
        epochs: All that ran.
        best_epoch: Number of the epoch that the parameters are of: the one with the least
            validation log loss, or without validation rows the last.
    """

    parameters: dict[str, npt.NDArray[Any]]
    epochs: list[Epoch]
    best_epoch: int


def train(
    kind: Kind,
    rows: SparseRows,
    labels: npt.ArrayLike,
    *,
    weights: npt.ArrayLike | None = None,
    valid: Valid | None = None,
    dim: int = 4,
    normalize: bool = True,
    linear: bool = True,
    settings: Training | None = None,
    start: Mapping[str, npt.NDArray[Any]] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    native: bool | None = None,
) -> Fit:
    """Learns parameters from rows, which are visited in a new random order every epoch.

    Args:
        kind: `"linear"`, `"fm"` or `"ffm"`.
        rows: Training rows; a row without entries counts for the bias.
        labels: 0 or 1 (bool too), or -1 or 1, shape (B,).
        weights: How much each row counts: its gradient and its loss are multiplied. Finite, at
            least 0, shape (B,).
        valid: Rows, labels and weights (or None) to choose the best epoch by.
        dim: k, for fm and ffm.
        normalize: Whether ffm divides the pairs of a row by the sum of its squared values.
        linear: False leaves bias and linear weights of ffm at 0, as libffm has none.
        settings: How to learn.
        start: Parameters to start from, as `Fit.parameters`; what AdaGrad or FTRL had counted is
            not among them and starts anew. None starts from nothing.
        on_epoch: Called after every epoch.
        on_progress: Called now and then with rows learnt in this epoch and rows in all.
        native: Whether the compiled loops run; None where they are there and `TADKA_NATIVE` is not
            0. The NumPy ones give equal bits for one thread, and use one only.

    Returns:
        The parameters and the learning curve.

    Raises:
        ConfigError: A setting does not go with the kind, `start` or `valid` have other shapes, or
            the parameters do not fit into memory.
        DataError: There are no rows, lengths differ, a label, weight or value is not as said, all
            labels are equal (of the validation rows too), or the loss grew beyond all bounds.
    """
    settings = settings or Training()
    loops = _loops(native)
    _check_kind(kind, dim, settings, linear=linear)
    task = _Task.make(rows, labels, weights, "training")
    judged = None
    if valid is not None:
        if valid[0].num_slots != rows.num_slots or valid[0].num_features != rows.num_features:
            raise ConfigError(
                f"The validation rows have {valid[0].num_slots:,} slots and "
                f"{valid[0].num_features:,} features, the training rows {rows.num_slots:,} and "
                f"{rows.num_features:,}. Encode both with the same class."
            )
        judged = _Task.make(*valid, "validation")
    num_threads = settings.threads or os.cpu_count() or 1
    if loops is plain_loops:
        num_threads = 1
    state = _State(kind, rows, dim, settings, loops, normalize=normalize, has_linear=linear)
    if start is not None:
        state.begin_at(start)
    epochs: list[Epoch] = []
    best: tuple[float, int, dict[str, npt.NDArray[Any]]] | None = None
    order = np.empty(len(rows), np.int64)
    with np.errstate(all="ignore"), _Crew(num_threads) as crew:
        for number in range(1, settings.epochs + 1):
            loops.shuffle(order, (settings.seed + number * 0x9E3779B97F4A7C15) % (1 << 64))
            begin_s = time.perf_counter()
            loss = state.learn(task, order, crew, on_progress) / task.mass
            seconds = max(time.perf_counter() - begin_s, 1e-9)
            valid_log_loss = valid_auc = None
            if judged is not None:
                valid_log_loss, valid_auc = judged.judge(state.margins(judged, crew))
            epochs.append(
                Epoch(
                    number=number,
                    train_log_loss=loss,
                    valid_log_loss=valid_log_loss,
                    valid_auc=valid_auc,
                    seconds=seconds,
                    rows_per_s=len(rows) / seconds,
                )
            )
            if on_epoch is not None:
                on_epoch(epochs[-1])
            if valid_log_loss is not None:
                if best is None or valid_log_loss < best[0]:
                    best = (valid_log_loss, number, state.parameters())
                elif number - best[1] >= settings.patience:
                    break
        if best is None:
            best = (math.nan, len(epochs), state.parameters())
    return Fit(parameters=best[2], epochs=epochs, best_epoch=best[1])


@dataclass(frozen=True, eq=False)
class _Task:
    """Rows with labels that were checked."""

    rows: SparseRows
    labels: Floats
    weights: Floats | None
    mass: float  # sum of the weights
    longest: int

    @classmethod
    def make(
        cls, rows: SparseRows, labels: npt.ArrayLike, weights: npt.ArrayLike | None, name: str
    ) -> Self:
        if not len(rows):
            raise DataError(f"There are no {name} rows.")
        label_B = _to_labels(labels, name)
        weight_B = None if weights is None else _to_weights(weights, name)
        for what, array in (("labels", label_B), ("weights", weight_B)):
            if array is not None and array.shape != (len(rows),):
                raise DataError(
                    f"There are {len(rows):,} {name} rows and {len(array):,} {what}; there must "
                    "be as many of each."
                )
        counts = label_B if weight_B is None else label_B[weight_B > 0]
        if counts.min() == counts.max():
            raise DataError(
                f"All {name} rows{'' if weight_B is None else ' that weigh anything'} have label "
                f"{counts[0]:.0f}; rows of both labels are needed."
            )
        if not np.isfinite(rows.values).all():
            entry = int(np.argmin(np.isfinite(rows.values)))
            row = int(np.searchsorted(rows.starts, entry, side="right")) - 1
            raise DataError(
                f"Row {row:,} of the {name} rows has the value {rows.values[entry]!s} at slot "
                f"{rows.slots[entry]:,}; values must be finite."
            )
        mass = float(len(rows)) if weight_B is None else float(weight_B.sum(dtype=np.float64))
        return cls(rows, label_B, weight_B, mass, int(np.diff(rows.starts).max()))

    def judge(self, margins: Doubles) -> tuple[float, float]:
        if not np.isfinite(margins).all():
            raise _diverged()
        tail = np.exp(-np.abs(margins))
        scores = np.where(margins >= 0, 1, tail) / (1 + tail)
        return log_loss(self.labels, scores, self.weights), auc(self.labels, margins, self.weights)


class _State:
    """Parameters beside what the optimizer has counted, as the loops want them."""

    def __init__(
        self,
        kind: Kind,
        rows: SparseRows,
        dim: int,
        settings: Training,
        loops: Any,
        *,
        normalize: bool,
        has_linear: bool,
    ) -> None:
        self.kind = kind
        self.loops = loops
        self.settings = settings
        self.is_ftrl = settings.optimizer == "ftrl"
        self.normalize = normalize
        self.has_linear = has_linear
        self.bias = np.array([0, 0 if self.is_ftrl else 1], np.float64)
        width = {"linear": 0, "fm": 1, "ffm": rows.num_features}[kind]
        _check_memory(rows.num_slots, width, dim)
        self.linear = _aligned(rows.num_slots, 2)
        self.linear[:] = (0, 0) if self.is_ftrl else (0, 1)
        self.latent: Floats | None = None
        if width:
            self.latent = _aligned(rows.num_slots, width, 2, dim)
            scale = settings.latent_scale or (1 / math.sqrt(dim) if kind == "ffm" else _FM_WIDTH)
            low = 0.0 if kind == "ffm" else -scale
            loops.fill(self.latent.reshape(-1, 2, dim), settings.seed, low, scale)

    def begin_at(self, start: Mapping[str, npt.NDArray[Any]]) -> None:
        now = self.parameters()
        if set(start) != set(now):
            raise ConfigError(
                f"'start' has {', '.join(sorted(start)) or 'nothing'}; parameters of kind "
                f"{self.kind!r} are {', '.join(sorted(now))}."
            )
        for name, array in now.items():
            given = np.asarray(start[name])
            if given.shape != array.shape:
                raise ConfigError(
                    f"{name!r} of 'start' has shape {given.shape}; these rows and settings need "
                    f"{array.shape}."
                )
            if given.dtype.kind != "f" or not np.isfinite(given).all():
                raise ConfigError(
                    f"{name!r} of 'start' must be finite floats, not {given.dtype}"
                    f"{' with NaN or infinity' if given.dtype.kind == 'f' else ''}. Convert "
                    "half precision to float32 first."
                )
        self.bias[0] = start["bias"][0]
        weights = np.asarray(start["linear"], np.float32)
        if self.is_ftrl:  # the z that stands for these weights while n is 0
            s = self.settings
            pull = np.float32(s.ftrl_beta / s.learning_rate + s.l2)
            weights = np.asarray(-weights * pull - np.sign(weights) * np.float32(s.l1), np.float32)
        self.linear[:, 0] = weights
        if self.latent is not None:
            target = self.latent[:, 0, 0] if self.kind == "fm" else self.latent[:, :, 0]
            target[...] = start["latent"]

    def parameters(self) -> dict[str, npt.NDArray[Any]]:
        """A copy of them."""
        weights = self.linear[:, 0].copy()
        if self.is_ftrl:
            s = self.settings
            rates = (np.float32(x) for x in (s.learning_rate, s.l1, s.l2, s.ftrl_beta))
            weights = plain_loops.ftrl_weights(weights, self.linear[:, 1], *rates)
        arrays: dict[str, npt.NDArray[Any]] = {"bias": self.bias[:1].copy(), "linear": weights}
        if self.latent is not None:
            view = self.latent[:, 0, 0] if self.kind == "fm" else self.latent[:, :, 0]
            arrays["latent"] = view.copy()
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise _diverged()
        return arrays

    def learn(
        self,
        task: _Task,
        order: npt.NDArray[np.int64],
        crew: "_Crew",
        on_progress: Callable[[int, int], None] | None,
    ) -> float:
        """Sum of the losses of one epoch."""
        lock = threading.Lock()

        def work(first: int, last: int) -> float:
            # Threads share everything but the bias, which each row moves: they take a copy and add
            # what they have learnt, or its cache line would wander between cores at each row.
            with lock:
                before = self.bias.copy()
            bias = self.bias if crew.num_threads == 1 else before.copy()
            loss = self._run(
                task,
                bias,
                first,
                last,
                labels=task.labels,
                weights=task.weights,
                order=order,
                rate=self.settings.learning_rate,
                l1=self.settings.l1,
                l2=self.settings.l2,
            )
            if bias is not self.bias:
                with lock:
                    self.bias += bias - before
            if not math.isfinite(loss):
                raise _diverged()
            return loss

        return sum(crew.run(work, len(order), on_progress), 0.0)

    def margins(self, task: _Task, crew: "_Crew") -> Doubles:
        """Shape (B,); the same bits from any number of threads."""
        margins = np.empty(len(task.rows), np.float64)
        s = self.settings

        def work(first: int, last: int) -> float:
            return self._run(
                task,
                self.bias,
                first,
                last,
                margins=margins,
                rate=s.learning_rate,
                l1=s.l1,
                l2=s.l2,
            )

        crew.run(work, len(margins), None)
        return margins

    def _run(self, task: _Task, bias: Doubles, first: int, last: int, **given: Any) -> float:
        kinds = {
            "linear": plain_loops.FTRL if self.is_ftrl else 0,
            "fm": plain_loops.FM,
            "ffm": plain_loops.FFM,
        }
        rows = task.rows
        loss: float = self.loops.run(
            kinds[self.kind],
            rows.starts,
            rows.slots,
            rows.values,
            rows.features,
            bias,
            self.linear if self.has_linear else None,
            self.latent,
            first=first,
            last=last,
            longest=task.longest,
            normalize=self.normalize,
            beta=self.settings.ftrl_beta if self.is_ftrl else 0.0,
            **given,
        )
        return loss


class _Crew:
    """Threads that take chunks of rows in turn; one is the caller itself."""

    def __init__(self, num_threads: int) -> None:
        self.num_threads = num_threads
        self._pool = ThreadPoolExecutor(num_threads) if num_threads > 1 else None
        self._is_stopped = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_stopped.set()
        if self._pool is not None:
            self._pool.shutdown()

    def run(
        self,
        work: Callable[[int, int], float],
        num_rows: int,
        on_progress: Callable[[int, int], None] | None,
    ) -> list[float]:
        """What `work(first, last)` gave for each chunk, in their order."""
        spans = [
            (first, min(num_rows, first + CHUNK_ROWS)) for first in range(0, num_rows, CHUNK_ROWS)
        ]
        results = [0.0] * len(spans)
        lock = threading.Lock()
        numbers = iter(range(len(spans)))
        num_done = 0

        def take() -> None:
            nonlocal num_done
            try:
                while not self._is_stopped.is_set():
                    with lock:
                        number = next(numbers, None)
                    if number is None:
                        return
                    results[number] = work(*spans[number])
                    with lock:
                        num_done += spans[number][1] - spans[number][0]
                    if self._pool is None:
                        show()
            except BaseException:
                self._is_stopped.set()
                raise

        shown_s = time.perf_counter()

        def show() -> None:
            nonlocal shown_s
            now_s = time.perf_counter()
            if on_progress is not None and (
                now_s - shown_s >= _PROGRESS_PERIOD_S or num_done == num_rows
            ):
                shown_s = now_s
                on_progress(num_done, num_rows)

        if self._pool is None:
            take()
            return results
        running = {self._pool.submit(take) for _ in range(min(self.num_threads, len(spans)))}
        while running:  # this thread stays free for Ctrl-C
            finished, running = wait(running, _PROGRESS_PERIOD_S, FIRST_COMPLETED)
            for future in finished:
                future.result()
            if running or finished:
                show()
        return results


def _loops(native: bool | None) -> Any:
    if native and native_loops is None:
        raise ConfigError(f"The compiled loops were asked for but are not there. {_HOW_TO_BUILD}")
    is_native = use_native(native_loops) if native is None else native
    return native_loops if is_native else plain_loops


def _check_kind(kind: str, dim: int, settings: Training, *, linear: bool) -> None:
    if kind not in {"linear", "fm", "ffm"}:
        raise ConfigError(f"Kind {kind!r} is unknown; it must be 'linear', 'fm' or 'ffm'.")
    if not isinstance(dim, int | np.integer) or isinstance(dim, bool) or not 1 <= dim <= 1024:
        raise ConfigError(f"'dim' is {dim!r}; it must be a whole number from 1 to 1024.")
    if settings.optimizer == "ftrl" and kind != "linear":
        raise ConfigError(
            f"Optimizer 'ftrl' learns linear models; {kind!r} needs 'adagrad'. Change one of them."
        )
    if not linear and kind != "ffm":
        raise ConfigError(f"'linear' may be False for kind 'ffm' only, not for {kind!r}.")


def _to_labels(given: npt.ArrayLike, name: str) -> Floats:
    """0 and 1."""
    label_B = _to_floats(given, f"{name} labels")
    is_bad = (label_B != 0) & (np.abs(label_B) != 1)
    if not is_bad.any() and np.any(label_B == 0):
        is_bad = label_B == -1  # one notation or the other: a mixture has a third meaning
    if is_bad.any():
        row = int(np.argmax(is_bad))
        raise DataError(
            f"Row {row:,} of the {name} rows has the label {label_B[row]:g}; labels are 0 and 1, "
            "or -1 and 1."
        )
    return np.asarray(label_B > 0, np.float32)


def _to_weights(given: npt.ArrayLike, name: str) -> Floats:
    weight_B = np.asarray(_to_floats(given, f"{name} weights"), np.float32)
    is_bad = ~(np.isfinite(weight_B) & (weight_B >= 0))
    if is_bad.any():
        row = int(np.argmax(is_bad))
        raise DataError(
            f"Row {row:,} of the {name} rows has the weight {weight_B[row]!s}; weights are finite "
            "and at least 0."
        )
    if not weight_B.any():
        raise DataError(f"All {name} rows weigh 0; some must count.")
    return weight_B


def _to_floats(given: npt.ArrayLike, name: str) -> Doubles:
    try:
        array = np.asarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"The {name} are no numbers: {error}.") from error
    if array.ndim != 1:
        raise DataError(f"The {name} have {array.ndim} dimensions; they must have 1.")
    return array


def _check_memory(num_slots: int, width: int, dim: int) -> None:
    """Before anything is allocated: Linux promises memory that it does not have."""
    num_bytes = 8 * num_slots * (1 + width * dim)
    try:
        present = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on every system
        return
    if num_bytes > present:
        vectors = f" with {width:,} vectors of {dim}" if width else ""
        raise ConfigError(
            f"{num_slots:,} slots{vectors} need {format_bytes(num_bytes)} to learn, and this "
            f"machine has {format_bytes(present)}. Give hashed features smaller sizes, or lower "
            "'dim'."
        )


def _aligned(*shape: int) -> Floats:
    """Begins at a cache line, so that no parameter with its counter straddles two."""
    num_bytes = math.prod(shape) * 4
    memory = np.empty(num_bytes + _LINE_BYTES, np.uint8)
    skip = -memory.ctypes.data % _LINE_BYTES
    return memory[skip : skip + num_bytes].view(np.float32).reshape(shape)


def _fits(value: float, is_positive: bool) -> bool:
    return math.isfinite(value) and (value > 0 if is_positive else value >= 0)


def _diverged() -> DataError:
    return DataError(
        "Training diverged: the loss or a parameter is no finite number any more. Lower "
        "'learning_rate', or bring the values of the rows to a scale near 1."
    )
