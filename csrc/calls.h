// What the kernels take: plain pointers into contiguous arrays whose shapes the bindings have
// checked. T time steps, B rows, H units, R recurrent features, G gates; see DESIGN, section 2,
// and `ScanArguments` for what each means. A null pointer is a switch that is off.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastlstm {

using Index = std::ptrdiff_t;

// What the forward and the backward pass of one layer have in common.
template <typename T>
struct Layer {
  Index steps, rows, hidden, recurrent;
  int gate_count;
  bool reverse;

  const T* weight_hh;       // (GH, R)
  const T* weight_hr;       // (R, H)
  const T* peephole;        // (G - 1, H)
  const T* norm_hh;         // (GH)
  const T* norm_cell;       // (H)
  const T* norm_cell_bias;  // (H)
  const T* c_0;             // (B, H)
  const T* reset_c;         // (B, H)

  const std::int64_t* lengths;      // (B)
  const bool* reset;                // (T, B)
  const T* recurrent_mask;          // (B, R)
  const bool* zoneout_cell_mask;    // (T, B, H)
  const bool* zoneout_hidden_mask;  // (T, B, R)

  T zoneout_cell, zoneout_hidden, cell_clip, norm_epsilon;

  Index gates_width() const { return gate_count * hidden; }
  bool alive(Index t, Index row) const { return lengths == nullptr || t < lengths[row]; }
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

template <typename T>
struct ForwardCall {
  Layer<T> layer;
  Index features;
  const T* input;      // (T, B, I)
  const T* weight_ih;  // (GH, I)
  const T* bias_ih;    // (GH)
  const T* bias_hh;    // (GH)
  const T* norm_ih;    // (GH)
  const T* h_0;        // (B, R)
  const T* reset_h;    // (B, R)
  T* gates;            // (T, B, GH), or null if they are not kept
  T* output;           // (T, B, R)
  T* h_n;              // (B, R)
  T* c_n;              // (B, H)
  T* cells;            // (T, B, H), or (⌈T / save_every⌉, B, H)
  Index save_every;
};

template <typename T>
struct BackwardCall {
  Layer<T> layer;
  const T* gates;      // (T, B, GH)
  const T* cells;      // (T, B, H)
  const T* recurrent;  // (T, B, GH): R h, where layer norm is on

  const T* d_output;  // (T, B, R)
  const T* d_h_n;     // (B, R)
  const T* d_c_n;     // (B, H)
  const T* d_gates;   // (T, B, GH)
  const T* d_cells;   // (T, B, H)

  T* d_z;          // (T, B, GH)
  T* d_recurrent;  // (T, B, GH), with layer norm
  T* d_seen;       // (T, B, H), with layer norm
  T* d_new_h;      // (T, B, R), with a projection
  T* d_h_0;        // (B, R)
  T* d_c_0;        // (B, H)
  T* d_reset_h;    // (B, R), with resets
  T* d_reset_c;    // (B, H), with resets
};

// out = a·b, or out += a·b.
template <typename T>
struct ProductCall {
  Index rows, depth, columns;
  const T* a;  // (rows, depth)
  Index a_row_stride, a_depth_stride;
  const T* b;  // (depth, columns)
  Index b_depth_stride, b_column_stride;
  bool accumulate;
  T* out;       // (rows, columns)
  T* row_sums;  // (rows): of a over its depth; may be null
};

}  // namespace fastlstm
