// A matrix packed for multiplication, and the micro-kernel that multiplies by it.
//
// A panel holds all K factors of up to four vectors of columns, in the order in which they are
// read: [k][vector][lane]. The micro-kernel multiplies up to `tile_rows` rows by one panel with all
// sums in registers. Each sum is one chain of fused multiply-adds over ascending k, whatever the
// number of rows: so a row's result does not depend on its neighbours.
//
// Floor of a tile of R rows and N vectors: R·N·K multiply-adds at two a cycle; from cache come
// N·K vectors of the panel, which the next tile of the same panel finds again.
#pragma once

#include <utility>

#include "calls.h"
#include "simd.h"

namespace fastlstm {
namespace FASTLSTM_TARGET {

constexpr int panel_vectors = 4;

inline Index divide_up(Index a, Index b) { return (a + b - 1) / b; }

// How much memory the panels of a matrix take.
template <typename T>
inline Index panel_elements(Index depth, Index columns) {
  return divide_up(columns, Vec<T>::width) * Vec<T>::width * depth;
}

// A matrix of K rows, any of whose dimensions may be the contiguous one.
template <typename T>
struct Factors {
  const T* data;
  Index k_stride;
  Index column_stride;
};

// Writes one vector of columns into a panel; lanes from `columns` on become zero.
template <typename T>
inline void pack_vector(Factors<T> from, Index depth, int columns, int vectors, T* to) {
  constexpr int width = Vec<T>::width;
  const Index step = static_cast<Index>(vectors) * width;
  if (from.column_stride == 1) {
    for (Index k = 0; k < depth; ++k)
      Vec<T>::load(from.data + k * from.k_stride, columns).store(to + k * step);
    return;
  }
  Index k = 0;
  if (from.k_stride == 1 && columns == width) {
    for (; k + width <= depth; k += width)
      transpose_square(from.data + k, from.column_stride, to + k * step, step);
  }
  for (; k < depth; ++k)
    for (int lane = 0; lane < width; ++lane)
      to[k * step + lane] =
          lane < columns ? from.data[k * from.k_stride + lane * from.column_stride] : T(0);
}

// Writes the panel of the columns [0, columns), of which there are at most `panel_vectors` vectors.
template <typename T>
inline void pack_panel(Factors<T> from, Index depth, Index columns, T* to) {
  constexpr int width = Vec<T>::width;
  const int vectors = static_cast<int>(divide_up(columns, width));
  for (int vector = 0; vector < vectors; ++vector) {
    const Index first = static_cast<Index>(vector) * width;
    const Index count = columns - first < width ? columns - first : width;
    const Factors<T> part{from.data + first * from.column_stride, from.k_stride,
                          from.column_stride};
    pack_vector(part, depth, static_cast<int>(count), vectors, to + vector * width);
  }
}

// Packs the columns of one panel out of a matrix of `columns`, all of whose panels follow `to`.
template <typename T>
inline void pack_panel_of(Factors<T> from, Index depth, Index columns, Index panel, T* to) {
  constexpr Index most = panel_vectors * Vec<T>::width;
  const Index first = panel * most, left = columns - first;
  const Factors<T> part{from.data + first * from.column_stride, from.k_stride, from.column_stride};
  pack_panel(part, depth, left < most ? left : most, to + first * depth);
}

// sums[row][vector] += rows[row] · panel. `sums` is (R, N) vectors.
template <typename T, int R, int N>
inline void multiply(const T* const* rows, const T* panel, Index depth, Vec<T>* sums) {
  constexpr int width = Vec<T>::width;
  Vec<T> acc[R][N];
  const T* from[R];
  FASTLSTM_UNROLL for (int r = 0; r < R; ++r) {
    from[r] = rows[r];
    FASTLSTM_UNROLL for (int n = 0; n < N; ++n) acc[r][n] = sums[r * N + n];
  }
  for (Index k = 0; k < depth; ++k, panel += N * width) {
    FASTLSTM_UNROLL for (int n = 0; n < N; ++n) {
      const Vec<T> column = Vec<T>::load(panel + n * width);
      FASTLSTM_UNROLL for (int r = 0; r < R; ++r) acc[r][n] =
          fma(Vec<T>(from[r][k]), column, acc[r][n]);
    }
  }
  FASTLSTM_UNROLL for (int r = 0; r < R; ++r) FASTLSTM_UNROLL for (int n = 0; n < N; ++n)
      sums[r * N + n] = acc[r][n];
}

template <typename T, int N, int... R>
inline void multiply_rows(int count, const T* const* rows, const T* panel, Index depth,
                          Vec<T>* sums, std::integer_sequence<int, R...>) {
  using Kernel = void (*)(const T* const*, const T*, Index, Vec<T>*);
  static constexpr Kernel kernels[] = {&multiply<T, R + 1, N>...};
  kernels[count - 1](rows, panel, depth, sums);
}

// The same for `count` rows, at most `tile_rows`.
template <typename T, int N>
inline void multiply(int count, const T* const* rows, const T* panel, Index depth, Vec<T>* sums) {
  multiply_rows<T, N>(count, rows, panel, depth, sums,
                      std::make_integer_sequence<int, tile_rows>());
}

// The same for a panel of `vectors` vectors.
template <typename T>
inline void multiply(int vectors, int count, const T* const* rows, const T* panel, Index depth,
                     Vec<T>* sums) {
  switch (vectors) {
    case 1:
      return multiply<T, 1>(count, rows, panel, depth, sums);
    case 2:
      return multiply<T, 2>(count, rows, panel, depth, sums);
    case 3:
      return multiply<T, 3>(count, rows, panel, depth, sums);
    default:
      return multiply<T, 4>(count, rows, panel, depth, sums);
  }
}

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
