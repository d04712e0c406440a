"""How the back end "triton-grid" divides its work: that plans cover it, and fit an H100."""

import pytest
import torch

from fastlstm.ops.triton_grid_plan import (
    SPAN,
    WARPS,
    Chip,
    Plan,
    backward_plan,
    forward_plan,
    in_parts,
)


def test_parts_of_a_number() -> None:
    x = torch.randn(5, 7, 3)
    parts = in_parts(x, torch.bfloat16, 3)
    assert parts.shape == (5, 3, 7, 3)
    assert torch.equal(parts.double().sum(dim=1), x.double())
    assert (parts[:, 0] == x.bfloat16()).all()


H100 = Chip(132, 227 * 1024)


@pytest.mark.parametrize("rows", [1, 8, 9, 16, 64, 100, 128, 500])
@pytest.mark.parametrize(
    ("hidden", "parts"), [(1, 1), (200, 1), (256, 3), (512, 3), (1000, 1), (1024, 3), (1792, 1)]
)
def test_plans_cover_the_work_and_fit_the_chip(rows: int, hidden: int, parts: int) -> None:
    plans = forward_plan(rows, hidden, parts, H100), backward_plan(rows, hidden, 4, parts, H100)
    for plan, sums in zip(plans, (4, 1), strict=True):
        assert plan is not None
        assert plan.programs * plan.groups <= 132
        of_block = plan.units * plan.shares
        blocks, left = divmod(plan.programs, plan.shares)
        assert left == 0
        assert blocks * of_block >= hidden > (blocks - 1) * of_block
        of_group = plan.tiles * plan.rows
        assert plan.groups * of_group >= rows > (plan.groups - 1) * of_group
        assert plan.chunks * plan.shares * SPAN >= 4 * hidden // sums
        assert plan.outputs == sums * of_block
        weights = 2 * plan.outputs * SPAN * plan.chunks * parts
        # In registers there is room for half of the 256 KiB, in shared memory for the rest.
        held = 2 * plan.outputs * SPAN * plan.held
        assert held <= 128 * 1024
        assert weights - held + 2 * SPAN * plan.rows * parts * plan.batch <= 227 * 1024
        assert 4 * WARPS * plan.outputs * plan.rows <= 227 * 1024


def test_plans_by_size() -> None:
    def forward(rows: int, hidden: int, parts: int = 1) -> tuple[int, ...]:
        plan = forward_plan(rows, hidden, parts, H100)
        return () if plan is None else plan[:5]

    assert forward(1, 256) == (16, 1, 1, 8, 16)
    assert forward(64, 256) == (16, 8, 1, 8, 16)
    assert forward(16, 512) == (32, 2, 1, 8, 16)
    assert forward(64, 1024) == (64, 2, 2, 16, 16)
    assert forward(64, 1024, 3) == (128, 1, 4, 16, 8)
    assert forward(64, 2048) == ()
    assert forward_plan(1, 1024, 1, Chip(40, H100.shared)) is None

    def backward(rows: int, hidden: int, parts: int = 1) -> tuple[int, int]:
        plan = backward_plan(rows, hidden, 4, parts, H100)
        assert plan is not None
        return plan.shares, plan.traffic

    assert backward(16, 1024) == (1, 8 << 20)
    assert backward(64, 1024) == (4, 8 << 20)  # of 32 MiB
    assert backward(1, 1024, 3) == (4, 6 << 20)  # of 24 MiB: eight rows are no more than one
    assert backward(128, 256) == (1, 4 << 20)


@pytest.mark.parametrize("rows", [1, 9, 64, 500])
@pytest.mark.parametrize(
    ("hidden", "features", "parts"),
    [(1, 1, 1), (200, 50, 1), (256, 300, 3), (500, 400, 3), (1024, 8, 1), (1024, 512, 3)],
)
def test_plans_with_a_projection_cover_the_work_and_fit_the_chip(
    rows: int, hidden: int, features: int, parts: int
) -> None:
    plans = (
        forward_plan(rows, hidden, parts, H100, features),
        backward_plan(rows, hidden, 4, parts, H100, features),
    )
    for plan, sums in zip(plans, (4, 1), strict=True):
        assert plan is not None
        second = plan.projection
        assert second is not None
        assert second[:4] == plan[:4]
        of_units, of_features = (plan, second) if sums == 4 else (second, plan)
        assert plan.programs * of_units.units >= hidden
        assert of_features.busy * of_features.units >= features
        assert of_features.busy <= plan.programs
        # Those without features come last, and no block of shares has none.
        of_block = of_features.units * of_features.shares
        assert of_features.busy == -(-features // of_block) * of_features.shares
        assert of_units.programs * of_units.groups <= 132
        terms = (features, hidden) if sums == 4 else (4 * hidden, features)
        memory = 0
        for product, count in zip((plan, second), terms, strict=True):
            assert product.chunks * product.shares * SPAN >= count
            memory += 2 * product.outputs * SPAN * (product.chunks * parts - product.held)
        assert (second.shares, second.held, second.outputs) == (1, 0, second.units)
        for product in (plan, second):
            assert memory + 2 * SPAN * product.rows * parts * product.batch <= 227 * 1024
            assert memory + 4 * WARPS * product.outputs * product.rows <= 227 * 1024
        assert memory + 2 * plan.outputs * SPAN * plan.held <= 227 * 1024


def test_plans_with_a_projection_by_size() -> None:
    def of(plan: Plan | None) -> tuple[int, ...]:
        if plan is None or plan.projection is None:
            return ()
        return plan.programs, plan.busy, plan.units, plan.projection.busy, plan.projection.units

    assert of(forward_plan(64, 1024, 1, H100, 512)) == (64, 64, 16, 32, 16)
    assert of(forward_plan(64, 1024, 1, H100, 8)) == (64, 64, 16, 1, 16)
    assert of(forward_plan(64, 256, 1, H100, 1024)) == (16, 16, 16, 16, 64)
    assert of(forward_plan(64, 1792, 1, H100, 1700)) == ()
    assert of(backward_plan(64, 1024, 4, 1, H100, 512)) == (64, 32, 16, 64, 16)
    assert of(backward_plan(64, 512, 4, 1, H100, 256)) == (32, 16, 16, 32, 16)
    assert of(backward_plan(1, 1024, 4, 3, H100, 512)) == (128, 64, 8, 128, 8)
