"""ForecastNetwork: values, units, covariates, channels, gradients, errors."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from fastlstm.models import (
    Forecast,
    ForecastNetwork,
    ForecastNetworkConfig,
    LSTMConfig,
    ModelError,
    OutputConfig,
    QuantileOutput,
)
from model_checks import (
    check_constants_follow_the_input,
    check_parameters_get_gradients,
    check_rebuilt_from_config,
    close,
)

WINDOW, HORIZON, CHANNELS = 9, 5, 3
COVARIATES: dict[str, Any] = {
    "past_covariates": 2,
    "future_covariates": 4,
    "static_numeric": 2,
    "static_categories": (4, 7),
}
NAMES = ("past_covariates", "future_covariates", "static_numeric", "static_categories")
KINDS = ["point", "quantile", "normal", "student_t", "negative_binomial"]
DECODERS = ["direct", "autoregressive"]


def network_of(kind: str = "point", **arguments: Any) -> ForecastNetwork:
    arguments.setdefault("lstm", LSTMConfig(hidden_size=7))
    arguments.setdefault("channels", CHANNELS)
    arguments.setdefault("output", OutputConfig(kind=kind))  # type: ignore[arg-type]
    network = ForecastNetwork(ForecastNetworkConfig(WINDOW, HORIZON, **arguments)).double()
    if network.skip is not None:  # it begins at zero, where it could be anything
        torch.nn.init.normal_(network.skip.weight)
        torch.nn.init.normal_(network.skip.bias)
    return network


def past_values(rows: int = 4, channels: int = CHANNELS) -> Tensor:
    return 10 + 5 * torch.randn(rows, WINDOW, channels, dtype=torch.float64)


def covariates(rows: int = 4) -> dict[str, Tensor]:
    return {
        "past_covariates": torch.randn(rows, WINDOW, 2, dtype=torch.float64),
        "future_covariates": torch.randn(rows, WINDOW + HORIZON, 4, dtype=torch.float64),
        "static_numeric": torch.randn(rows, 2, dtype=torch.float64),
        "static_categories": torch.randint(4, (rows, 2)),
    }


def mean_of(network: ForecastNetwork, past: Tensor, **given: Tensor) -> Tensor:
    return network.output.mean(network(past, **given))


def test_direct_is_a_linear_map_of_the_last_output_and_of_the_window() -> None:
    network, past = network_of("normal"), past_values()
    location, scale = past.mean(1, keepdim=True), past.std(1, keepdim=True, correction=0)
    values = (past - location) / scale
    output, _ = network.lstm(torch.cat((values, torch.zeros_like(values)), dim=-1))
    raw = network.decoder.head(output[:, -1]).reshape(4, HORIZON, CHANNELS, 2)
    raw[..., 0] += torch.einsum("hw,bwc->bhc", network.skip.weight, values)
    raw[..., 0] += network.skip.bias[:, None]
    found = network(past)
    assert isinstance(found, Forecast)
    close(found.raw, raw)
    close(found.location, location)
    close(found.scale, scale)


def test_autoregressive_reads_its_own_mean_and_what_is_known() -> None:
    network, past = network_of("quantile", decoder="autoregressive", **COVARIATES), past_values()
    given = covariates()
    location, scale = past.mean(1, keepdim=True), past.std(1, keepdim=True, correction=0)
    values, future = (past - location) / scale, given["future_covariates"]
    categories = [
        embedding.weight[given["static_categories"][:, number]]
        for number, embedding in enumerate(network.static.embeddings)
    ]
    static = torch.cat((given["static_numeric"], *categories), dim=-1)
    assert static.shape[1] == 2 + 2 + 4
    in_window = (
        values,
        torch.zeros_like(values),
        given["past_covariates"],
        future[:, :WINDOW],
        static[:, None].expand(-1, WINDOW, -1),
    )
    _, state = network.lstm(torch.cat(in_window, dim=-1))
    skip = network.skip(values.mT).mT
    mean, expected = values[:, -1], []
    for step in range(HORIZON):
        read = torch.cat((mean, future[:, WINDOW + step], static), dim=-1)
        output, state = network.decoder.lstm(read[:, None], state)
        raw = network.decoder.head(output[:, 0]).reshape(4, CHANNELS, -1)
        raw[..., 0] += skip[:, step]
        mean = network.output.normalised_mean(raw)
        expected.append(raw)
    close(network(past, **given).raw, torch.stack(expected, dim=1))


def test_a_segment_is_read_at_once() -> None:
    given = {"past_covariates": 2, "static_numeric": 2}
    network, past = network_of(segment=3, **given), past_values()
    known = {name: value for name, value in covariates().items() if name in given}
    location, scale = past.mean(1, keepdim=True), past.std(1, keepdim=True, correction=0)
    values = (past - location) / scale
    steps = torch.cat((values, torch.zeros_like(values), known["past_covariates"]), dim=-1)
    of_series = known["static_numeric"].unsqueeze(1).expand(-1, 3, -1)
    segments = torch.cat((steps.unflatten(1, (3, 3)).flatten(2), of_series), dim=-1)
    output, _ = network.lstm(segments)
    raw = network.decoder.head(output[:, -1]).reshape(4, HORIZON, CHANNELS)
    raw += network.skip(values.mT).mT
    close(network(past, **known).raw[..., 0], raw)


def test_future_steps_are_a_network_of_one_hidden_layer() -> None:
    network, past, given = network_of("normal", future_covariates=4), past_values(), covariates()
    future = {"future_covariates": given["future_covariates"]}
    steps, found = network.decoder.future, network(past, **future).raw
    whole = torch.cat((steps.of_context.weight, steps.of_step.weight), dim=1)
    contexts: list[Tensor] = []
    network.decoder.dropout.register_forward_hook(lambda *call: contexts.append(call[2]))
    network(past, **future)
    context = contexts[0].unsqueeze(1).expand(-1, HORIZON, -1)
    hidden = torch.cat((context, future["future_covariates"][:, WINDOW:]), dim=-1) @ whole.mT
    added = steps.head(torch.relu(hidden + steps.of_context.bias)).unflatten(-1, (CHANNELS, 2))
    torch.nn.init.zeros_(steps.head.weight)
    torch.nn.init.zeros_(steps.head.bias)
    close(found - network(past, **future).raw, added)


def test_future_covariates_enter_a_direct_forecast_step_by_step() -> None:
    network, past, given = network_of(**COVARIATES), past_values(), covariates()
    before = mean_of(network, past, **given)
    given["future_covariates"][:, WINDOW + 2] += 1.0
    changed = (mean_of(network, past, **given) - before).abs().amax((0, 2)) > 1e-12
    assert changed.tolist() == [False, False, True, False, False]
    given["future_covariates"][:, 0] += 1.0
    assert ((mean_of(network, past, **given) - before).abs() > 1e-12).all()


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("joint", [True, False])
def test_shapes_gradients_and_the_same_network_again(kind: str, decoder: str, joint: bool) -> None:
    network = network_of(kind, decoder=decoder, joint=joint, normalization="scale", **COVARIATES)
    for standardise in (network.standardise_past, network.standardise_future):
        size = len(standardise.mean)
        standardise.set_statistics(torch.ones(size), torch.full((size,), 2.0))
    past, given = past_values().abs(), covariates()
    past[0, 2] = torch.nan  # a mark for missing values is learnt where there are any
    forecast = network(past, **given)
    assert forecast.raw.shape == (4, HORIZON, CHANNELS, network.output.parameter_count)
    assert forecast.location.shape == forecast.scale.shape == (4, 1, CHANNELS)
    target = torch.randint(9, (4, HORIZON, CHANNELS)).double()
    assert network.output.mean(forecast).shape == target.shape
    check_parameters_get_gradients(network, network.output.loss(forecast, target).total)
    check_rebuilt_from_config(network, lambda module: module(past, **given)._asdict())
    check_constants_follow_the_input(network, (past, *given.values()))


def test_bidirectional_forecasts_from_both_ends() -> None:
    network, past = network_of(lstm=LSTMConfig(hidden_size=7, bidirectional=True)), past_values()
    check_parameters_get_gradients(network, mean_of(network, past).square().sum())


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("normalization", ["standard", "last", "scale"])
def test_a_forecast_moves_with_its_window(normalization: str, decoder: str) -> None:
    network, past = network_of(normalization=normalization, decoder=decoder), past_values()
    factor = torch.tensor([2.0, 0.5, 1000.0, 1.0], dtype=torch.float64)[:, None, None]
    shift = 0.0 if normalization == "scale" else 7.0
    found = mean_of(network, past * factor + shift)
    torch.testing.assert_close(found, mean_of(network, past) * factor + shift)
    unmoved = network_of(normalization="none", decoder=decoder)
    assert not torch.allclose(mean_of(unmoved, past * 2), mean_of(unmoved, past) * 2)


def test_a_new_network_with_the_last_value_and_no_head_is_the_naive_forecast() -> None:
    config = ForecastNetworkConfig(WINDOW, HORIZON, CHANNELS, normalization="last")
    network, past = ForecastNetwork(config).double(), past_values()
    torch.nn.init.zeros_(network.decoder.head.weight)
    torch.nn.init.zeros_(network.decoder.head.bias)
    close(mean_of(network, past), past[:, -1:].expand(-1, HORIZON, -1))


@pytest.mark.parametrize("decoder", DECODERS)
def test_channels_by_themselves_are_rows_with_the_same_weights(decoder: str) -> None:
    arguments: dict[str, Any] = {"joint": False, "decoder": decoder, **COVARIATES}
    network, past, given = network_of("normal", **arguments), past_values(), covariates()
    found = network(past, **given)
    for channel in range(CHANNELS):
        alone = ForecastNetwork(dataclasses.replace(network.config, channels=1)).double()
        alone.load_state_dict(network.state_dict())
        close(alone(past[..., [channel]], **given).raw, found.raw[:, :, [channel]])
    changed = past.clone()
    changed[..., 1] += torch.randn(4, WINDOW, dtype=torch.float64)
    same = (network(changed, **given).raw == found.raw).all(-1).all(0).all(0)
    assert same.tolist() == [True, False, True]


def test_joint_channels_see_each_other() -> None:
    network, past = network_of(), past_values()
    changed = past.clone()
    changed[..., 1] += torch.randn(4, WINDOW, dtype=torch.float64)
    assert ((mean_of(network, changed) - mean_of(network, past)).abs() > 1e-9).all()


@pytest.mark.parametrize("decoder", DECODERS)
def test_missing_values_are_marked_and_read_as_the_location(decoder: str) -> None:
    network = network_of(decoder=decoder, normalization="none")
    past = past_values()
    past[0, :4] = torch.nan
    past[1, -1, 2] = torch.nan
    found = network(past).raw
    assert found.isfinite().all()
    # The location is zero here: the same window but for the marks.
    without = network(past.nan_to_num(0.0)).raw
    assert torch.equal(without[2:], found[2:])
    assert (without[:2] != found[:2]).all()
    marks = torch.cat((past.nan_to_num(0.0), past.isnan().double()), dim=-1)
    states = network.lstm(marks)
    last, skip = past.nan_to_num(0.0)[:, -1], network.skip(past.nan_to_num(0.0).mT).mT
    nothing = past.new_zeros(4, HORIZON, 0)
    close(network.decoder(states, last, nothing, nothing[:, 0], skip), found)


def test_missing_covariates_are_read_as_their_mean() -> None:
    network, past, given = network_of(**COVARIATES), past_values(), covariates()
    network.standardise_past.set_statistics(torch.tensor([3.0, 4.0]), torch.tensor([2.0, 2.0]))
    network.static.standardise.set_statistics(torch.tensor([5.0, 6.0]), torch.tensor([2.0, 2.0]))
    means = {name: value.clone() for name, value in given.items()}
    given["past_covariates"][0, 1, 1], means["past_covariates"][0, 1, 1] = torch.nan, 4.0
    given["future_covariates"][0, 11, 1], means["future_covariates"][0, 11, 1] = torch.nan, 0.0
    given["static_numeric"][0, 0], means["static_numeric"][0, 0] = torch.nan, 5.0
    close(network(past, **given).raw, network(past, **means).raw)


def test_a_constant_window_has_a_finite_forecast_and_gradient() -> None:
    for normalization in ("none", "standard", "last", "scale"):
        network = network_of("normal", normalization=normalization)
        past = torch.full((2, WINDOW, CHANNELS), 5.0, dtype=torch.float64)
        past[1] = 0.0
        forecast = network(past)
        loss = network.output.loss(forecast, torch.zeros(2, HORIZON, CHANNELS).double())
        loss.total.backward()
        assert loss.total.isfinite()
        assert all(p.grad.isfinite().all() for p in network.parameters())


def test_a_float64_window_of_a_float32_network_keeps_its_digits() -> None:
    network = network_of().float()
    past = past_values()
    near, far = network(past), network(past + 1e9)
    assert far.raw.dtype == far.location.dtype == torch.float64
    torch.testing.assert_close(far.raw, near.raw, rtol=1e-4, atol=1e-4)


def test_dropout_is_before_the_head_and_masks_of_a_sequence_stay_with_the_encoder() -> None:
    for decoder in DECODERS:
        network, past = network_of(decoder=decoder, dropout=0.5), past_values()
        assert not torch.equal(mean_of(network, past), mean_of(network, past))
        network.eval()
        assert torch.equal(mean_of(network, past), mean_of(network, past))
    lstm = LSTMConfig(
        7, num_layers=2, recurrent_dropout=0.3, weight_dropout=0.3, locked_dropout=0.3, zoneout=0.1
    )
    network = network_of(decoder="autoregressive", lstm=lstm)
    inside = network.decoder.lstm
    assert (inside.recurrent_dropout, inside.weight_dropout, inside.locked_dropout) == (0, 0, 0)
    assert inside.zoneout == (0.1, 0.1) and network.lstm.recurrent_dropout == 0.3
    assert mean_of(network, past_values()).isfinite().all()


@pytest.mark.parametrize(("decoder", "joint"), [("direct", True), ("autoregressive", False)])
def test_exports_and_compiles_with_any_number_of_rows(decoder: str, joint: bool) -> None:
    network = network_of("normal", decoder=decoder, joint=joint, **COVARIATES).eval()
    given = (past_values(), *covariates().values())
    shapes = tuple({0: torch.export.Dim.DYNAMIC} for _ in given)
    program = torch.export.export(network, given, dynamic_shapes=shapes)
    compiled = torch.compile(network, fullgraph=True, dynamic=True, backend="eager")
    others = (past_values(6), *covariates(6).values())
    for inputs in (given, others):
        expected = network(*inputs)
        for found in (program.module()(*inputs), compiled(*inputs)):
            for one, other in zip(found, expected, strict=True):
                close(one, other)


def test_default_levels_are_those_of_the_usual_intervals() -> None:
    output = OutputConfig("quantile").build()
    assert isinstance(output, QuantileOutput)
    for level in (50, 80, 90, 95):
        for side in (50 - level / 2, 50 + level / 2):
            assert side / 100 in output.levels
    assert OutputConfig(levels=[0.1, 0.5]).levels == (0.1, 0.5)  # type: ignore[arg-type]


PAST = torch.zeros(2, WINDOW, CHANNELS, dtype=torch.float64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ForecastNetworkConfig(0, 1),
            "window must be a whole number of at least 1, got 0",
        ),
        (
            lambda: network_of(past_covariates=-1),
            "past_covariates must be a whole number of at least 0, got -1",
        ),
        (
            lambda: network_of(static_categories=[3, 0]),
            "static_categories[1] must be a whole number of at least 1, got 0",
        ),
        (
            lambda: network_of(decoder="beam"),
            "decoder must be one of direct, autoregressive, got 'beam'",
        ),
        (
            lambda: network_of(normalization="mean"),
            "normalization must be one of none, standard, last, scale, got 'mean'",
        ),
        (lambda: network_of(dropout=1.5), "dropout must be a rate from 0 up to below 1, got 1.5"),
        (
            lambda: network_of(decoder="autoregressive", lstm=LSTMConfig(bidirectional=True)),
            "an autoregressive decoder goes on from the state of the last step, which a "
            "bidirectional LSTM does not have: set bidirectional=False or decoder='direct'",
        ),
        (
            lambda: network_of("negative_binomial"),
            "counts can be scaled but not shifted: a negative binomial output needs the "
            "normalization 'scale' or 'none', got 'standard'",
        ),
        (
            lambda: network_of("gamma"),
            "kind must be one of point, quantile, normal, student_t, negative_binomial, "
            "got 'gamma'",
        ),
        (lambda: OutputConfig(levels=(0.5, 0.1)), "levels must ascend, got [0.5, 0.1]"),
        (lambda: OutputConfig(point_loss="l1"), "loss must be one of mse, mae, huber, got 'l1'"),
        (
            lambda: network_of()(PAST[:, 1:]),
            "past must have the shape [2, 9, 3], got [2, 8, 3]",
        ),
        (
            lambda: network_of(segment=4),
            "segment must divide the window of 9 steps, got 4",
        ),
        (
            lambda: network_of()(PAST.long()),
            "past must be of a floating-point dtype, got torch.int64",
        ),
        (
            lambda: network_of(future_covariates=2)(PAST),
            "the network reads future_covariates of the shape [2, 14, 2], got none",
        ),
        (
            lambda: network_of()(PAST, static_numeric=torch.zeros(2, 1)),
            "the network has no static_numeric, got the shape [2, 1]",
        ),
        (
            lambda: network_of(past_covariates=2)(PAST, torch.zeros(2, WINDOW, 3)),
            "past_covariates must have the shape [2, 9, 2], got [2, 9, 3]",
        ),
        (
            lambda: network_of(static_categories=(3,))(
                PAST, static_categories=torch.tensor([[0], [3]])
            ),
            "static_categories[:, 0] must be from 0 to 2, got 3",
        ),
    ],
)
def test_wrong_arguments_are_named(call: Any, message: str) -> None:
    with pytest.raises(ModelError) as error:
        call()
    assert str(error.value) == message
