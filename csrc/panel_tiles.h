// The micro-kernel of panel.h on tile registers; included by panel.h alone.
//
// A sum goes through its factors in blocks of `tile_depth`: two chains of every other product from
// zero, added to each other and then to the sum. That depends on nothing but the depth, so a row's
// result does not depend on its neighbours; but it differs in the last bits from the one chain of
// the AVX512-BF16 kernels. A batch of few rows therefore goes through tiles as well: were it handed
// to the other kernels, a row's result would tell how many rows stood beside it.
//
// Floor, for a block of R ≤ 16 rows, four vectors of columns and 32 factors on Sapphire Rapids, by
// Intel's figures (nobody has measured them here yet). Four multiplications take at most 16 cycles
// each, 64, beside five loads of 8 cycles from the level-1 cache, 40: at 16 rows that is 512
// multiply-adds a cycle. AVX512-BF16 makes 32, one instruction a cycle: 64·R cycles a block.
// One row alone: either waits for the panel's 4 KiB, 85 cycles at 48 bytes a cycle from the level-2
// cache; from the level-1 cache it is 64 cycles either way. Two rows: tiles take as long as for
// one, the others twice as long. So no number of rows asks for the other kernels by more than what
// the tiles of sums cost, some 8 cycles to load and 16 to store each, once a panel.
#pragma once

#include <utility>

#include "tiles.h"

namespace fastlstm {
namespace FASTLSTM_TARGET {

// Tiles that have one row too many serve as well. Tiles of one batch differ by one at most: else
// each panel would have to change the shape of the tiles to and fro.
inline int shaped_rows_for(int rows) {
  if (rows != shaped_rows && rows + 1 != shaped_rows) shape_tiles(rows);
  return shaped_rows;
}

// By how many bytes each row is after the one before it; zero if they are not evenly spaced.
inline Index spacing_of(const Rows<bfloat16>& rows, int count) {
  if (count == 1) return row_bytes;
  const auto address = [&](int row) { return reinterpret_cast<std::intptr_t>(rows.from[row]); };
  const std::intptr_t spacing = address(1) - address(0);
  for (int row = 2; row < count; ++row)
    if (address(row) - address(row - 1) != spacing) return 0;
  return spacing;
}

// Copies what a tile cannot load in place, with zeros after the last factor: beyond it there may be
// NaN, which the panel's zeros would not cancel, or no memory.
inline void copy_block(const Rows<bfloat16>& rows, int count, Index k, Index depth, bfloat16* to) {
  const auto mask = static_cast<__mmask32>(depth < tile_depth ? (1u << depth) - 1u : ~0u);
  for (int row = 0; row < count; ++row)
    _mm512_store_si512(to + row * tile_depth, _mm512_maskz_loadu_epi16(mask, rows.from[row] + k));
}

// sums[row][vector] += Σ rows[row] · panel over the terms. `sums` is (R, N) vectors, and has room
// for one more row.
template <int... vector>
inline void multiply_by_tiles(int rows, const Term<bfloat16>* terms, int count, Vec<float>* sums,
                              std::integer_sequence<int, vector...>) {
  constexpr Index N = sizeof...(vector), stride = N * row_bytes;
  constexpr Index pairs = 2 * Vec<float>::width, block = N * tile_depth * Vec<float>::width;
  alignas(64) bfloat16 copied[16 * tile_depth];
  const int shaped = shaped_rows_for(rows);
  if (shaped != rows) std::memset(copied + rows * tile_depth, 0, row_bytes);
  (VectorTiles<vector>::load_sums(sums + vector, stride), ...);
  for (const Term<bfloat16>* term = terms; term < terms + count; ++term) {
    const Index spacing = shaped == rows ? spacing_of(term->rows, rows) : 0;
    const bfloat16* panel = term->panel;
    for (Index k = 0; k < term->depth; k += tile_depth, panel += block) {
      const Index left = term->depth - k;
      if (spacing != 0 && left >= tile_depth) {
        load_rows_tile(term->rows.from[0] + k, spacing);
      } else {
        copy_block(term->rows, rows, k, left, copied);
        load_rows_tile(copied, row_bytes);
      }
      (VectorTiles<vector>::multiply_by(panel + vector * pairs, stride), ...);
    }
  }
  (VectorTiles<vector>::store_sums(sums + vector, stride), ...);
}

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
