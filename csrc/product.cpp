// Products of two matrices, for the input's part of the gates and for the gradients after the loop.
//
// Blocked after Goto & van de Geijn 2008 ("Anatomy of High-Performance Matrix Multiplication"),
// with the packed block of the second matrix in the level-2 cache and a few rows of the first in
// the level-1 cache. A sum is one chain over ascending depth in each block of a fixed depth, and
// one over the blocks: that tiles and threads change no bit of it, and a long sum stays exact.
// Floor: rows · depth · columns multiply-adds.
#include "activation.h"
#include "kernels.h"
#include "share.h"

namespace fastlstm {
namespace FASTLSTM_TARGET {
namespace {

// One block of the second matrix is half a megabyte, and the wider the less deep it is.
template <typename T>
constexpr Index block_depth = 2048 / sizeof(T);
template <typename T>
constexpr Index block_elements = 256 * block_depth<T>;
constexpr Index block_rows = 48;

// Keeps rows that are a power of two apart out of each other's cache sets.
template <typename T>
constexpr Index packed_row_stride = block_depth<T> + 64 / sizeof(T);

template <typename T>
class Product {
 public:
  Product(const ProductCall<T>& call, T* scratch, const Member& member) : call_(call) {
    constexpr Index most = panel_vectors * Vec<T>::width;
    rows_ = {0, call.rows};
    columns_ = {0, call.columns};
    if (call.rows >= call.columns) {
      rows_ = part_of(call.rows, member);
    } else {
      const Range panels = part_of(divide_up(call.columns, most), member);
      columns_ = {panels.first * most, panels.last * most};
      if (columns_.last > call.columns) columns_.last = call.columns;
      if (columns_.first > columns_.last) columns_.first = columns_.last;
    }
    scratch += member.index * scratch_elements();
    packed_rows_ = scratch;
    packed_columns_ = scratch + block_rows * packed_row_stride<T>;
  }

  static Index scratch_elements() { return block_rows * packed_row_stride<T> + block_elements<T>; }

  void run() {
    if (call_.depth == 0) return multiply_block(0, 0, columns_);
    constexpr Index most = panel_vectors * Vec<T>::width;
    for (Index k = 0; k < call_.depth; k += block_depth<T>) {
      const Index depth = call_.depth - k < block_depth<T> ? call_.depth - k : block_depth<T>;
      const Index block_columns = block_elements<T> / depth / most * most;
      for (Index n = columns_.first; n < columns_.last; n += block_columns) {
        const Index last = n + block_columns;
        multiply_block(k, depth, {n, last < columns_.last ? last : columns_.last});
      }
    }
  }

 private:
  void multiply_block(Index k, Index depth, Range columns) {
    const Index panels = panel_count<T>(columns.size());
    const Factors<T> from{
        call_.b + k * call_.b_depth_stride + columns.first * call_.b_column_stride,
        call_.b_depth_stride, call_.b_column_stride};
    for (Index panel = 0; panel < panels; ++panel)
      pack_panel_of(from, depth, columns.size(), panel, packed_columns_);
    for (Index first = rows_.first; first < rows_.last; first += block_rows) {
      const Index left = rows_.last - first;
      multiply_rows_of_block(k, depth, columns, first, left < block_rows ? left : block_rows);
    }
  }

  void multiply_rows_of_block(Index k, Index depth, Range columns, Index first_row, Index rows) {
    const T* from = call_.a + first_row * call_.a_row_stride + k * call_.a_depth_stride;
    Index stride = call_.a_row_stride;
    if (call_.a_depth_stride != 1) {
      pack_rows(from, depth, rows);
      from = packed_rows_;
      stride = packed_row_stride<T>;
    }
    for_each_tile(rows, tile_rows, [&](Index first, Index count) {
      const T* factors[tile_rows];
      for (Index row = 0; row < count; ++row) factors[row] = from + (first + row) * stride;
      for (Index panel = 0; panel < panel_count<T>(columns.size()); ++panel)
        multiply_tile(k, depth, columns, panel, first_row + first, static_cast<int>(count),
                      factors);
    });
  }

  // Each row's factors side by side.
  void pack_rows(const T* from, Index depth, Index rows) {
    constexpr Index width = Vec<T>::width;
    for (Index k = 0; k < depth; k += width) {
      const Index count = depth - k < width ? depth - k : width;
      for (Index row = 0; row < rows; row += width) {
        const Index part = rows - row < width ? rows - row : width;
        transpose(from + row * call_.a_row_stride + k * call_.a_depth_stride, part, count,
                  packed_rows_ + row * packed_row_stride<T> + k);
      }
    }
  }

  void transpose(const T* from, Index rows, Index depth, T* to) const {
    constexpr Index width = Vec<T>::width;
    constexpr Index stride = packed_row_stride<T>;
    if (rows == width && depth == width && call_.a_row_stride == 1)
      return transpose_square(from, call_.a_depth_stride, to, stride);
    for (Index row = 0; row < rows; ++row)
      for (Index k = 0; k < depth; ++k)
        to[row * stride + k] = from[row * call_.a_row_stride + k * call_.a_depth_stride];
  }

  void multiply_tile(Index k, Index depth, Range columns, Index panel, Index first_row, int rows,
                     const T* const* factors) {
    constexpr Index width = Vec<T>::width;
    const Range range = columns_of_panel<T>(panel, columns.size());
    const int vectors = static_cast<int>(divide_up(range.size(), width));
    const auto for_each_sum = [&](const auto& use) {
      for (int row = 0; row < rows; ++row)
        for (int vector = 0; vector < vectors; ++vector) {
          const Index column = columns.first + range.first + vector * width;
          const Index left = columns.last - column;
          use(row * vectors + vector, (first_row + row) * call_.out_stride + column, column,
              static_cast<int>(left < width ? left : width));
        }
    };
    Vec<T> sums[tile_rows * panel_vectors];
    for (Vec<T>& one : sums) one = Vec<T>(T(0));
    multiply(vectors, rows, factors, packed_columns_ + range.first * depth, depth, sums);
    for_each_sum([&](int i, Index at, Index column, int n) {
      if (k > 0) {
        sums[i] = Vec<T>::load(call_.out + at, n) + sums[i];
      } else if (call_.bias != nullptr) {
        sums[i] = Vec<T>::load(call_.bias + column, n) + sums[i];
      }
      sums[i].store(call_.out + at, n);
    });
  }

  const ProductCall<T>& call_;
  Range rows_, columns_;
  T* packed_rows_;
  T* packed_columns_;
};

}  // namespace

template <typename T>
Index product_scratch(const ProductCall<T>&, int threads) {
  return threads * Product<T>::scratch_elements();
}

template <typename T>
void product(const ProductCall<T>& call, T* scratch, const Member& member) {
  Product<T>(call, scratch, member).run();
}

template <typename T>
void apply_sigmoid(const T* from, T* to, Index count) {
  for_each_vector<T>(
      0, count, [&](Index at, int n) { sigmoid(Vec<T>::load(from + at, n)).store(to + at, n); });
}

template <typename T>
void apply_tanh(const T* from, T* to, Index count) {
  for_each_vector<T>(0, count,
                     [&](Index at, int n) { tanh(Vec<T>::load(from + at, n)).store(to + at, n); });
}

#define FASTLSTM_INSTANTIATE(T)                                    \
  template Index product_scratch(const ProductCall<T>&, int);      \
  template void product(const ProductCall<T>&, T*, const Member&); \
  template void apply_sigmoid(const T*, T*, Index);                \
  template void apply_tanh(const T*, T*, Index);
FASTLSTM_INSTANTIATE(float)
FASTLSTM_INSTANTIATE(double)
#undef FASTLSTM_INSTANTIATE

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
