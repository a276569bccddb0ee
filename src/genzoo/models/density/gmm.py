"""A mixture of Gaussians, fitted by expectation-maximization over passes of the data."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System
from genzoo.nn import draws
from genzoo.nn.checks import check_data
from genzoo.nn.dequantize import cell_centre, cell_variance, discrete_log_prob, quantize
from genzoo.nn.normal import add_moments, colour, covariance_matrix, log_det, precision_root, precision_trace, whiten
from genzoo.nn.whitening import Whitening, calibrate_points, finish_points_calibration, points_unscaled, scale_for

_NEGLIGIBLE = 1e-14
"""Responsibilities below this are left out of the M-step. In many dimensions nearly all are, which makes the step as cheap
as one Gaussian's; all of a million points together weigh less than 1e-8 of one."""

_MATRIX_ENTRIES = 2**28
"""Most entries of all covariance matrices: 2 GiB of float64, and there are three sets of them."""


class GMM(System):
    """A Gaussian mixture of images or points, by EM with a k-means++ start (Dempster, Laird and Rubin 1977).

    The first pass draws `start_points` examples without replacement, uniformly over the whole pass; k-means++ and Lloyd's
    steps on them give the means and weights, and their pooled within-cluster covariance is every component's first one.
    Every further pass is one EM iteration over all data in batches: responsibilities, then weighted moments in float64,
    each batch centred on its own mean and merged. After convergence the next restart begins; the best one is kept.

    Points are mixed in units of the training set's standard deviations, from its mean, which one look through the data gives before the
    first pass: so the units of a column change neither the start nor what `ridge` means. A "spherical" component is a sphere there.

    Images are scaled to [0, 1] and dequantized uniformly, whose variance 1/(12·levels²) enters in closed form:
    log Σ_k π_k exp(E_u log N_k(x + u)) bounds E_u log p(x + u) from below, because log-sum-exp is convex. `log_prob` of an
    image is this bound, without randomness; of points it is the exact log-density.

    `ridge` acts like more of the same noise: M-step covariances are the weighted moments plus ridge·I, which is exactly
    the maximizer of the log-likelihood with −½·ridge·tr(Σ_k⁻¹) in each component's logarithm. That "objective" never falls
    from pass to pass and decides on convergence; with ridge 0 on points it is the log-likelihood. A full covariance in many
    dimensions overfits the directions in which a component has few points: for images of hundreds of pixels take
    ridge=1e-3 or so (a standard deviation of 8 grey levels of 255), fewer components, or "diagonal".

    Args:
        shape: (C, H, W) of an image or (D,) of points.
        levels: Grey levels of a pixel.
        components: Number of Gaussians.
        covariance: Structure of each covariance; "tied" is one full matrix for all components.
        ridge: Added to every variance in each M-step: a share of the whole training set's (images: in squared units of [0, 1]).
        tol: A restart has converged when a pass gains less than this, in nats per example.
        max_passes: Most EM passes of one restart.
        restarts: Number of k-means++ starts.
        start_points: Most examples kept for the starts.
    """

    paper: ClassVar[str] = "doi:10.1111/j.2517-6161.1977.tb01600.x"
    data: ClassVar[str] = "image"
    presets: ClassVar = {"gmm-100": {"components": 100, "ridge": 1e-3}, "gmm-diagonal": {"covariance": "diagonal"}}
    tiny: ClassVar = {"shape": (1, 8, 8), "components": 2, "start_points": 64, "max_passes": 3, "ridge": 1e-2}
    defaults: ClassVar = {"steps": 100_000, "batch": 1000}

    likelihood: str = "exact for points; lower bound by uniform dequantisation for images"

    def __init__(
        self,
        shape: tuple[int, ...] = (1, 28, 28),
        *,
        levels: Annotated[int, Field(ge=2, le=256)] = 256,
        components: Annotated[int, Field(ge=1, le=4096)] = 10,
        covariance: Literal["spherical", "diagonal", "tied", "full"] = "full",
        ridge: Annotated[float, Field(ge=0, le=1e6)] = 1e-6,
        tol: Annotated[float, Field(ge=0, le=1e3)] = 1e-3,
        max_passes: Annotated[int, Field(ge=1, le=100_000)] = 100,
        restarts: Annotated[int, Field(ge=1, le=1000)] = 1,
        start_points: Annotated[int, Field(ge=1, le=1_000_000)] = 4096,
    ) -> None:
        super().__init__()
        check_data(shape, "gmm")
        if start_points < components:
            raise UserError(f"gmm: start_points={start_points} must be at least components={components}")
        self.shape, self.levels, self.components, self.covariance = tuple(shape), levels, components, covariance
        self.ridge, self.tol, self.max_passes, self.restarts = ridge, tol, max_passes, restarts
        self.is_image = len(shape) == 3
        self.dims, k = math.prod(shape), components
        self.scale = scale_for(self.shape)
        d = self.dims
        if covariance in ("tied", "full") and d * d * (1 if covariance == "tied" else k) > _MATRIX_ENTRIES:
            raise UserError(
                f"gmm: {k} {covariance} covariances of {d} dimensions do not fit in memory; give covariance=diagonal, "
                "fewer components or a smaller size"
            )
        if self.is_image:
            self.likelihood = "lower bound, uniform dequantisation in closed form"
        self.added = ridge + (cell_variance(levels) if self.is_image else 0.0)
        double: dict[str, Any] = {"dtype": torch.float64}
        structure = {"spherical": (k,), "diagonal": (k, d), "tied": (d, d), "full": (k, d, d)}[covariance]
        # Parameters: before the fit, moments of uniform pixels, or standard normals.
        centre, spread = (0.5, 1 / 12) if self.is_image else (0.0, 1.0)
        self.weights = nn.Buffer(torch.full((k,), 1 / k, **double))
        self.means = nn.Buffer(torch.full((k, d), centre, **double))
        one = precision_root(
            torch.eye(d, **double) * spread if covariance in ("tied", "full") else torch.tensor(spread)
        )
        self.root = nn.Buffer(one.double().expand(structure).clone())
        # The pass under way.
        self.seen = nn.Buffer(torch.zeros((), dtype=torch.int64))
        self.counts = nn.Buffer(torch.zeros(k, **double))
        self.running_means = nn.Buffer(torch.zeros(k, d, **double))
        self.running_scatter = nn.Buffer(torch.zeros(structure, **double))
        self.running_scores = nn.Buffer(torch.zeros(2, **double))  # sums of objective and log-likelihood
        # Where the fit stands. The seed comes from the global generator, like the first weights of a network.
        self.seed = nn.Buffer(torch.randint(2**31, ()))
        self.begun = nn.Buffer(torch.zeros((), dtype=torch.bool))
        self.done = nn.Buffer(torch.zeros((), dtype=torch.bool))
        self.restart = nn.Buffer(torch.zeros((), dtype=torch.int64))
        self.iteration = nn.Buffer(torch.zeros((), dtype=torch.int64))
        self.previous = nn.Buffer(torch.tensor(-math.inf, **double))
        self.start_keys = nn.Buffer(torch.full((start_points,), math.inf, **double))
        self.start_data = nn.Buffer(torch.zeros(start_points, d))
        if restarts > 1:
            self.best_objective = nn.Buffer(torch.tensor(-math.inf, **double))
            for name in ("weights", "means", "root"):
                self.register_buffer(f"best_{name}", getattr(self, name).clone())

    # ---- the density ---------------------------------------------------------------------------------------------------

    def _flat(self, x: Tensor) -> Tensor:
        """Return [B, D] float64: middles of the cells of an image in [0, 1], or points in units of their deviations."""
        if tuple(x.shape[1:]) != self.shape:
            raise UserError(f"gmm: this model is of shape {self.shape}, the data are {tuple(x.shape[1:])}")
        return cell_centre(x, self.levels).flatten(1) if self.is_image else self.scale(x.double())[0]

    def _root_of(self, k: int) -> Tensor:
        return self.root if self.covariance == "tied" else self.root[k]

    def _per_component(self, function: Callable[[Tensor, int], Tensor]) -> Tensor:
        """Return `function(root, dims)` of every component, [K]."""
        roots = [self.root] if self.covariance == "tied" else list(self.root)
        return torch.stack([function(r, self.dims) for r in roots]).expand(self.components)

    def _distances(self, x: Tensor) -> Tensor:
        """Return squared Mahalanobis distances, [B, K]."""
        if self.covariance == "full":
            return torch.stack(
                [whiten(x - m, r).square().sum(1) for m, r in zip(self.means, self.root, strict=True)], 1
            )
        means: Tensor = self.means
        if self.covariance == "tied":
            x, means, scale = x @ self.root, means @ self.root, torch.ones_like(means[:1])
        else:
            scale = self.root.view(self.components, -1)
        if not self.is_image:  # points may lie far from zero in units of their spread: subtract before squaring
            return ((x[:, None] - means) * scale).square().sum(2)
        # Pixels lie in [0, 1] and variances above 1/(12·levels²), so expanding the square costs less than 1e-6 nats.
        precision = scale.square().expand_as(means)
        constant = (means.square() * precision).sum(1)
        return (x.square() @ precision.mT - 2 * x @ (means * precision).mT + constant).clamp_min(0)

    def _joint(self, x: Tensor) -> Tensor:
        """Return log π_k + log N_k(x), [B, K], in chunks that fit in memory."""
        rows = max(1, 2**23 // (self.components * self.dims))
        # a graph has no number of chunks that follows the batch
        chunks = (x,) if torch.compiler.is_exporting() else x.split(rows)
        distance = torch.cat([self._distances(part) for part in chunks])
        constant = self.weights.log() + self._per_component(log_det) - 0.5 * self.dims * math.log(2 * math.pi)
        return constant + self.scale.log_det() - 0.5 * distance

    def _scores(self, joint: Tensor) -> Tensor:
        """Return the log-likelihood of each example, [B]: with the dequantization bound and the volume for images."""
        if not self.is_image:
            return joint.logsumexp(1)
        bound = joint - 0.5 * cell_variance(self.levels) * self._per_component(precision_trace)
        return discrete_log_prob(bound.logsumexp(1), self.dims, self.levels)

    def _penalized(self, joint: Tensor) -> tuple[Tensor, Tensor]:
        """Return what EM climbs: `joint` with the noise and ridge terms, [B, K], and its objective per example, [B]."""
        penalized = joint - 0.5 * self.added * self._per_component(precision_trace)
        objective = penalized.logsumexp(1)
        return penalized, discrete_log_prob(objective, self.dims, self.levels) if self.is_image else objective

    @torch.no_grad()
    def log_prob(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Return nats per example, [B]: a lower bound on the mass of the discrete image, or the density of points.

        `generator` is not needed: the dequantization noise enters in closed form.
        """
        return self._scores(self._joint(self._flat(x))).to(x.dtype)

    @torch.no_grad()
    def responsibilities(self, x: Tensor) -> Tensor:
        """Return p(component | x), [B, K], rows sum to 1."""
        return self._joint(self._flat(x)).softmax(1).to(x.dtype)

    def classify(self, x: Tensor) -> Tensor:
        """Return the most probable component of each example, int64 [B]."""
        return self.responsibilities(x).argmax(1)

    @torch.no_grad()
    def sample(self, n: int, *, generator: Generator) -> Tensor:
        """Draw `n` examples; images are rounded down to their grey level, as dequantization rounds up."""
        which = draws.multinomial(self.weights, n, generator=generator)
        y = draws.randn(n, self.dims, generator=generator, dtype=torch.float64, device=self.device)
        for k in which.unique().tolist():
            rows = which == k
            y[rows] = self.means[k] + colour(y[rows], self._root_of(k))
        y = self.scale.inverse(y).view(n, *self.shape)
        return (quantize(y, self.levels) if self.is_image else y).float()

    @torch.no_grad()
    def covariances(self) -> Tensor:
        """Return every component's covariance matrix, [K, D, D] float64, of points in the data's units."""
        found = torch.stack([covariance_matrix(self._root_of(k), self.dims) for k in range(self.components)])
        return found / torch.outer(self.scale.root, self.scale.root) if isinstance(self.scale, Whitening) else found

    @torch.no_grad()
    def centres(self) -> Tensor:
        """Return every component's mean, [K, D] float64, of points in the data's units; of images on [0, 1]."""
        return self.scale.inverse(self.means)

    # ---- expectation-maximization --------------------------------------------------------------------------------------

    calibrating = property(points_unscaled)
    calibrate = calibrate_points
    finish_calibration = finish_points_calibration

    @property
    def converged(self) -> bool:
        """Tell whether the last restart has gained less than `tol` in a pass, or used up its passes."""
        return bool(self.done)

    @torch.no_grad()
    def start(self, weights: Tensor, means: Tensor, covariances: Tensor) -> None:
        """Begin from these parameters, without a first pass and without restarts; after a calibration in units of the deviations.

        Args:
            weights: Shares of the components, [K].
            means: [K, D], in [0, 1] for images.
            covariances: [K] spherical, [K, D] diagonal, [D, D] tied, [K, D, D] full.
        """
        for name, value, target in (
            ("weights", weights, self.weights),
            ("means", means, self.means),
            ("covariances", covariances, self.root),
        ):
            if value.shape != target.shape:
                raise UserError(f"gmm: {name} must be {tuple(target.shape)}, not {tuple(value.shape)}")
        self.weights.copy_(weights / weights.sum())
        self.means.copy_(means)
        self._set_covariances(covariances.to(self.root))
        self._clear()
        self.begun.fill_(True)
        self.done.fill_(False)
        self.restart.fill_(self.restarts - 1)
        self.iteration.zero_()
        self.previous.fill_(-math.inf)

    @torch.no_grad()
    def partial_fit(self, batch: Batch) -> None:
        """Keep candidates for the start (first pass), or add the batch's responsibilities and moments (E-step)."""
        x = self._flat(batch["image" if self.is_image else "points"])
        if not bool(self.begun):
            self._keep(x)
            self.seen.add_(len(x))
            return
        joint = self._joint(x)
        penalized, objective = self._penalized(joint)
        self.running_scores.add_(torch.stack([objective.sum(), self._scores(joint).sum()]))
        self._accumulate(x, penalized.softmax(1))
        self.seen.add_(len(x))

    def _accumulate(self, x: Tensor, responsibility: Tensor) -> None:
        scatter = self.running_scatter
        for k in range(self.components):
            weight = responsibility[:, k]
            rows = weight > _NEGLIGIBLE
            into = scatter if self.covariance == "tied" else scatter[k]
            add_moments(self.counts[k], self.running_means[k], into, x[rows], weight[rows])

    @torch.no_grad()
    def finish_pass(self) -> Logs:
        """Begin a restart (first pass) or do the M-step, and decide whether the restart has converged."""
        n = int(self.seen)
        if not n:
            raise UserError("gmm: the pass had no data; give at least as many examples as components")
        if not bool(self.begun):
            return self._begin()
        objective, log_likelihood = self.running_scores / n
        self._maximize()
        self._clear()
        self.iteration.add_(1)
        finished = bool(objective - self.previous < self.tol) or int(self.iteration) >= self.max_passes
        self.previous.copy_(objective)
        logs = {"log_likelihood": log_likelihood, "objective": objective, "restart": self.restart.clone()}
        if finished:
            self._finish(objective)
        return logs

    def _maximize(self) -> None:
        alive = self.counts > 1e-8  # a component that has lost all its points keeps its place, with weight 0
        total = self.counts.sum()
        self.weights.copy_(self.counts / total)
        self.means[alive] = self.running_means[alive]
        if self.covariance == "tied":
            covariance = self.running_scatter / total
        else:
            share = self.counts.clamp_min(1e-300) * (self.dims if self.covariance == "spherical" else 1)
            covariance = self.running_scatter / share.view(-1, *[1] * (self.running_scatter.ndim - 1))
        if covariance.ndim >= 2 and self.covariance in ("tied", "full"):
            covariance.diagonal(dim1=-2, dim2=-1).add_(self.added)
        else:
            covariance.add_(self.added)
        self._set_covariances(covariance, None if self.covariance == "tied" else alive)

    def _set_covariances(self, covariance: Tensor, alive: Tensor | None = None) -> None:
        if self.covariance == "tied":
            parts = [(self.root, covariance, "the tied covariance")]
        else:
            parts = [(r, c, f"component {k}") for k, (r, c) in enumerate(zip(self.root, covariance, strict=True))]
        for k, (root, value, name) in enumerate(parts):
            if alive is not None and not bool(alive[k]):
                continue
            try:
                root.copy_(precision_root(value))
            except ValueError as error:
                raise UserError(
                    f"gmm: {name}: {error}; give ridge=1e-6 or more (now {self.ridge:g}), fewer components, "
                    "or covariance=diagonal"
                ) from None

    def _finish(self, objective: Tensor) -> None:
        """Keep the best restart so far, and begin the next one or stop."""
        names = ("weights", "means", "root")
        if self.restarts > 1 and bool(objective > self.best_objective):
            self.best_objective.copy_(objective)
            for name in names:
                getattr(self, f"best_{name}").copy_(getattr(self, name))
        if int(self.restart) + 1 < self.restarts:
            self.restart.add_(1)
            self._begin()
            return
        self.done.fill_(True)
        if self.restarts > 1:
            for name in names:
                getattr(self, name).copy_(getattr(self, f"best_{name}"))

    def _clear(self) -> None:
        for name in ("seen", "counts", "running_means", "running_scatter", "running_scores"):
            getattr(self, name).zero_()

    # ---- the start -----------------------------------------------------------------------------------------------------

    def _generator(self, offset: int) -> Generator:
        return torch.Generator().manual_seed((int(self.seed) * 1_000_003 + offset) % 2**63)

    def _keep(self, x: Tensor) -> None:
        """Give every example a random key and keep those with the smallest: a uniform draw without replacement."""
        keys = torch.rand(len(x), generator=self._generator(int(self.seen)), dtype=torch.float64).to(x.device)
        keys, order = torch.cat([self.start_keys, keys]).topk(len(self.start_keys), largest=False)
        self.start_data.copy_(torch.cat([self.start_data, x.float()])[order])
        self.start_keys.copy_(keys)

    def _begin(self) -> Logs:
        """Set first parameters from the kept examples, by k-means++ (Arthur and Vassilvitskii 2007) and Lloyd's steps."""
        x = self.start_data[self.start_keys.isfinite()].double()
        if len(x) < self.components:
            raise UserError(
                f"gmm: components={self.components}, but the data have {len(x)} examples; give fewer components"
            )
        centre = x.mean(0)
        owner = _k_means(x - centre, self.components, self._generator(-1 - int(self.restart)))
        self._clear()
        hard = torch.nn.functional.one_hot(owner, self.components).double()
        self._accumulate(x, hard)
        shares = self.counts.clone()
        if self.covariance != "tied":  # pooled over components: a cluster of few points has no covariance of its own
            pooled = self.running_scatter.sum(0) / len(x)
            self.running_scatter.copy_(pooled * shares.view(-1, *[1] * pooled.ndim))
        self._maximize()
        joint = self._joint(x)
        self._clear()
        self.begun.fill_(True)
        self.iteration.zero_()
        self.previous.fill_(-math.inf)
        _, objective = self._penalized(joint)
        return {
            "log_likelihood": self._scores(joint).mean(),
            "objective": objective.mean(),
            "restart": self.restart.clone(),
        }


def _k_means(x: Tensor, k: int, generator: Generator, steps: int = 20) -> Tensor:
    """Return the cluster of each point, int64 [N]; every cluster has at least one point."""
    square = x.square().sum(1)

    def distance(centres: Tensor) -> Tensor:
        return (square[:, None] - 2 * x @ centres.mT + centres.square().sum(1)).clamp_min(0)

    chosen = [int(torch.randint(len(x), (), generator=generator))]
    nearest = distance(x[chosen])[:, 0]
    for _ in range(1, k):
        nearest[chosen] = 0
        free = torch.ones_like(nearest)
        free[chosen] = 0
        odds = nearest if bool(nearest.sum() > 0) else free  # all the rest are copies of the chosen: take any
        chosen.append(int(torch.multinomial(odds.cpu(), 1, generator=generator)))
        nearest = torch.minimum(nearest, distance(x[chosen[-1:]])[:, 0])
    centres = x[chosen]
    owner = distance(centres).argmin(1)
    for _ in range(steps):
        counts = torch.bincount(owner, minlength=k)
        sums = torch.zeros_like(centres).index_add_(0, owner, x)
        centres = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], centres)
        moved = distance(centres).argmin(1)
        if torch.equal(moved, owner):
            break
        owner = moved
    return owner
