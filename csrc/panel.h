// A matrix packed for multiplication, and the micro-kernel that multiplies by it.
//
// A panel holds all K factors of up to four vectors of columns, in the order in which they are
// read: [k][vector][lane]. Sixteen-bit factors are read in pairs, two successive k in one lane:
// [k / 2][vector][lane][2], with zeros after the last up to a multiple of `depth_unit`. The
// micro-kernel multiplies up to `tile_rows` rows by one panel with all sums in registers. Each sum
// is one chain over ascending k, whatever the number of rows: so a row's result does not depend on
// its neighbours. Where there are tile registers, panel_tiles.h multiplies instead.
//
// Floor of a tile of R rows and N vectors: R·N·K multiply-adds at two a cycle (four where factors
// come in pairs); from cache come N·K vectors of the panel, which the next tile of the same panel
// finds again.
#pragma once

#include <utility>

#include "calls.h"
#include "simd.h"

namespace fastlstm {
namespace FASTLSTM_TARGET {

constexpr int panel_vectors = 4;

// How many lanes a vector of sums has, and how many factors go to each at once.
template <typename S>
constexpr Index lanes_of = Vec<Sum<S>>::width;
template <typename S>
constexpr Index group_of = sizeof(Sum<S>) / sizeof(S);

// What a panel's depth is a multiple of, and how many rows a product may write beyond its own.
#if defined(FASTLSTM_AMX)
template <typename S>
constexpr Index depth_unit = 32;
constexpr int spare_rows = 1;
#else
template <typename S>
constexpr Index depth_unit = group_of<S>;
constexpr int spare_rows = 0;
#endif
// How many rows of sums must have room.
constexpr int sums_rows = tile_rows + spare_rows;

inline Index divide_up(Index a, Index b) { return (a + b - 1) / b; }

template <typename S>
inline Index padded_depth(Index depth) {
  return divide_up(depth, depth_unit<S>) * depth_unit<S>;
}

// How much memory the panels of a matrix take.
template <typename S>
inline Index panel_elements(Index depth, Index columns) {
  return divide_up(columns, lanes_of<S>) * lanes_of<S> * padded_depth<S>(depth);
}

// A matrix of K rows, any of whose dimensions may be the contiguous one.
template <typename S>
struct Factors {
  const S* data;
  Index k_stride;
  Index column_stride;
};

// Writes the factor k of each column, in lanes that are `group_of` apart; from `columns` on zero.
template <typename S>
inline void pack_one(Factors<S> from, Index k, int columns, S* to) {
  constexpr Index group = group_of<S>;
  for (Index lane = 0; lane < lanes_of<S>; ++lane)
    to[lane * group] =
        lane < columns ? from.data[k * from.k_stride + lane * from.column_stride] : S{};
}

// Writes one vector of columns into a panel whose successive k are `step` apart.
template <typename T>
inline void pack_columns_of(Factors<T> from, Index depth, int columns, Index step, T* to) {
  constexpr int width = Vec<T>::width;
  if (from.column_stride == 1) {
    for (Index k = 0; k < depth; ++k)
      Vec<T>::load(from.data + k * from.k_stride, columns).store(to + k * step);
    return;
  }
  Index k = 0;
  if (from.k_stride == 1 && columns == width)
    for (; k + width <= depth; k += width)
      transpose_square(from.data + k, from.column_stride, to + k * step, step);
  for (; k < depth; ++k) pack_one(from, k, columns, to + k * step);
}

#if defined(FASTLSTM_BF16)
template <>
inline void pack_columns_of(Factors<bfloat16> from, Index depth, int columns, Index step,
                            bfloat16* to) {
  constexpr int width = Vec<float>::width;
  Index k = 0;
  if (from.column_stride == 1) {
    for (; k + 2 <= depth; k += 2) {
      const bfloat16* const first = from.data + k * from.k_stride;
      _mm512_storeu_si512(to + k / 2 * step, make_pairs(first, first + from.k_stride, columns));
    }
  } else if (from.k_stride == 1 && columns == width) {
    for (; k + 2 * width <= depth; k += 2 * width)
      transpose_pairs(from.data + k, from.column_stride, to + k / 2 * step, step);
  }
  for (; k < depth; ++k) pack_one(from, k, columns, to + k / 2 * step + k % 2);
  for (; k < padded_depth<bfloat16>(depth); ++k) pack_one(from, k, 0, to + k / 2 * step + k % 2);
}
#endif

// Writes one vector of columns into a panel that is `vectors` wide.
template <typename S>
inline void pack_vector(Factors<S> from, Index depth, int columns, int vectors, S* to) {
  pack_columns_of(from, depth, columns, vectors * lanes_of<S> * group_of<S>, to);
}

// Packs the columns of one panel out of a matrix of `columns`, all of whose panels follow `to`.
template <typename S>
inline void pack_panel_of(Factors<S> from, Index depth, Index columns, Index panel, S* to) {
  constexpr Index width = lanes_of<S>, most = panel_vectors * width;
  const Index left = columns - panel * most;
  const Index own = left < most ? left : most;
  const int vectors = static_cast<int>(divide_up(own, width));
  to += panel * most * padded_depth<S>(depth);
  if constexpr (group_of<S> == 1) {
    // Neighbours in memory, read together: far apart from those of the next k.
    if (from.column_stride == 1 && own == most) {
      const S* next = from.data + panel * most;
      for (Index k = 0; k < depth; ++k, next += from.k_stride, to += most)
        FASTLSTM_UNROLL for (int vector = 0; vector < panel_vectors; ++vector)
            Vec<S>::load(next + vector * width)
                .store(to + vector * width);
      return;
    }
  }
  for (int vector = 0; vector < vectors; ++vector) {
    const Index first = vector * width, count = own - first < width ? own - first : width;
    const Factors<S> part{from.data + (panel * most + first) * from.column_stride, from.k_stride,
                          from.column_stride};
    pack_vector(part, depth, static_cast<int>(count), vectors, to + first * group_of<S>);
  }
}

// Where the factors of each row of a tile are.
template <typename S>
struct Rows {
  const S* from[tile_rows];
};

// A panel of this depth, and the rows to multiply by it.
template <typename S>
struct Term {
  Rows<S> rows;
  const S* panel;
  Index depth;
};

// sums[row][vector] += Σ rows[row] · panel over the terms. `sums` is (R, N) vectors.
template <typename T, int R, int N>
struct Multiply {
  static void run(const Term<T>* terms, int count, Vec<T>* sums) {
    constexpr int width = Vec<T>::width;
    Vec<T> acc[R][N];
    FASTLSTM_UNROLL for (int r = 0; r < R; ++r) FASTLSTM_UNROLL for (int n = 0; n < N; ++n)
        acc[r][n] = sums[r * N + n];
    for (const Term<T>* term = terms; term < terms + count; ++term) {
      const T* from[R];
      FASTLSTM_UNROLL for (int r = 0; r < R; ++r) from[r] = term->rows.from[r];
      const T* panel = term->panel;
      for (Index k = 0; k < term->depth; ++k, panel += N * width) {
        FASTLSTM_UNROLL for (int n = 0; n < N; ++n) {
          const Vec<T> column = Vec<T>::load(panel + n * width);
          FASTLSTM_UNROLL for (int r = 0; r < R; ++r) acc[r][n] =
              fma(Vec<T>(from[r][k]), column, acc[r][n]);
        }
      }
    }
    FASTLSTM_UNROLL for (int r = 0; r < R; ++r) FASTLSTM_UNROLL for (int n = 0; n < N; ++n)
        sums[r * N + n] = acc[r][n];
  }
};

#if defined(FASTLSTM_BF16) && !defined(FASTLSTM_AMX)
template <int R, int N>
struct Multiply<bfloat16, R, N> {
  static void run(const Term<bfloat16>* terms, int count, Vec<float>* sums) {
    constexpr int width = Vec<float>::width;
    Vec<float> acc[R][N];
    FASTLSTM_UNROLL for (int r = 0; r < R; ++r) FASTLSTM_UNROLL for (int n = 0; n < N; ++n)
        acc[r][n] = sums[r * N + n];
    for (const Term<bfloat16>* term = terms; term < terms + count; ++term) {
      const bfloat16* from[R];
      FASTLSTM_UNROLL for (int r = 0; r < R; ++r) from[r] = term->rows.from[r];
      const bfloat16* panel = term->panel;
      const Index end = term->depth / 2 * 2;
      for (Index k = 0; k < end; k += 2, panel += 2 * N * width) {
        FASTLSTM_UNROLL for (int n = 0; n < N; ++n) {
          const Pairs column = load_pairs(panel + 2 * n * width);
          FASTLSTM_UNROLL for (int r = 0; r < R; ++r) acc[r][n] =
              dot_pairs(broadcast_pair(from[r] + k), column, acc[r][n]);
        }
      }
      if (term->depth % 2 == 0) continue;
      FASTLSTM_UNROLL for (int n = 0; n < N; ++n) {
        const Pairs column = load_pairs(panel + 2 * n * width);
        FASTLSTM_UNROLL for (int r = 0; r < R; ++r) acc[r][n] =
            dot_pairs(broadcast_single(from[r] + end), column, acc[r][n]);
      }
    }
    FASTLSTM_UNROLL for (int r = 0; r < R; ++r) FASTLSTM_UNROLL for (int n = 0; n < N; ++n)
        sums[r * N + n] = acc[r][n];
  }
};
#endif

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm

#if defined(FASTLSTM_AMX)
#include "panel_tiles.h"
#endif

namespace fastlstm {
namespace FASTLSTM_TARGET {

#if !defined(FASTLSTM_AMX)
// Around a member's part of a call. With a constructor, that nobody takes it for unused.
struct TileSession {
  TileSession() {}
};

template <typename S, int N, int... R>
inline void multiply_rows(int rows, const Term<S>* terms, int count, Vec<Sum<S>>* sums,
                          std::integer_sequence<int, R...>) {
  using Kernel = void (*)(const Term<S>*, int, Vec<Sum<S>>*);
  static constexpr Kernel kernels[] = {&Multiply<S, R + 1, N>::run...};
  kernels[rows - 1](terms, count, sums);
}
#endif

// The same for `rows` rows, at most `tile_rows`.
template <typename S, int N>
inline void multiply(int rows, const Term<S>* terms, int count, Vec<Sum<S>>* sums) {
#if defined(FASTLSTM_AMX)
  multiply_by_tiles(rows, terms, count, sums, std::make_integer_sequence<int, N>());
#else
  multiply_rows<S, N>(rows, terms, count, sums, std::make_integer_sequence<int, tile_rows>());
#endif
}

// The same for one panel of `vectors` vectors.
template <typename S>
inline void multiply(int vectors, int rows, const Term<S>& term, Vec<Sum<S>>* sums) {
  switch (vectors) {
    case 1:
      return multiply<S, 1>(rows, &term, 1, sums);
    case 2:
      return multiply<S, 2>(rows, &term, 1, sums);
    case 3:
      return multiply<S, 3>(rows, &term, 1, sums);
    default:
      return multiply<S, 4>(rows, &term, 1, sums);
  }
}

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
