// A layer with any of the switches on, random arguments for it, and calls of the engine with them.
#pragma once

#include <string>
#include <vector>

#include "engine.h"
#include "guarded.h"

namespace fastlstm::native {

// Each a bit of a set.
enum Switch : unsigned {
  projection = 1,
  peephole = 2,
  layer_norm = 4,
  norm_bias = 8,
  coupled_gates = 16,
  recurrent_mask = 32,
  zoneout_masks = 64,
  zoneout_rates = 128,
  cell_clip = 256,
  lengths = 512,
  reset = 1024,
  reset_state = 2048,
  reverse = 4096,
  no_bias = 8192,
};
constexpr unsigned switch_count = 14;
constexpr unsigned everything = (1u << switch_count) - 1;
// What most shapes are tested with: the plain kernel, ragged ones, and the one with all switches.
constexpr unsigned kinds[] = {0, lengths | reset | reset_state | reverse, projection | lengths,
                              layer_norm | norm_bias | lengths,
                              everything & ~(zoneout_rates | no_bias)};

struct Sizes {
  Index steps, rows, hidden;
};

template <typename T>
struct Problem {
  Sizes sizes;
  unsigned switches;
  Index recurrent, features;
  int gate_count;

  Array<T> input, weight_ih, bias_ih, bias_hh, norm_ih;
  Array<T> h_0, c_0, reset_h, reset_c;
  Array<T> weight_hh, weight_hr, peepholes, norm_hh, norm_cell, norm_cell_bias, mask;
  Array<std::int64_t> row_lengths;
  Array<bool> is_reset, cell_mask, hidden_mask;
  Array<T> d_output, d_h_n, d_c_n, d_gates, d_cells;

  Problem(Sizes sizes, unsigned switches);

  bool has(unsigned one) const { return (switches & one) != 0; }
  Index gates_width() const { return gate_count * sizes.hidden; }
  bool alive(Index t, Index row) const { return !has(lengths) || t < row_lengths[row]; }
  Layer<T> layer() const;
  std::string text() const;
};

template <typename T>
struct Outputs {
  Array<T> output, h_n, c_n, gates, cells;
};

template <typename T>
Outputs<T> forward(const Problem<T>& problem, Index save_every, int threads);

// (T, B, width) to (N, width): without what is past a row's end.
template <typename T, typename Number>
std::vector<Number> without_padding(const Problem<T>& problem, const Number* padded, Index width) {
  std::vector<Number> real;
  for (Index t = 0; t < problem.sizes.steps; ++t)
    for (Index row = 0; row < problem.sizes.rows; ++row) {
      const Number* const from = padded + (t * problem.sizes.rows + row) * width;
      if (problem.alive(t, row)) real.insert(real.end(), from, from + width);
    }
  return real;
}

// What of the loss's gradients is handed in.
enum class Given { all, output, last_states };

template <typename T>
struct Gradients {
  Array<T> d_z, d_recurrent, d_seen, d_new_h, d_h_0, d_c_0, d_reset_h, d_reset_c;
};

// `recurrent` is R h, (N, GH), where layer norm is on.
template <typename T>
Gradients<T> backward(const Problem<T>& problem, const Outputs<T>& outputs,
                      const Array<T>& recurrent, Given given, int threads);

}  // namespace fastlstm::native
