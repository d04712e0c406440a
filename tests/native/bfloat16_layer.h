// A layer in bfloat16, which has no switch on but those for ragged batches and resets, and calls of
// the engine with it.
#pragma once

#include <string>

#include "engine.h"
#include "guarded.h"
#include "problem.h"

namespace fastlstm::native {

struct Bfloat16Sizes {
  Index steps, rows, hidden, features;
};

struct Bfloat16Outputs {
  Array<bfloat16> output, h_n, c_n, gates;
  Array<float> cells;
};

struct Bfloat16Gradients {
  Array<bfloat16> d_z;  // (T, B, 4H), with zeros where the engine writes nothing: past a row's end
  Array<float> d_h_0, d_c_0, d_reset_h, d_reset_c;
};

struct Bfloat16Layer {
  Bfloat16Sizes sizes;
  unsigned switches;  // of lengths, reset, reset_state, reverse and no_bias

  Array<bfloat16> input, weight_ih, weight_hh, bias_ih, bias_hh, h_0, c_0, reset_h, reset_c;
  Array<std::int64_t> row_lengths;
  Array<bool> is_reset;
  Array<bfloat16> d_output, d_gates;
  Array<float> d_h_n, d_c_n, d_cells;

  Bfloat16Layer(Bfloat16Sizes sizes, unsigned switches);

  bool has(unsigned one) const { return (switches & one) != 0; }
  bool alive(Index t, Index row) const { return !has(lengths) || t < row_lengths[row]; }
  bool resets(Index t, Index row) const {
    return is_reset.get() != nullptr && is_reset[t * sizes.rows + row];
  }
  Index time_of(Index step) const { return has(reverse) ? sizes.steps - 1 - step : step; }
  // The time of a row's step before this one, or -1.
  Index time_before(Index t, Index row) const {
    if (!has(reverse)) return t - 1;
    return t + 1 < sizes.steps && alive(t + 1, row) ? t + 1 : -1;
  }
  std::string text() const;

  Bfloat16Outputs forward(Index save_every, int threads) const;
  Bfloat16Gradients backward(const Bfloat16Outputs& outputs, Given given, int threads) const;

 private:
  Layer<bfloat16> layer() const;
};

}  // namespace fastlstm::native
