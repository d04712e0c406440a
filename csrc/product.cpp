// Products of two matrices, for the gradients that are sums over all steps.
//
// Blocked after Goto & van de Geijn 2008 ("Anatomy of High-Performance Matrix Multiplication"). A
// sum is one chain over ascending depth in each block of a fixed depth, and one over the blocks:
// that tiles and threads change no bit of it, and a long sum stays exact.
// Floor: rows · depth · columns multiply-adds.
#include "activation.h"
#include "kernels.h"
#include "share.h"

namespace fastlstm {
namespace FASTLSTM_TARGET {
namespace {

template <typename T>
constexpr Index block_depth = 2048 / sizeof(T);
// A block of rows and one panel of columns fit the level-2 cache together.
constexpr Index block_rows = 96;

// Keeps rows that are a power of two apart out of each other's cache sets.
template <typename T>
constexpr Index packed_row_stride = block_depth<T> + 64 / sizeof(T);

inline Index at_most(Index value, Index limit) { return value < limit ? value : limit; }

template <typename T>
class Product {
 public:
  Product(const ProductCall<T>& call, T* scratch, const Member& member)
      : call_(call), rows_{0, call.rows}, columns_{0, call.columns} {
    constexpr Index most = panel_vectors * Vec<T>::width;
    if (call.rows >= call.columns) {
      rows_ = part_of(call.rows, member);
    } else {
      const Range panels = part_of(divide_up(call.columns, most), member);
      columns_ = {panels.first * most, at_most(panels.last * most, call.columns)};
      if (columns_.first > columns_.last) columns_.first = columns_.last;
    }
    sums_rows_ = call.row_sums != nullptr && (call.rows >= call.columns || member.index == 0);
    Arena<T> arena(scratch);
    for (int index = 0; index <= member.index; ++index) lay_out(arena);
  }

  // Each member packs for itself: that is a small part of the work, and nobody waits.
  static Index scratch_elements(const ProductCall<T>& call, int members) {
    Arena<T> arena(nullptr);
    Product<T> one(call, nullptr, {0, 1, nullptr});
    for (int index = 0; index < members; ++index) one.lay_out(arena);
    return arena.used();
  }

  // A deep product goes block of depth by block of depth, and its result is read and written once
  // for each; a product of many rows packs the whole second matrix, and its result stays in cache.
  void run() {
    const Index blocks = divide_up(call_.depth, block_depth<T>);
    if (blocks == 0) return clear();
    if (is_deep()) {
      for (Index block = 0; block < blocks; ++block) {
        pack_columns(block, packed_columns_);
        for_each_block_of_rows(
            [&](Index first, Index count) { multiply_rows(block, first, count, packed_columns_); });
      }
    } else {
      for (Index block = 0; block < blocks; ++block) pack_columns(block, columns_of_block(block));
      for_each_block_of_rows([&](Index first, Index count) {
        for (Index block = 0; block < blocks; ++block)
          multiply_rows(block, first, count, columns_of_block(block));
      });
    }
  }

 private:
  static constexpr Index width = Vec<T>::width;

  bool is_deep() const { return call_.depth > call_.rows; }

  void lay_out(Arena<T>& arena) {
    packed_rows_ = arena.take(call_.a_depth_stride == 1 ? 0 : block_rows * packed_row_stride<T>);
    const Index depth = is_deep() ? at_most(call_.depth, block_depth<T>) : call_.depth;
    packed_columns_ = arena.take(panel_elements<T>(depth, call_.columns));
  }

  Index depth_of(Index block) const {
    return at_most(call_.depth - block * block_depth<T>, block_depth<T>);
  }
  T* columns_of_block(Index block) const {
    return packed_columns_ + panel_elements<T>(block * block_depth<T>, columns_.size());
  }

  void clear() {
    for (Index row = rows_.first; row < rows_.last && !call_.accumulate; ++row)
      for (Index column = columns_.first; column < columns_.last; ++column)
        call_.out[row * call_.columns + column] = T(0);
    for (Index row = rows_.first; row < rows_.last && sums_rows_; ++row) call_.row_sums[row] = T(0);
  }

  void pack_columns(Index block, T* to) const {
    const Factors<T> from{call_.b + block * block_depth<T> * call_.b_depth_stride +
                              columns_.first * call_.b_column_stride,
                          call_.b_depth_stride, call_.b_column_stride};
    for (Index panel = 0; panel < panel_count<T>(columns_.size()); ++panel)
      pack_panel_of(from, depth_of(block), columns_.size(), panel, to);
  }

  template <typename Work>
  void for_each_block_of_rows(const Work& work) const {
    for (Index first = rows_.first; first < rows_.last; first += block_rows)
      work(first, at_most(rows_.last - first, block_rows));
  }

  void multiply_rows(Index block, Index first_row, Index rows, const T* panels) {
    const Index depth = depth_of(block);
    const T* from =
        call_.a + first_row * call_.a_row_stride + block * block_depth<T> * call_.a_depth_stride;
    Index stride = call_.a_row_stride;
    if (call_.a_depth_stride != 1) {
      pack_rows(from, depth, rows);
      from = packed_rows_;
      stride = packed_row_stride<T>;
    }
    if (sums_rows_) sum_rows(block, first_row, rows, from, stride);
    for (Index panel = 0; panel < panel_count<T>(columns_.size()); ++panel)
      for_each_tile(rows, tile_rows, [&](Index first, Index count) {
        const T* factors[tile_rows];
        for (Index row = 0; row < count; ++row) factors[row] = from + (first + row) * stride;
        multiply_tile(block, panels, panel, first_row + first, static_cast<int>(count), factors);
      });
  }

  // Each row's factors side by side.
  void pack_rows(const T* from, Index depth, Index rows) {
    for (Index k = 0; k < depth; k += width)
      for (Index row = 0; row < rows; row += width)
        transpose(from + row * call_.a_row_stride + k * call_.a_depth_stride,
                  at_most(rows - row, width), at_most(depth - k, width),
                  packed_rows_ + row * packed_row_stride<T> + k);
  }

  void transpose(const T* from, Index rows, Index depth, T* to) const {
    constexpr Index stride = packed_row_stride<T>;
    if (rows == width && depth == width && call_.a_row_stride == 1)
      return transpose_square(from, call_.a_depth_stride, to, stride);
    for (Index row = 0; row < rows; ++row)
      for (Index k = 0; k < depth; ++k)
        to[row * stride + k] = from[row * call_.a_row_stride + k * call_.a_depth_stride];
  }

  void sum_rows(Index block, Index first_row, Index rows, const T* from, Index stride) {
    for (Index row = 0; row < rows; ++row) {
      Vec<T> total(T(0));
      for_each_vector<T>(0, depth_of(block), [&](Index k, int n) {
        total = total + Vec<T>::load(from + row * stride + k, n);
      });
      T& to = call_.row_sums[first_row + row];
      to = block > 0 ? to + sum(total) : sum(total);
    }
  }

  void multiply_tile(Index block, const T* panels, Index panel, Index first_row, int rows,
                     const T* const* factors) {
    const Index depth = depth_of(block);
    const Range range = columns_of_panel<T>(panel, columns_.size());
    const int vectors = static_cast<int>(divide_up(range.size(), width));
    T* const out = call_.out + first_row * call_.columns + columns_.first + range.first;
    const bool adds = block > 0 || call_.accumulate;
    for (int row = 0; row < rows && adds; ++row)
      for (int vector = 0; vector < vectors; ++vector)
        prefetch(out + row * call_.columns + vector * width);
    Vec<T> sums[tile_rows * panel_vectors];
    for (Vec<T>& one : sums) one = Vec<T>(T(0));
    multiply(vectors, rows, factors, panels + range.first * depth, depth, sums);
    for (int row = 0; row < rows; ++row)
      for_each_vector<T>(0, range.size(), [&](Index column, int n) {
        T* const to = out + row * call_.columns + column;
        Vec<T> total = sums[row * vectors + column / width];
        if (adds) total = Vec<T>::load(to, n) + total;
        total.store(to, n);
      });
  }

  const ProductCall<T>& call_;
  Range rows_, columns_;
  bool sums_rows_;
  T* packed_rows_;
  T* packed_columns_;
};

}  // namespace

template <typename T>
Index product_scratch(const ProductCall<T>& call, int threads) {
  return Product<T>::scratch_elements(call, threads);
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
