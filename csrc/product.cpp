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
  // The sums of b over its depth are written to `column_sums`, if it is given.
  Product(const ProductCall<S>& call, S* scratch, const Member& member, T* column_sums = nullptr)
      : call_(call), column_sums_(column_sums), rows_{0, call.rows}, columns_{0, call.columns} {
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
  // for each; a product of many rows keeps all of the second matrix packed, and its result stays in
  // cache.
  void run() {
    const Index blocks = divide_up(call_.depth, block_depth<S>);
    if (blocks == 0) return clear();
    if (is_deep()) {
      for (Index block = 0; block < blocks; ++block)
        for_each_block_of_rows(
            [&](Index first, Index count) { multiply_rows(block, first, count, packed_columns_); });
    } else {
      for_each_block_of_rows([&](Index first, Index count) {
        for (Index block = 0; block < blocks; ++block)
          multiply_rows(block, first, count, columns_of_block(block));
      });
    }
  }

  Range columns() const { return columns_; }

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

  void pack_panel(Index block, Index panel, S* to) const {
    const Factors<S> from{call_.b + block * block_depth<S> * call_.b_depth_stride +
                              columns_.first * call_.b_column_stride,
                          call_.b_depth_stride, call_.b_column_stride};
    pack_panel_of(from, depth_of(block), columns_.size(), panel, to);
  }

  template <typename Work>
  void for_each_block_of_rows(const Work& work) const {
    for (Index first = rows_.first; first < rows_.last; first += block_rows)
      work(first, at_most(rows_.last - first, block_rows));
  }

  // The first rows find each panel to be packed, and use it while it is in cache.
  void multiply_rows(Index block, Index first_row, Index rows, S* panels) {
    const Index depth = depth_of(block);
    const S* from =
        call_.a + first_row * call_.a_row_stride + block * block_depth<S> * call_.a_depth_stride;
    if (sums_rows_)
      add_up(block, from, call_.a_row_stride, call_.a_depth_stride, rows,
             call_.row_sums + first_row);
    Index stride = call_.a_row_stride;
    if (packs_rows()) {
      pack_rows(from, depth, rows);
      from = packed_rows_;
      stride = packed_row_stride<S>;
    }
    for (Index panel = 0; panel < panel_count<S>(columns_.size()); ++panel) {
      if (first_row == rows_.first) {
        pack_panel(block, panel, panels);
        if (column_sums_ != nullptr) sum_columns(block, panel, panels);
      }
      for (Index row = 0; row < rows; row += tile_rows) {
        const Index count = at_most(rows - row, tile_rows);
        Rows<S> factors;
        for (Index i = 0; i < count; ++i) factors.from[i] = from + (row + i) * stride;
        multiply_tile(block, panels, panel, first_row + row, count, factors);
      }
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

  // Reads a panel while it is in cache; but factors in pairs are easier to read where they are
  // from.
  void sum_columns(Index block, Index panel, const S* panels) {
    const Range range = columns_of_panel<S>(panel, columns_.size());
    T* const to = column_sums_ + columns_.first + range.first;
    if constexpr (group_of<S> == 1) {
      const Index step = divide_up(range.size(), width) * width;
      add_up(block, panels + range.first * depth_of(block), 1, step, range.size(), to);
    } else {
      const S* const from = call_.b + block * block_depth<S> * call_.b_depth_stride +
                            (columns_.first + range.first) * call_.b_column_stride;
      add_up(block, from, call_.b_column_stride, call_.b_depth_stride, range.size(), to);
    }
  }

  // Sums over the depth of a block: in short chains, that a long sum stays exact, and some at once.
  void add_up(Index block, const S* from, Index stride, Index depth_stride, Index count, T* to) {
    const bool contiguous = stride == 1;
    for (Index i = 0; i < count; i += contiguous ? width : 1) {
      const int n = contiguous ? static_cast<int>(at_most(count - i, width)) : 1;
      Vec<T> total = sum_of_depths(from + i * stride, depth_stride, depth_of(block), n);
      if (block > 0) total = Vec<T>::load(to + i, n) + total;
      total.store(to + i, n);
    }
  }

  static Vec<T> sum_of_depths(const S* from, Index stride, Index depth, int n) {
    constexpr Index chains = 4, length = 8;
    Vec<T> total(T(0));
    for (Index first = 0; first < depth; first += chains * length) {
      const Index last = at_most(first + chains * length, depth);
      Vec<T> partial[chains];
      for (Vec<T>& one : partial) one = Vec<T>(T(0));
      for (Index k = first; k < last; ++k)
        partial[k % chains] = partial[k % chains] + Vec<T>::load(from + k * stride, n);
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
    Vec<T> sums[sums_rows * panel_vectors];
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
  T* column_sums_;
  Range rows_, columns_;
  bool sums_rows_;
  S* packed_rows_;
  S* packed_columns_;
};

// A product of few columns, made as outᵀ = bᵀ·aᵀ. Where the factors of a row are far apart they
// have to be brought together, which few columns do not repay, and those leave the registers of a
// tile half empty. As columns of aᵀ they are packed as they stand. The sums are the same, bit for
// bit.
template <typename S>
class Swapped {
  using T = Sum<S>;

 public:
  static bool is_better(const ProductCall<S>& call) {
    constexpr Index few_columns = panel_vectors / 2 * lanes_of<S>;
    constexpr Index deep_enough = 256;  // that to transpose the result takes a small part
    return call.a_row_stride == 1 && call.a_depth_stride != 1 && call.columns <= few_columns &&
           call.columns < call.rows && call.depth >= deep_enough;
  }

  Swapped(const ProductCall<S>& call, S* scratch) : call_(call), arena_(scratch) {
    transposed_ = arena_.template take_of<T>(call.rows * call.columns);
    rest_ = arena_.take(0);
    swapped_ = {call.columns, call.depth,           call.rows,
                call.b,       call.b_column_stride, call.b_depth_stride,
                call.a,       call.a_depth_stride,  call.a_row_stride,
                false,        transposed_,          nullptr};
  }

  Index scratch_elements(int members) const {
    return arena_.used() + Product<S>::scratch_elements(swapped_, members);
  }

  void run(const Member& member) const {
    Product<S> product(swapped_, rest_, member, call_.row_sums);
    product.run();
    const Range own = product.columns();
    for (Index row = own.first; row < own.last; ++row)
      for (Index column = 0; column < call_.columns; ++column) {
        T& to = call_.out[row * call_.columns + column];
        const T found = transposed_[column * call_.rows + row];
        to = call_.accumulate ? to + found : found;
      }
  }

 private:
  const ProductCall<S>& call_;
  Arena<S> arena_;
  T* transposed_;
  S* rest_;
  ProductCall<S> swapped_;
};

}  // namespace

template <typename S>
Index product_scratch(const ProductCall<S>& call, int threads) {
  if (Swapped<S>::is_better(call)) return Swapped<S>(call, nullptr).scratch_elements(threads);
  return Product<S>::scratch_elements(call, threads);
}

template <typename S>
void product(const ProductCall<S>& call, S* scratch, const Member& member) {
  const TileSession session;
  if (Swapped<S>::is_better(call)) return Swapped<S>(call, scratch).run(member);
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
