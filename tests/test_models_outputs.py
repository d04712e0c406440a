"""What forecasts mean: likelihoods, means, quantiles and samples beside torch's and scipy's."""

from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from fastlstm.models import (
    Forecast,
    ModelError,
    NegativeBinomialOutput,
    NormalOutput,
    Output,
    PointOutput,
    QuantileOutput,
    StudentTOutput,
)
from model_checks import close

NAN = float("nan")
OUTPUTS: dict[str, Output] = {
    "point": PointOutput("mse"),
    "quantile": QuantileOutput((0.1, 0.4, 0.8, 0.9)),
    "normal": NormalOutput(),
    "student_t": StudentTOutput(),
    "negative_binomial": NegativeBinomialOutput(),
}
DISTRIBUTIONS = ["normal", "student_t", "negative_binomial"]
LEVELS = [0.05, 0.3, 0.5, 0.9]


def forecast_of(output: Output, *shape: int) -> Forecast:
    """A forecast (B, H, C) in units that are not the data's."""
    rows, _, channels = shape
    raw = torch.randn(*shape, output.parameter_count, dtype=torch.float64)
    location = 10 * torch.randn(rows, 1, channels, dtype=torch.float64)
    if isinstance(output, NegativeBinomialOutput):
        location = torch.zeros_like(location)
    return Forecast(raw, location, torch.rand_like(location) * 20 + 1)


def targets_of(output: Output, forecast: Forecast) -> Tensor:
    if isinstance(output, NegativeBinomialOutput):
        return torch.randint(40, forecast.raw.shape[:-1]).double()
    noise = torch.randn(forecast.raw.shape[:-1], dtype=torch.float64)
    return forecast.location + 2 * forecast.scale * noise


def theirs(output: Output, forecast: Forecast) -> Any:
    """The same distribution, in the data's units, as torch has it."""
    raw, location, scale = forecast
    if isinstance(output, NegativeBinomialOutput):
        mean = (torch.nn.functional.softplus(raw[..., 0]) + 1e-6) * scale
        dispersion = torch.nn.functional.softplus(raw[..., 1]) / scale.sqrt() + 1e-6
        product = mean * dispersion
        return torch.distributions.NegativeBinomial(1 / dispersion, product / (1 + product))
    mean = location + scale * raw[..., 0]
    spread = scale * (torch.nn.functional.softplus(raw[..., 1]) + 1e-4)
    if isinstance(output, NormalOutput):
        return torch.distributions.Normal(mean, spread)
    degrees = 2 + torch.nn.functional.softplus(raw[..., 2])
    return torch.distributions.StudentT(degrees, mean, spread)


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_likelihood_and_mean_are_those_of_torch_in_the_datas_units(kind: str) -> None:
    output = OUTPUTS[kind]
    forecast = forecast_of(output, 3, 5, 2)
    target, distribution = targets_of(output, forecast), theirs(output, forecast)
    loss = output.loss(forecast, target)
    torch.testing.assert_close(loss.total, -distribution.log_prob(target).sum(), rtol=1e-9, atol=0)
    assert loss.weight == 30
    torch.testing.assert_close(output.mean(forecast), distribution.mean, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_quantiles_are_those_of_scipy(kind: str) -> None:
    output = OUTPUTS[kind]
    forecast = forecast_of(output, 3, 5, 2)
    found, distribution = output.quantile(forecast, LEVELS), theirs(output, forecast)
    if isinstance(output, NegativeBinomialOutput):
        total, other = distribution.total_count[..., None], distribution.probs[..., None]
        expected = stats.nbinom.ppf(LEVELS, total, 1 - other)
    elif isinstance(output, NormalOutput):
        expected = stats.norm.ppf(
            LEVELS, distribution.mean[..., None], distribution.scale[..., None]
        )
    else:
        degrees = distribution.df[..., None]
        expected = stats.t.ppf(
            LEVELS, degrees, distribution.loc[..., None], distribution.scale[..., None]
        )
    assert found.shape == (3, 5, 2, 4)
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-8, atol=1e-8)


def test_a_count_is_the_quantile_at_its_own_cumulative_probability() -> None:
    output = NegativeBinomialOutput()
    units = torch.zeros(1, 1, 1).double(), torch.full((1, 1, 1), 10.0).double()
    forecast = Forecast(torch.zeros(1, 1, 1, 2).double(), *units)
    distribution, counts = theirs(output, forecast), [0, 1, 2, 5, 9, 20]
    total, success = distribution.total_count.item(), 1 - distribution.probs.item()
    levels = stats.nbinom.cdf(counts, total, success)
    assert output.quantile(forecast, list(levels - 1e-12)).flatten().tolist() == counts
    above = output.quantile(forecast, list(levels + 1e-12)).flatten().tolist()
    assert above == [count + 1 for count in counts]
    assert output.quantile(forecast, [1e-9]).item() == 0


@pytest.mark.parametrize("kind", [kind for kind in OUTPUTS if kind != "point"])
def test_samples_have_the_quantiles_and_come_from_the_generator(kind: str) -> None:
    output = OUTPUTS[kind]
    forecast = forecast_of(output, 2, 3, 2)
    levels = [0.1, 0.5, 0.9]
    samples = output.sample(forecast, 20_000, torch.Generator().manual_seed(1))
    assert samples.shape == (20_000, 2, 3, 2)
    quantiles = output.quantile(forecast, levels)
    for number, level in enumerate(levels):
        value = quantiles[..., number]
        if kind == "quantile" and level in (0.1, 0.9):  # the outermost: nothing lies beyond
            beyond = samples < value if level == 0.1 else samples > value
            assert (beyond.double().mean(0) < 0.01).all()
            continue
        assert ((samples <= value).double().mean(0) >= level - 0.015).all()
        assert ((samples < value).double().mean(0) <= level + 0.015).all()
    state = torch.get_rng_state()
    again = output.sample(forecast, 20_000, torch.Generator().manual_seed(1))
    assert torch.equal(again, samples)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(output.sample(forecast, 20_000), samples)


@pytest.mark.parametrize("kind", OUTPUTS)
def test_missing_targets_count_for_nothing(kind: str) -> None:
    output = OUTPUTS[kind]
    forecast = forecast_of(output, 3, 5, 2)
    forecast.raw.requires_grad_()
    target = targets_of(output, forecast)
    weight = torch.rand(5, 1, dtype=torch.float64)
    target[0, 1, 1] = target[2, :, 0] = NAN
    observed = ~target.isnan()
    loss = output.loss(forecast, target, weight)
    (gradient,) = torch.autograd.grad(loss.total, forecast.raw)
    assert not gradient[~observed].any() and gradient.isfinite().all()
    assert gradient[observed].any(-1).all()
    each = torch.stack(
        [
            output.loss(
                Forecast(
                    forecast.raw[b : b + 1, h : h + 1, c : c + 1],
                    forecast.location[b : b + 1, :, c : c + 1],
                    forecast.scale[b : b + 1, :, c : c + 1],
                ),
                target[b : b + 1, h : h + 1, c : c + 1],
            ).total
            * weight[h, 0]
            for b, h, c in observed.nonzero().tolist()
        ]
    )
    torch.testing.assert_close(loss.total, each.sum())
    torch.testing.assert_close(loss.weight, weight.expand(3, 5, 2)[observed].sum())
    nothing = output.loss(forecast, torch.full_like(target, NAN))
    assert (nothing.total, nothing.weight) == (0, 0)


@pytest.mark.parametrize("kind", OUTPUTS)
def test_gradients_are_those_of_finite_differences(kind: str) -> None:
    output = OUTPUTS[kind]
    forecast = forecast_of(output, 2, 3, 2)
    target = targets_of(output, forecast)
    assert torch.autograd.gradcheck(
        lambda raw: output.loss(forecast._replace(raw=raw), target).total,
        (forecast.raw.requires_grad_(),),
    )


@pytest.mark.parametrize("kind", OUTPUTS)
def test_losses_and_means_run_on_any_device(kind: str) -> None:
    output = OUTPUTS[kind]
    forecast = forecast_of(output, 2, 3, 2)
    target, elsewhere = targets_of(output, forecast), Forecast(*(x.to("meta") for x in forecast))
    assert output.loss(elsewhere, target.to("meta")).total.device.type == "meta"
    assert output.mean(elsewhere).device.type == "meta"


@pytest.mark.parametrize(
    ("loss", "in_window_units", "in_unit"),
    [("mse", 0.25, 4.0), ("mae", 0.5, 2.0), ("huber", 0.125, 1.5)],
)
def test_point_losses_by_hand(loss: Any, in_window_units: float, in_unit: float) -> None:
    """The forecast is 10 + 4 × 1.5 = 16, the target 18: half a scale, or two units."""
    output = PointOutput(loss)
    forecast = Forecast(
        torch.tensor([[[[1.5]]]]), torch.tensor([[[10.0]]]), torch.tensor([[[4.0]]])
    )
    target = torch.tensor([[[18.0]]])
    assert output.mean(forecast).item() == 16
    assert output.loss(forecast, target).total.item() == in_window_units
    assert output.loss(forecast, target, unit=torch.tensor(1.0)).total.item() == in_unit


def test_quantiles_by_hand() -> None:
    output = QuantileOutput((0.1, 0.5, 0.9))
    step = torch.tensor(1.0).expm1().log().item()  # softplus of this is 1
    raw = torch.tensor([[[[0.5, step, step]]]])
    forecast = Forecast(raw, torch.tensor([[[10.0]]]), torch.tensor([[[2.0]]]))
    assert output.values(raw)[0, 0, 0].tolist() == pytest.approx([-0.5, 0.5, 1.5])
    found = output.quantile(forecast, [0.1, 0.3, 0.5, 0.9])
    assert found[0, 0, 0].tolist() == pytest.approx([9, 10, 11, 13])
    # 0.3 of the mass at and before 9 and 0.1 .. 0.5: each quantile has what is nearest to it.
    assert output.mean(forecast).item() == pytest.approx(0.3 * 9 + 0.4 * 11 + 0.3 * 13)
    # Twice the mean of 0.1 × 3, 0.5 × 1 and (1 - 0.9) × 1 for a target of 12, in units of 1.
    loss = output.loss(forecast, torch.tensor([[[12.0]]]), unit=torch.tensor(1.0))
    assert loss.total.item() == pytest.approx(2 * (0.3 + 0.5 + 0.1) / 3)
    in_scales = output.loss(forecast, torch.tensor([[[12.0]]]))
    assert in_scales.total.item() == pytest.approx(loss.total.item() / 2)
    median = QuantileOutput((0.5,))
    forecast = Forecast(raw[..., :1], forecast.location, forecast.scale)
    loss = median.loss(forecast, torch.tensor([[[14.0]]]), unit=torch.tensor(1.0))
    assert loss.total.item() == pytest.approx(3)
    assert median.quantile(forecast, [0.5, 0.5]).tolist() == [[[[11.0, 11.0]]]]
    assert median.sample(forecast, 2).flatten().tolist() == [11.0, 11.0]


@pytest.mark.parametrize("levels", [(0.1,), (0.1, 0.2), (0.6, 0.7, 0.8), (0.1, 0.3, 0.5, 0.7)])
def test_quantiles_never_cross(levels: tuple[float, ...]) -> None:
    output = QuantileOutput(levels)
    raw = 100 * torch.randn(500, output.parameter_count)
    assert (output.values(raw).diff(dim=-1) >= 0).all()
    centre = min(range(len(levels)), key=lambda number: abs(levels[number] - 0.5))
    assert torch.equal(output.values(raw)[:, centre], raw[:, 0])


def test_mean_of_quantiles_is_that_of_their_samples() -> None:
    output = OUTPUTS["quantile"]
    forecast = forecast_of(output, 2, 3, 2)
    samples = output.sample(forecast, 50_000)
    error = (samples.mean(0) - output.mean(forecast)) / samples.std(0)
    assert (error.abs() < 0.02).all()


def test_means_in_a_windows_units_are_what_a_decoder_reads() -> None:
    for output in OUTPUTS.values():
        forecast = forecast_of(output, 2, 3, 2)
        inside = (output.mean(forecast) - forecast.location) / forecast.scale
        close(output.normalised_mean(forecast.raw), inside)


def test_nearly_poisson_counts_keep_their_digits_in_float32() -> None:
    raw = torch.tensor([[[[3.0, -12.0]]]])
    forecast = Forecast(raw, torch.zeros(1, 1, 1), torch.full((1, 1, 1), 1e4))
    loss = NegativeBinomialOutput().loss(forecast, torch.tensor([[[30_000.0]]]))
    distribution = theirs(NegativeBinomialOutput(), Forecast(*(x.double() for x in forecast)))
    expected = -distribution.log_prob(torch.tensor(30_000.0).double()).item()
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)


def test_a_far_series_keeps_its_digits_in_float32() -> None:
    forecast = Forecast(
        torch.zeros(1, 1, 1, 2), torch.full((1, 1, 1), 1e6), torch.full((1, 1, 1), 0.5)
    )
    loss = NormalOutput().loss(forecast, torch.full((1, 1, 1), 1e6 + 0.25))
    inside = Forecast(forecast.raw, torch.zeros(1, 1, 1), forecast.scale)
    assert loss.total == NormalOutput().loss(inside, torch.full((1, 1, 1), 0.25)).total


POINT = Forecast(torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1), torch.ones(1, 1, 1))
COUNTS = Forecast(torch.zeros(1, 2, 1, 2), torch.zeros(1, 1, 1), torch.ones(1, 1, 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PointOutput("l2"), "loss must be one of mse, mae, huber, got 'l2'"),
        (
            lambda: PointOutput().quantile(POINT, [0.5]),
            "a point forecast has no quantiles: use another output",
        ),
        (
            lambda: PointOutput().sample(POINT, 3),
            "a point forecast has no distribution to sample: use another output",
        ),
        (
            lambda: PointOutput().loss(POINT, torch.zeros(1, 2)),
            "target must have the shape [1, 2, 1], (B, H, C), got [1, 2]",
        ),
        (
            lambda: QuantileOutput(()),
            "levels must name at least one level between 0 and 1, got none",
        ),
        (lambda: QuantileOutput((0.5, 1.0)), "a level must lie between 0 and 1, got 1.0"),
        (lambda: QuantileOutput((0.5, 0.1)), "levels must ascend, got [0.5, 0.1]"),
        (lambda: QuantileOutput((0.5, 0.5)), "levels must ascend, got [0.5, 0.5]"),
        (
            lambda: QuantileOutput((0.1,)).quantile(POINT, [0.1, 0.95]),
            "level 0.95 lies outside of the levels 0.1 to 0.1 that the network knows",
        ),
        (
            lambda: NormalOutput().quantile(COUNTS, [80]),
            "a level must lie between 0 and 1, got 80",
        ),
        (
            lambda: NegativeBinomialOutput().loss(COUNTS, torch.tensor([[[3.0], [-2.0]]])),
            "counts must not be negative, got -2.0: use another output for this data",
        ),
    ],
)
def test_wrong_arguments_are_named(call: Any, message: str) -> None:
    with pytest.raises(ModelError) as error:
        call()
    assert str(error.value) == message


def test_the_centre_is_the_median_of_quantiles_and_else_the_mean() -> None:
    for output in OUTPUTS.values():
        forecast = forecast_of(output, 3, 4, 2)
        expected = output.mean(forecast)
        if isinstance(output, QuantileOutput):  # of these levels 0.4 is the nearest to one half
            expected = output.quantile(forecast, [0.4])[..., 0]
        close(output.centre(forecast), expected)
