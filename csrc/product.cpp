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

template <typename S>
constexpr Index block_depth = 2048 / sizeof(S);
// A block of rows and one panel of columns fit the level-2 cache together.
constexpr Index block_rows = 16 * tile_rows;

// Keeps rows that are a power of two apart out of each other's cache sets.
template <typename S>
constexpr Index packed_row_stride = block_depth<S> + 64 / sizeof(S);

inline Index at_most(Index value, Index limit) { return value < limit ? value : limit; }

template <typename S>
class Product {
  using T = Sum<S>;

 public:
  Product(const ProductCall<S>& call, S* scratch, const Member& member)
      : call_(call), rows_{0, call.rows}, columns_{0, call.columns} {
    constexpr Index most = panel_vectors * width;
    if (call.rows >= call.columns) {
      rows_ = part_of(call.rows, member);
    } else {
      const Range panels = part_of(divide_up(call.columns, most), member);
      columns_ = {panels.first * most, at_most(panels.last * most, call.columns)};
      if (columns_.first > columns_.last) columns_.first = columns_.last;
    }
    sums_rows_ = call.row_sums != nullptr && (call.rows >= call.columns || member.index == 0);
    Arena<S> arena(scratch);
    for (int index = 0; index <= member.index; ++index) lay_out(arena);
  }

  // Each member packs for itself: that is a small part of the work, and nobody waits.
  static Index scratch_elements(const ProductCall<S>& call, int members) {
    Arena<S> arena(nullptr);
    Product<S> one(call, nullptr, {0, 1, nullptr});
    for (int index = 0; index < members; ++index) one.lay_out(arena);
    return arena.used();
  }

  // A deep product goes block of depth by block of depth, and its result is read and written once
  // for each; a product of many rows packs the whole second matrix, and its result stays in cache.
  void run() {
    const Index blocks = divide_up(call_.depth, block_depth<S>);
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
  static constexpr Index width = lanes_of<S>;

  bool is_deep() const { return call_.depth > call_.rows; }
  bool packs_rows() const { return call_.a_depth_stride != 1; }

  void lay_out(Arena<S>& arena) {
    const Index block = at_most(call_.depth, block_depth<S>);
    packed_rows_ = arena.take(packs_rows() ? block_rows * packed_row_stride<S> : 0);
    packed_columns_ = arena.take(panel_elements<S>(is_deep() ? block : call_.depth, call_.columns));
  }

  Index depth_of(Index block) const {
    return at_most(call_.depth - block * block_depth<S>, block_depth<S>);
  }
  S* columns_of_block(Index block) const {
    return packed_columns_ + panel_elements<S>(block * block_depth<S>, columns_.size());
  }

  void clear() {
    for (Index row = rows_.first; row < rows_.last && !call_.accumulate; ++row)
      for (Index column = columns_.first; column < columns_.last; ++column)
        call_.out[row * call_.columns + column] = T(0);
    for (Index row = rows_.first; row < rows_.last && sums_rows_; ++row) call_.row_sums[row] = T(0);
  }

  void pack_columns(Index block, S* to) const {
    const Factors<S> from{call_.b + block * block_depth<S> * call_.b_depth_stride +
                              columns_.first * call_.b_column_stride,
                          call_.b_depth_stride, call_.b_column_stride};
    for (Index panel = 0; panel < panel_count<S>(columns_.size()); ++panel)
      pack_panel_of(from, depth_of(block), columns_.size(), panel, to);
  }

  template <typename Work>
  void for_each_block_of_rows(const Work& work) const {
    for (Index first = rows_.first; first < rows_.last; first += block_rows)
      work(first, at_most(rows_.last - first, block_rows));
  }

  void multiply_rows(Index block, Index first_row, Index rows, const S* panels) {
    const Index depth = depth_of(block);
    const S* from =
        call_.a + first_row * call_.a_row_stride + block * block_depth<S> * call_.a_depth_stride;
    if (sums_rows_) sum_rows(block, first_row, rows, from);
    Index stride = call_.a_row_stride;
    if (packs_rows()) {
      pack_rows(from, depth, rows);
      from = packed_rows_;
      stride = packed_row_stride<S>;
    }
    for (Index panel = 0; panel < panel_count<S>(columns_.size()); ++panel)
      for (Index row = 0; row < rows; row += tile_rows) {
        const Index count = at_most(rows - row, tile_rows);
        Rows<S> factors;
        for (Index i = 0; i < count; ++i) factors.from[i] = from + (row + i) * stride;
        multiply_tile(block, panels, panel, first_row + row, count, factors);
      }
  }

  // Each row's factors side by side.
  void pack_rows(const S* from, Index depth, Index rows) {
    constexpr Index stride = packed_row_stride<S>, square = width * group_of<S>;
    const Index row_stride = call_.a_row_stride, k_stride = call_.a_depth_stride;
    for (Index k = 0; k < depth; k += square) {
      const Index part = at_most(depth - k, square);
      for (Index row = 0; row < rows; row += width) {
        const Index count = at_most(rows - row, width);
        const S* const corner = from + row * row_stride + k * k_stride;
        S* const to = packed_rows_ + row * stride + k;
        if (row_stride == 1 && count == width && part == square) {
          transpose_square(corner, k_stride, to, stride);
          continue;
        }
        for (Index i = 0; i < count; ++i)
          for (Index j = 0; j < part; ++j)
            to[i * stride + j] = corner[i * row_stride + j * k_stride];
      }
    }
  }

  // Sums of rows: in short chains, that a long sum stays exact, and some at once.
  void sum_rows(Index block, Index first_row, Index rows, const S* from) {
    const bool contiguous = call_.a_row_stride == 1;
    for (Index row = 0; row < rows; row += contiguous ? width : 1) {
      const int n = contiguous ? static_cast<int>(at_most(rows - row, width)) : 1;
      Vec<T> total = sum_of_depths(from + row * call_.a_row_stride, depth_of(block), n);
      T* const to = call_.row_sums + first_row + row;
      if (block > 0) total = Vec<T>::load(to, n) + total;
      total.store(to, n);
    }
  }

  Vec<T> sum_of_depths(const S* from, Index depth, int n) const {
    constexpr Index chains = 4, length = 8;
    Vec<T> total(T(0));
    for (Index first = 0; first < depth; first += chains * length) {
      const Index last = at_most(first + chains * length, depth);
      Vec<T> partial[chains];
      for (Vec<T>& one : partial) one = Vec<T>(T(0));
      for (Index k = first; k < last; ++k)
        partial[k % chains] =
            partial[k % chains] + Vec<T>::load(from + k * call_.a_depth_stride, n);
      total = total + ((partial[0] + partial[1]) + (partial[2] + partial[3]));
    }
    return total;
  }

  void multiply_tile(Index block, const S* panels, Index panel, Index first_row, Index rows,
                     const Rows<S>& factors) {
    const Index depth = depth_of(block);
    const Range range = columns_of_panel<S>(panel, columns_.size());
    const Index vectors = divide_up(range.size(), width);
    T* const out = call_.out + first_row * call_.columns + columns_.first + range.first;
    const bool adds = block > 0 || call_.accumulate;
    for (Index row = 0; row < rows && adds; ++row)
      for (Index vector = 0; vector < vectors; ++vector)
        prefetch(out + row * call_.columns + vector * width);
    Vec<T> sums[tile_rows * panel_vectors];
    for (Vec<T>& one : sums) one = Vec<T>(T(0));
    multiply(static_cast<int>(vectors), static_cast<int>(rows),
             Term<S>{factors, panels + range.first * padded_depth<S>(depth), depth}, sums);
    for (Index row = 0; row < rows; ++row)
      for_each_vector<T>(0, range.size(), [&](Index column, int n) {
        T* const to = out + row * call_.columns + column;
        Vec<T> total = sums[row * vectors + column / width];
        if (adds) total = Vec<T>::load(to, n) + total;
        total.store(to, n);
      });
  }

  const ProductCall<S>& call_;
  Range rows_, columns_;
  bool sums_rows_;
  S* packed_rows_;
  S* packed_columns_;
};

}  // namespace

template <typename S>
Index product_scratch(const ProductCall<S>& call, int threads) {
  return Product<S>::scratch_elements(call, threads);
}

template <typename S>
void product(const ProductCall<S>& call, S* scratch, const Member& member) {
  Product<S>(call, scratch, member).run();
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

#if defined(FASTLSTM_BF16)
template Index product_scratch(const ProductCall<bfloat16>&, int);
template void product(const ProductCall<bfloat16>&, bfloat16*, const Member&);
#else
#define FASTLSTM_INSTANTIATE(T)                                    \
  template Index product_scratch(const ProductCall<T>&, int);      \
  template void product(const ProductCall<T>&, T*, const Member&); \
  template void apply_sigmoid(const T*, T*, Index);                \
  template void apply_tanh(const T*, T*, Index);
FASTLSTM_INSTANTIATE(float)
FASTLSTM_INSTANTIATE(double)
#undef FASTLSTM_INSTANTIATE
#endif

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
