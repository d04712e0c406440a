"""Forecast several values that move together, from an array.

Run it with ``python examples/forecast_array.py``; it makes its own data, a damped pendulum that is
pushed at random, and takes a few seconds.
"""

import numpy as np

from fastlstm import Forecaster, LSTMConfig, TrainingConfig

# (T, C): one series of two values, an angle and a speed.
generator = np.random.default_rng(0)
states = [np.zeros(2)]
for push in generator.normal(scale=0.15, size=1_200):
    angle, speed = states[-1]
    speed = 0.97 * speed - 0.12 * np.sin(angle) + push
    states.append(np.array([angle + 0.3 * speed, speed]))
series = np.array(states)
past, future = series[:-12], series[-12:]

for joint in (False, True):
    forecaster = Forecaster(
        horizon=12,
        lstm=LSTMConfig(hidden_size=16),
        training=TrainingConfig(epochs=3),
        joint=joint,  # whether each value is forecast from both, or from itself alone
        output="normal",
    )
    forecaster.fit(past)
    figures = forecaster.evaluate(series, steps=120, standardised=True)
    how = "together" if joint else "each by itself"
    print(
        f"read {how}: mean absolute error {figures['mae']:.3f} standard deviations, that of the "
        f"last value {figures['naive_mae']:.3f}"
    )

found = forecaster.predict(level=[80])
inside = (found["LSTM-lo-80"] <= future) & (future <= found["LSTM-hi-80"])
print(f"\n12 steps ahead, {inside.mean():.0%} of {found['LSTM'].shape} inside; the angle:")
for step in (0, 5, 11):
    low, high = found["LSTM-lo-80"][step, 0], found["LSTM-hi-80"][step, 0]
    print(f"   step {step + 1:>2}: from {low:6.2f} to {high:6.2f}, was {future[step, 0]:6.2f}")
