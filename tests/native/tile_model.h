// The tile registers of a thread in software, after the published description of the instructions
// (Intel's manual of the architecture, volume 2: LDTILECFG, TILELOADD, TILESTORED, TDPBF16PS,
// TILERELEASE). What would be a fault of the processor ends the program.
//
// TDPBF16PS is modelled as the manual's pseudo-code has it: for each row and column two chains of
// fused multiply-adds from zero, one of the first and one of the second factors of all pairs, which
// are added to each other and then to the sum. Each operation rounds to the nearest even, takes
// subnormal numbers for zero and gives zero for them (told after rounding). Left out: which of
// several NaNs comes through.
#pragma once

#ifndef FASTLSTM_TARGET
#error "define FASTLSTM_TARGET: the instruction set that this file is compiled for"
#endif

#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace fastlstm {
namespace FASTLSTM_TARGET {

class TileModel {
 public:
  static constexpr int tiles = 8, most_rows = 16, most_bytes = 64;

  // 64 bytes: the palette, the row to start with, fourteen zeros, sixteen lengths of rows in two
  // bytes each and sixteen numbers of rows.
  void configure(const void* configuration) {
    unsigned char bytes[64];
    std::memcpy(bytes, configuration, sizeof bytes);
    require(bytes[0] == 1, "the palette is not 1");
    require(bytes[1] == 0, "the first row is not 0");
    for (int i = 2; i < 16; ++i) require(bytes[i] == 0, "a reserved byte is not 0");
    for (int tile = 0; tile < 16; ++tile) {
      const int row_bytes = bytes[16 + 2 * tile] + 256 * bytes[17 + 2 * tile];
      const int rows = bytes[48 + tile];
      require(tile < tiles || (rows == 0 && row_bytes == 0), "there are only eight tiles");
      require(rows <= most_rows && row_bytes <= most_bytes, "a tile is too large");
      require((rows == 0) == (row_bytes == 0), "a tile has rows and no columns, or the reverse");
      if (tile < tiles) tiles_[tile] = Tile{rows, row_bytes, {}};
    }
    is_configured_ = true;
  }

  void release() { *this = TileModel(); }
  bool is_configured() const { return is_configured_; }

  void load(int tile, const void* from, std::ptrdiff_t stride) {
    Tile& to = used(tile);
    std::memset(to.rows_of_bytes, 0, sizeof to.rows_of_bytes);
    for (int row = 0; row < to.rows; ++row)
      std::memcpy(to.rows_of_bytes[row], static_cast<const unsigned char*>(from) + row * stride,
                  static_cast<std::size_t>(to.row_bytes));
  }

  void store(int tile, void* to, std::ptrdiff_t stride) {
    const Tile& from = used(tile);
    for (int row = 0; row < from.rows; ++row)
      std::memcpy(static_cast<unsigned char*>(to) + row * stride, from.rows_of_bytes[row],
                  static_cast<std::size_t>(from.row_bytes));
  }

  // TDPBF16PS.
  void multiply_add(int sums_tile, int rows_tile, int columns_tile) {
    require(sums_tile != rows_tile && sums_tile != columns_tile && rows_tile != columns_tile,
            "a tile is multiplied by itself or added to itself");
    Tile& sums = used(sums_tile);
    const Tile& rows = used(rows_tile);
    const Tile& columns = used(columns_tile);
    require(sums.row_bytes % 4 == 0 && rows.row_bytes % 4 == 0, "half a number");
    require(sums.rows == rows.rows, "as many rows of sums as of factors");
    require(sums.row_bytes == columns.row_bytes, "as many columns of sums as of factors");
    require(rows.row_bytes == 4 * columns.rows, "as many pairs in a row as in a column");
    const int width = sums.row_bytes / 4, pairs = rows.row_bytes / 4;
    for (int row = 0; row < sums.rows; ++row) {
      float first[16] = {}, second[16] = {}, totals[16];
      for (int pair = 0; pair < pairs; ++pair) {
        std::uint32_t factors, of_columns[16];
        std::memcpy(&factors, rows.rows_of_bytes[row] + 4 * pair, sizeof factors);
        std::memcpy(of_columns, columns.rows_of_bytes[pair], sizeof of_columns);
        const float low = number(factors << 16), high = number(factors & 0xffff0000u);
        for (int i = 0; i < width; ++i) {
          first[i] = flushed(std::fma(low, number(of_columns[i] << 16), first[i]));
          second[i] = flushed(std::fma(high, number(of_columns[i] & 0xffff0000u), second[i]));
        }
      }
      std::memcpy(totals, sums.rows_of_bytes[row], sizeof totals);
      for (int i = 0; i < width; ++i)
        totals[i] = flushed(flushed(totals[i]) + flushed(first[i] + second[i]));
      std::memcpy(sums.rows_of_bytes[row], totals, static_cast<std::size_t>(sums.row_bytes));
    }
  }

 private:
  struct Tile {
    int rows = 0, row_bytes = 0;
    unsigned char rows_of_bytes[most_rows][most_bytes] = {};
  };

  static void require(bool right, const char* otherwise) {
    if (right) return;
    std::fprintf(stderr, "tile model: %s\n", otherwise);
    std::abort();
  }

  Tile& used(int tile) {
    require(is_configured_, "nothing is configured");
    require(tile >= 0 && tile < tiles && tiles_[tile].rows > 0, "this tile is not configured");
    return tiles_[tile];
  }

  static float flushed(float value) {
    return std::fabs(value) < FLT_MIN ? std::copysign(0.0f, value) : value;
  }
  static float number(std::uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return flushed(value);
  }

  bool is_configured_ = false;
  Tile tiles_[tiles];
};

inline thread_local TileModel tile_model;

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
