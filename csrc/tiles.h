// Tile registers (AMX): what the kernels need of them, in hardware or, for tests, in software.
//
// A tile is up to 16 rows of up to 64 bytes. One multiplication adds to a tile of sums (rows × 16
// columns) the products of a tile of rows (rows × 32 factors) and one of columns (32 factors × 16,
// in pairs as a panel holds them).
#pragma once

#include <cstdint>
#include <cstring>

#include "calls.h"
#include "simd.h"

#if defined(FASTLSTM_EMULATE_TILES)
#include "tile_model.h"
#else
#include <immintrin.h>
#endif

namespace fastlstm {
namespace FASTLSTM_TARGET {

constexpr int tile_depth = 32;   // factors in a row of a tile
constexpr Index row_bytes = 64;  // of a full tile

// What LDTILECFG reads (Intel's manual of the architecture, volume 1, chapter 18).
struct alignas(64) TileShapes {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};

#if defined(FASTLSTM_EMULATE_TILES)
#define FASTLSTM_CONFIGURE_TILES(shapes) tile_model.configure(shapes)
#define FASTLSTM_RELEASE_TILES() tile_model.release()
#define FASTLSTM_LOAD_TILE(tile, from, stride) tile_model.load(tile, from, stride)
#define FASTLSTM_STORE_TILE(tile, to, stride) tile_model.store(tile, to, stride)
#define FASTLSTM_MULTIPLY_TILES(sums, rows, columns) tile_model.multiply_add(sums, rows, columns)
#else
#define FASTLSTM_CONFIGURE_TILES(shapes) _tile_loadconfig(shapes)
#define FASTLSTM_RELEASE_TILES() _tile_release()
#define FASTLSTM_LOAD_TILE(tile, from, stride) _tile_loadd(tile, from, stride)
#define FASTLSTM_STORE_TILE(tile, to, stride) _tile_stored(tile, to, stride)
#define FASTLSTM_MULTIPLY_TILES(sums, rows, columns) _tile_dpbf16ps(sums, rows, columns)
#endif

// GCC's intrinsics do not say that they read memory: without this on both sides of them, what they
// read might be written too late, or written over too early.
inline void settle(const void* memory) { __asm__ volatile("" : : "r"(memory) : "memory"); }

// The sums of vector `n` of the columns, and the tile of columns that goes with them. The number
// of a tile is part of the instruction, and the intrinsics want it as a literal.
template <int n>
struct VectorTiles;

#define FASTLSTM_VECTOR_TILES(n, rows, columns)               \
  template <>                                                 \
  struct VectorTiles<n> {                                     \
    static void load_sums(const void* from, Index stride) {   \
      settle(from);                                           \
      FASTLSTM_LOAD_TILE(n, from, stride);                    \
      settle(from);                                           \
    }                                                         \
    static void store_sums(void* to, Index stride) {          \
      FASTLSTM_STORE_TILE(n, to, stride);                     \
      settle(to);                                             \
    }                                                         \
    static void multiply_by(const void* from, Index stride) { \
      settle(from);                                           \
      FASTLSTM_LOAD_TILE(columns, from, stride);              \
      FASTLSTM_MULTIPLY_TILES(n, rows, columns);              \
    }                                                         \
  };
FASTLSTM_VECTOR_TILES(0, 4, 5)
FASTLSTM_VECTOR_TILES(1, 4, 6)
FASTLSTM_VECTOR_TILES(2, 4, 7)
FASTLSTM_VECTOR_TILES(3, 4, 5)
#undef FASTLSTM_VECTOR_TILES

inline void load_rows_tile(const void* from, Index stride) {
  settle(from);
  FASTLSTM_LOAD_TILE(4, from, stride);
  settle(from);
}

// How many rows the tiles of this thread have; none before a call shapes them.
inline thread_local int shaped_rows = 0;

// Out of line: most multiplications find the shapes that they need.
__attribute__((noinline)) inline void shape_tiles(int rows) {
  constexpr int of_sums = 4, of_rows = 1, of_columns = 3;
  TileShapes shapes;
  for (int tile = 0; tile < of_sums + of_rows + of_columns; ++tile) {
    shapes.row_bytes[tile] = row_bytes;
    shapes.rows[tile] = static_cast<std::uint8_t>(tile < of_sums + of_rows ? rows : 16);
  }
  settle(&shapes);
  FASTLSTM_CONFIGURE_TILES(&shapes);
  settle(&shapes);
  shaped_rows = rows;
}

// Around a thread's part of a call. Before it the tiles may have another library's shapes; after
// it they have none, which spares every switch of threads the saving of 8 KiB.
class TileSession {
 public:
  TileSession() { shaped_rows = 0; }
  ~TileSession() {
    if (shaped_rows > 0) FASTLSTM_RELEASE_TILES();
  }
  TileSession(const TileSession&) = delete;
  TileSession& operator=(const TileSession&) = delete;
};

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
