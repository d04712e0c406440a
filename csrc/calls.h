// What the kernels take: plain pointers into contiguous arrays whose shapes the bindings have
// checked. T time steps, B rows, H units, R recurrent features, G gates; see DESIGN, section 2,
// and `ScanArguments` for what each means. A null pointer is a switch that is off.
#pragma once

#include <cstddef>
#include <cstdint>

#include "bfloat16.h"

namespace fastlstm {

using Index = std::ptrdiff_t;

// What the forward and the backward pass of one layer have in common. Its arrays hold numbers of
// type S; states and sums over steps are of type T.
template <typename S>
struct Layer {
  using T = Sum<S>;

  Index steps, rows, hidden, recurrent;
  int gate_count;
  bool reverse;

  const S* weight_hh;       // (GH, R)
  const S* weight_hr;       // (R, H)
  const S* peephole;        // (G - 1, H)
  const S* norm_hh;         // (GH)
  const S* norm_cell;       // (H)
  const S* norm_cell_bias;  // (H)
  const S* c_0;             // (B, H)
  const S* reset_c;         // (B, H)

  const std::int64_t* lengths;      // (B)
  const bool* reset;                // (T, B)
  const S* recurrent_mask;          // (B, R)
  const bool* zoneout_cell_mask;    // (T, B, H)
  const bool* zoneout_hidden_mask;  // (T, B, R)

  T zoneout_cell, zoneout_hidden, cell_clip, norm_epsilon;

  Index gates_width() const { return gate_count * hidden; }
  bool alive(Index t, Index row) const { return lengths == nullptr || t < lengths[row]; }
  // How many steps a row takes, and N: how many all of them take together.
  Index steps_of(Index row) const {
    const Index length = lengths == nullptr ? steps : static_cast<Index>(lengths[row]);
    return length < 0 ? 0 : length < steps ? length : steps;
  }
  Index real_steps() const {
    Index count = 0;
    for (Index row = 0; row < rows; ++row) count += steps_of(row);
    return count;
  }
  Index time_of(Index step) const { return reverse ? steps - 1 - step : step; }
  // Without any of what the equations of 1997 and 2000 do not have; ragged batches and resets
  // change where a step starts, not what it calculates.
  bool is_plain() const {
    return gate_count == 4 && weight_hr == nullptr && peephole == nullptr && norm_hh == nullptr &&
           recurrent_mask == nullptr && zoneout_cell_mask == nullptr &&
           zoneout_hidden_mask == nullptr && zoneout_cell == 0 && zoneout_hidden == 0 &&
           cell_clip == 0;
  }
};

template <typename S>
struct ForwardCall {
  Layer<S> layer;
  Index features;
  const S* input;      // (T, B, I)
  const S* weight_ih;  // (GH, I)
  const S* bias_ih;    // (GH)
  const S* bias_hh;    // (GH)
  const S* norm_ih;    // (GH)
  const S* h_0;        // (B, R)
  const S* reset_h;    // (B, R)
  S* gates;            // (T, B, GH), or null if they are not kept
  S* output;           // (T, B, R)
  S* h_n;              // (B, R)
  S* c_n;              // (B, H)
  Sum<S>* cells;       // (T, B, H), or (⌈T / save_every⌉, B, H)
  Index save_every;
};

template <typename S>
struct BackwardCall {
  using T = Sum<S>;

  Layer<S> layer;
  const S* gates;      // (T, B, GH)
  const T* cells;      // (T, B, H)
  const T* recurrent;  // (N, GH): R h, where layer norm is on

  const S* d_output;  // (T, B, R)
  const T* d_h_n;     // (B, R)
  const T* d_c_n;     // (B, H)
  const S* d_gates;   // (T, B, GH)
  const T* d_cells;   // (T, B, H)

  // A row for each real step, in the order of time and then of the batch; none for padding.
  S* d_z;          // (N, GH)
  S* d_recurrent;  // (N, GH), with layer norm
  T* d_seen;       // (N, H), with layer norm
  S* d_new_h;      // (N, R), with a projection
  T* d_h_0;        // (B, R)
  T* d_c_0;        // (B, H)
  T* d_reset_h;    // (B, R), with resets
  T* d_reset_c;    // (B, H), with resets
};

// out = a·b, or out += a·b.
template <typename S>
struct ProductCall {
  Index rows, depth, columns;
  const S* a;  // (rows, depth)
  Index a_row_stride, a_depth_stride;
  const S* b;  // (depth, columns)
  Index b_depth_stride, b_column_stride;
  bool accumulate;
  Sum<S>* out;       // (rows, columns)
  Sum<S>* row_sums;  // (rows): of a over its depth; may be null
};

}  // namespace fastlstm
