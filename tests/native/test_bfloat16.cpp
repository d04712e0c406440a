// The layer in bfloat16 against its equations, step by step: each step is calculated from what the
// engine itself handed on to it, so that what is rounded to eight bits on the way does not add up,
// and a wrong product shows where a tolerance for eight bits would hide it.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "bfloat16_layer.h"
#include "check.h"
#include "dispatch.h"
#include "numbers.h"

#if defined(FASTLSTM_EMULATE_TILES)
#define FASTLSTM_TARGET avx512_amx  // whose threads have these tiles
#include "threads.h"
#include "tile_model.h"
#endif

namespace fastlstm::native {
namespace {

// Of sums and cells, which are float32.
constexpr double tolerance = 1e-5;

using Doubles = std::vector<double>;

// That a number is the expected one, rounded to its type.
template <typename T>
void check_number(T found, double expected, const std::string& what) {
  const double half_digit = sizeof(T) == sizeof(bfloat16) ? 0x1p-8 : 0;
  const double allowed =
      half_digit * std::fabs(expected) + tolerance * std::max(1.0, std::fabs(expected));
  if (std::fabs(value_of(found) - expected) <= allowed) return;  // NaN is not
  fail(what + " is " + std::to_string(value_of(found)) + ", expected " + std::to_string(expected));
}

double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

// A row of an array, or zeros where there is none.
template <typename T>
Doubles values_at(const Array<T>& array, Index row, Index width) {
  Doubles values(static_cast<std::size_t>(width));
  for (Index i = 0; i < width && array.size() > 0; ++i)
    values[static_cast<std::size_t>(i)] = value_of(array[row * width + i]);
  return values;
}

// The states that a step starts from.
Doubles h_before(const Bfloat16Layer& layer, const Bfloat16Outputs& found, Index t, Index row) {
  const auto [steps, rows, H, I] = layer.sizes;
  if (layer.resets(t, row)) return values_at(layer.reset_h, row, H);
  const Index before = layer.time_before(t, row);
  return before < 0 ? values_at(layer.h_0, row, H)
                    : values_at(found.output, before * rows + row, H);
}
Doubles c_before(const Bfloat16Layer& layer, const Bfloat16Outputs& found, Index t, Index row) {
  const auto [steps, rows, H, I] = layer.sizes;
  if (layer.resets(t, row)) return values_at(layer.reset_c, row, H);
  const Index before = layer.time_before(t, row);
  return before < 0 ? values_at(layer.c_0, row, H) : values_at(found.cells, before * rows + row, H);
}

void check_forward_step(const Bfloat16Layer& layer, const Bfloat16Outputs& found, Index t,
                        Index row) {
  const auto [steps, rows, H, I] = layer.sizes;
  const Index at = t * rows + row;
  const std::string where =
      layer.text() + "t " + std::to_string(t) + ", row " + std::to_string(row) + ", unit ";
  const Doubles x = values_at(layer.input, at, I), h = h_before(layer, found, t, row),
                c = c_before(layer, found, t, row);
  for (Index unit = 0; unit < H; ++unit) {
    const std::string text = where + std::to_string(unit);
    double z[4];
    for (Index gate = 0; gate < 4; ++gate) {
      const Index j = gate * H + unit;
      z[gate] = layer.has(no_bias) ? 0 : value_of(layer.bias_ih[j]) + value_of(layer.bias_hh[j]);
      for (Index k = 0; k < I; ++k) z[gate] += value_of(layer.weight_ih[j * I + k]) * x[k];
      for (Index k = 0; k < H; ++k) z[gate] += value_of(layer.weight_hh[j * H + k]) * h[k];
    }
    const double gates[] = {sigmoid(z[0]), sigmoid(z[1]), std::tanh(z[2]), sigmoid(z[3])};
    const double new_c = gates[1] * c[unit] + gates[0] * gates[2];
    for (Index gate = 0; gate < 4; ++gate)
      check_number(found.gates[(at * 4 + gate) * H + unit], gates[gate],
                   text + ", gate " + std::to_string(gate));
    check_number(found.cells[at * H + unit], new_c, text + ", c");
    check_number(found.output[at * H + unit], gates[3] * std::tanh(new_c), text + ", h");
  }
}

void check_forward(const Bfloat16Layer& layer, const Bfloat16Outputs& found) {
  const auto [steps, rows, H, I] = layer.sizes;
  for (Index t = 0; t < steps; ++t)
    for (Index row = 0; row < rows; ++row) {
      if (layer.alive(t, row)) {
        check_forward_step(layer, found, t, row);
        continue;
      }
      for (Index i = 0; i < H; ++i)
        check(found.output[(t * rows + row) * H + i].bits == 0 &&
                  found.cells[(t * rows + row) * H + i] == 0,
              layer.text() + "something is past a row's end");
      for (Index i = 0; i < 4 * H; ++i)
        check(found.gates[(t * rows + row) * 4 * H + i].bits == 0,
              layer.text() + "a gate is past a row's end");
    }
  for (Index row = 0; row < rows; ++row) {
    Index last = -1;
    for (Index step = 0; step < steps; ++step)
      if (layer.alive(layer.time_of(step), row)) last = layer.time_of(step) * rows + row;
    for (Index i = 0; i < H; ++i) {
      const bfloat16 h = last < 0 ? layer.h_0[row * H + i] : found.output[last * H + i];
      const bfloat16 c =
          last < 0 ? layer.c_0[row * H + i] : nearest<bfloat16>(found.cells[last * H + i]);
      check(found.h_n[row * H + i].bits == h.bits, layer.text() + "h_n");
      check(found.c_n[row * H + i].bits == c.bits, layer.text() + "c_n");
    }
  }
}

// The gradients of one row's states, on their way from the last step to the first.
struct StateGradients {
  Doubles h, c, reset_h, reset_c;
};

// Checks d_z of a step, and goes on to the step before with what the engine rounded it to.
void check_backward_step(const Bfloat16Layer& layer, const Bfloat16Outputs& outputs,
                         const Bfloat16Gradients& found, Given given, Index t, Index row,
                         StateGradients& d) {
  const auto [steps, rows, H, I] = layer.sizes;
  const Index at = t * rows + row;
  const std::string where =
      layer.text() + "d_z, t " + std::to_string(t) + ", row " + std::to_string(row) + ", unit ";
  const Doubles c = c_before(layer, outputs, t, row), gates = values_at(outputs.gates, at, 4 * H);
  const Doubles none(static_cast<std::size_t>(4 * H));
  const Doubles d_output = given == Given::last_states ? none : values_at(layer.d_output, at, H);
  const Doubles d_gates = given == Given::all ? values_at(layer.d_gates, at, 4 * H) : none;
  const Doubles d_cells = given == Given::all ? values_at(layer.d_cells, at, H) : none;
  Doubles d_h(static_cast<std::size_t>(H)), d_c(static_cast<std::size_t>(H));
  for (Index unit = 0; unit < H; ++unit) {
    const double i = gates[unit], f = gates[H + unit], g = gates[2 * H + unit],
                 o = gates[3 * H + unit];
    const double tanh_c = std::tanh(f * c[unit] + i * g), of_h = d.h[unit] + d_output[unit];
    const double of_c = d.c[unit] + d_cells[unit] + of_h * o * (1 - tanh_c * tanh_c);
    const double expected[] = {(of_c * g + d_gates[unit]) * i * (1 - i),
                               (of_c * c[unit] + d_gates[H + unit]) * f * (1 - f),
                               (of_c * i + d_gates[2 * H + unit]) * (1 - g * g),
                               (of_h * tanh_c + d_gates[3 * H + unit]) * o * (1 - o)};
    for (Index gate = 0; gate < 4; ++gate)
      check_number(found.d_z[(at * 4 + gate) * H + unit], expected[gate],
                   where + std::to_string(unit) + ", gate " + std::to_string(gate));
    d_c[unit] = of_c * f;
  }
  const Doubles d_z = values_at(found.d_z, at, 4 * H);
  for (Index j = 0; j < 4 * H; ++j)
    for (Index k = 0; k < H; ++k) d_h[k] += d_z[j] * value_of(layer.weight_hh[j * H + k]);
  const bool resets = layer.resets(t, row);
  for (Index unit = 0; unit < H; ++unit) {
    if (resets) d.reset_h[unit] += d_h[unit], d.reset_c[unit] += d_c[unit];
    d.h[unit] = resets ? 0 : d_h[unit];
    d.c[unit] = resets ? 0 : d_c[unit];
  }
}

void check_backward(const Bfloat16Layer& layer, const Bfloat16Outputs& outputs, Given given) {
  const auto [steps, rows, H, I] = layer.sizes;
  const Bfloat16Gradients found = layer.backward(outputs, given, 1);
  const Doubles none(static_cast<std::size_t>(H));
  for (Index row = 0; row < rows; ++row) {
    const bool last = given != Given::output;
    StateGradients d{last ? values_at(layer.d_h_n, row, H) : none,
                     last ? values_at(layer.d_c_n, row, H) : none, none, none};
    for (Index step = steps - 1; step >= 0; --step) {
      const Index t = layer.time_of(step);
      if (layer.alive(t, row)) check_backward_step(layer, outputs, found, given, t, row, d);
    }
    const std::string text = layer.text() + "row " + std::to_string(row) + ", gradient of ";
    for (Index i = 0; i < H; ++i) {
      check_number(found.d_h_0[row * H + i], d.h[i], text + "h_0");
      check_number(found.d_c_0[row * H + i], d.c[i], text + "c_0");
      if (layer.is_reset.get() == nullptr) continue;
      check_number(found.d_reset_h[row * H + i], d.reset_h[i], text + "reset_h");
      check_number(found.d_reset_c[row * H + i], d.reset_c[i], text + "reset_c");
    }
  }
}

template <typename T>
void check_same(const Array<T>& found, const Array<T>& expected, const std::string& text) {
  check_same_bits(found.get(), expected.get(), expected.bytes(), text);
}

// The states alone are the same whether or not anything is kept for the backward pass.
void check_that_keeping_changes_nothing(const Bfloat16Layer& layer,
                                        const Bfloat16Outputs& expected) {
  for (const Index save_every : {0, 3}) {
    const Bfloat16Outputs found = layer.forward(save_every, 1);
    const std::string text = layer.text() + "save_every " + std::to_string(save_every) + ", ";
    check_same(found.output, expected.output, text + "output");
    check_same(found.h_n, expected.h_n, text + "h_n");
    check_same(found.c_n, expected.c_n, text + "c_n");
  }
}

void check_layer(Bfloat16Sizes sizes, unsigned switches) {
  for (const Guard side : {Guard::end, Guard::begin}) {
    guard = side;
    const Bfloat16Layer layer(sizes, switches);
    const Bfloat16Outputs outputs = layer.forward(1, 1);
    check_forward(layer, outputs);
    check_that_keeping_changes_nothing(layer, outputs);
    for (const Given given : {Given::all, Given::output, Given::last_states})
      check_backward(layer, outputs, given);
  }
}

void check_threads(Bfloat16Sizes sizes, unsigned switches) {
  const Bfloat16Layer layer(sizes, switches);
  const Bfloat16Outputs outputs = layer.forward(1, 1);
  const Bfloat16Gradients gradients = layer.backward(outputs, Given::all, 1);
  for (const int threads : {2, 3, 11}) {
    const std::string text = layer.text() + std::to_string(threads) + " threads, ";
    const Bfloat16Outputs found = layer.forward(1, threads);
    check_same(found.output, outputs.output, text + "output");
    check_same(found.h_n, outputs.h_n, text + "h_n");
    check_same(found.c_n, outputs.c_n, text + "c_n");
    check_same(found.gates, outputs.gates, text + "gates");
    check_same(found.cells, outputs.cells, text + "cells");
    const Bfloat16Gradients back = layer.backward(outputs, Given::all, threads);
    check_same(back.d_z, gradients.d_z, text + "d_z");
    check_same(back.d_h_0, gradients.d_h_0, text + "d_h_0");
    check_same(back.d_c_0, gradients.d_c_0, text + "d_c_0");
    check_same(back.d_reset_h, gradients.d_reset_h, text + "d_reset_h");
    check_same(back.d_reset_c, gradients.d_reset_c, text + "d_reset_c");
  }
}

// The first rows of a larger batch are given the same numbers.
void check_rows(Bfloat16Sizes sizes, unsigned switches) {
  const Bfloat16Layer together(sizes, switches);
  const Bfloat16Outputs expected = together.forward(1, 1);
  const Bfloat16Gradients gradients = together.backward(expected, Given::all, 1);
  for (const Index rows : {Index(1), Index(2), Index(8), Index(17)}) {
    const Bfloat16Layer alone({sizes.steps, rows, sizes.hidden, sizes.features}, switches);
    const Bfloat16Outputs found = alone.forward(1, 1);
    const Bfloat16Gradients back = alone.backward(found, Given::all, 1);
    const auto check_one = [&](const auto& few, const auto& many, Index width, const char* name) {
      const std::size_t bytes = few.bytes() * static_cast<std::size_t>(rows * width) /
                                static_cast<std::size_t>(few.size());
      for (Index t = 0; t < few.size() / (rows * width); ++t)
        check_same_bits(few.get() + t * rows * width, many.get() + t * sizes.rows * width, bytes,
                        alone.text() + name);
    };
    check_one(found.output, expected.output, sizes.hidden, "output alone");
    check_one(found.gates, expected.gates, 4 * sizes.hidden, "gates alone");
    check_one(found.cells, expected.cells, sizes.hidden, "cells alone");
    check_one(found.h_n, expected.h_n, sizes.hidden, "h_n alone");
    check_one(back.d_z, gradients.d_z, 4 * sizes.hidden, "d_z alone");
    check_one(back.d_h_0, gradients.d_h_0, sizes.hidden, "d_h_0 alone");
    check_one(back.d_c_0, gradients.d_c_0, sizes.hidden, "d_c_0 alone");
  }
}

// Other libraries leave their shapes on the threads that call; ours are gone when a call is over.
void check_that_tiles_are_released() {
#if defined(FASTLSTM_EMULATE_TILES)
  if (!target().amx_bf16) return;
  unsigned char shapes[64] = {1};
  shapes[16] = 4, shapes[48] = 1;  // one row of four bytes
  const Bfloat16Layer layer({30, 3, 190, 9}, 0);
  const Bfloat16Outputs expected = layer.forward(1, 1);
  for (const int threads : {1, 2, 3}) {
    run_in_team(threads, [&](const Member&) { avx512_amx::tile_model.configure(shapes); });
    const Bfloat16Outputs found = layer.forward(1, threads);
    check_same(found.output, expected.output, layer.text() + "with the shapes of others");
    layer.backward(found, Given::all, threads);
    run_in_team(threads, [&](const Member&) {
      check(!avx512_amx::tile_model.is_configured(), layer.text() + "tiles are not released");
    });
  }
#endif
}

}  // namespace

void test_bfloat16() {
  if (!target().avx512_bf16) return;
  check_that_tiles_are_released();
  constexpr unsigned kinds[] = {0, no_bias, lengths, reset | reverse,
                                lengths | reset | reset_state | reverse};
  // Odd and even depths, of one block of 32, of more and of less; one step, one row, rows that fill
  // no tile and one more than fill it; features so many that W x is made apart from R h.
  constexpr Bfloat16Sizes shapes[] = {{3, 2, 7, 5},    {1, 1, 33, 70},  {1, 17, 50, 3},
                                      {2, 33, 37, 65}, {4, 16, 32, 64}, {7, 1, 70, 1},
                                      {2, 5, 1, 31},   {5, 3, 67, 301}};
  for (const unsigned switches : kinds) {
    for (const Bfloat16Sizes& sizes : shapes) check_layer(sizes, switches);
    check_rows({3, 33, 37, 45}, switches);
    check_rows({4, 19, 90, 130}, switches);
    check_rows({1, 33, 50, 70}, switches);  // whose weights are packed where they are used, or not
    for (const Bfloat16Sizes& sizes :
         {Bfloat16Sizes{30, 1, 190, 9}, {14, 5, 133, 40}, {6, 70, 61, 33}})
      check_threads(sizes, switches);
  }
}

}  // namespace fastlstm::native
