// Sums over all steps and rows: the gradients of what scales or shifts a column by itself.
//
// The rows go in blocks of a fixed size, and the sums of the blocks are added in their order: so
// threads change no bit of the result, and a long sum stays exact.
// Floor: each number is read from memory once; what is read again is still in the level-1 cache.
#include "totals.h"

#include <cstring>

#include "norm.h"
#include "share.h"

namespace fastlstm {
namespace FASTLSTM_TARGET {
namespace {

constexpr Index block_rows = 64;

// Sums of all columns, one for each block of rows.
template <typename T>
class BlockSums {
 public:
  BlockSums(Index rows, Index columns, Arena<T>& arena)
      : rows_(rows),
        columns_(columns),
        stride_(divide_up(columns, line) * line),
        sums_(arena.take(block_count() * stride_)) {}

  Index block_count() const { return divide_up(rows_, block_rows); }

  // The sums of one block, which are zero at first.
  T* start(Index block) const {
    T* const sums = sums_ + block * stride_;
    std::memset(sums, 0, static_cast<std::size_t>(columns_) * sizeof(T));
    return sums;
  }

  // Adds up the sums of all blocks, once every member has finished its own.
  void add_up(const Member& member, bool accumulate, T* out) const {
    constexpr Index width = Vec<T>::width;
    const Range own = part_of(divide_up(columns_, width), member);
    const Index last = own.last * width < columns_ ? own.last * width : columns_;
    for_each_vector<T>(own.first * width, last, [&](Index column, int n) {
      Vec<T> total = accumulate ? Vec<T>::load(out + column, n) : Vec<T>(T(0));
      for (Index block = 0; block < block_count(); ++block)
        total = total + Vec<T>::load(sums_ + block * stride_ + column);
      total.store(out + column, n);
    });
  }

 private:
  static constexpr Index line = 64 / sizeof(T);  // no vector is longer

  Index rows_, columns_, stride_;
  T* sums_;
};

// Calls `work(block, first_row, last_row)` for each block of a member.
template <typename Work>
inline void for_each_block(Index rows, const Member& member, const Work& work) {
  const Range own = part_of(divide_up(rows, block_rows), member);
  for (Index block = own.first; block < own.last; ++block) {
    const Index first = block * block_rows, last = first + block_rows;
    work(block, first, last < rows ? last : rows);
  }
}

template <typename T>
void add_products(const T* a, const T* b, Index columns, T* sums) {
  for_each_vector<T>(0, columns, [&](Index column, int n) {
    fma(Vec<T>::load(a + column, n), Vec<T>::load(b + column, n), Vec<T>::load(sums + column, n))
        .store(sums + column, n);
  });
}

template <typename T>
class NormTotals {
 public:
  NormTotals(const NormTotalsCall<T>& call, T* scratch) : NormTotals(call, Arena<T>(scratch)) {}

  Index scratch_elements() const { return scratch_elements_; }

  void run(const Member& member) const {
    for_each_block(call_.rows, member, [&](Index block, Index first, Index last) {
      T* const d_gain = d_gain_.start(block);
      T* const d_bias = d_bias_.start(block);
      for (Index row = first; row < last; ++row) {
        if (call_.d_x != nullptr) {
          add_row<true>(row, d_gain, d_bias);
        } else {
          add_row<false>(row, d_gain, d_bias);
        }
      }
    });
    member.wait();
    d_gain_.add_up(member, false, call_.d_gain);
    d_bias_.add_up(member, false, call_.d_bias);
  }

 private:
  NormTotals(const NormTotalsCall<T>& call, Arena<T> arena)
      : call_(call),
        d_gain_(call.rows, call.columns, arena),
        d_bias_(call.rows, call.columns, arena),
        scratch_elements_(arena.used()) {}

  template <bool through>
  void add_row(Index row, T* d_gain, T* d_bias) const {
    const Index count = call_.columns;
    const T* const d = call_.d + row * count;
    const T* const x = call_.x + row * count;
    const Normalizer<T> normalizer = normalizer_of(x, count, call_.epsilon);
    Vec<T> total(T(0)), along(T(0));
    for_each_vector<T>(0, count, [&](Index i, int n) {
      const Vec<T> d_here = Vec<T>::load(d + i, n);
      const Vec<T> normalized = normalizer(Vec<T>::load(x + i, n));
      fma(d_here, normalized, Vec<T>::load(d_gain + i, n)).store(d_gain + i, n);
      (Vec<T>::load(d_bias + i, n) + d_here).store(d_bias + i, n);
      if constexpr (through) {
        const Vec<T> scaled = d_here * Vec<T>::load(call_.gain + i, n);
        total = total + scaled;
        along = fma(scaled, normalized, along);
      }
    });
    if constexpr (through) {
      const ThroughNorm<T> norm{normalizer, sum(total) / static_cast<T>(count),
                                sum(along) / static_cast<T>(count)};
      for_each_vector<T>(0, count, [&](Index i, int n) {
        const Vec<T> scaled = Vec<T>::load(d + i, n) * Vec<T>::load(call_.gain + i, n);
        norm(scaled, Vec<T>::load(x + i, n)).store(call_.d_x + row * count + i, n);
      });
    }
  }

  const NormTotalsCall<T>& call_;
  BlockSums<T> d_gain_, d_bias_;
  Index scratch_elements_;
};

}  // namespace

template <typename T>
Index column_dots_scratch(const ColumnDotsCall<T>& call, int) {
  Arena<T> arena(nullptr);
  BlockSums<T>(call.rows, call.columns, arena);
  return arena.used();
}

template <typename T>
void column_dots(const ColumnDotsCall<T>& call, T* scratch, const Member& member) {
  Arena<T> arena(scratch);
  const BlockSums<T> sums(call.rows, call.columns, arena);
  for_each_block(call.rows, member, [&](Index block, Index first, Index last) {
    T* const of_block = sums.start(block);
    for (Index row = first; row < last; ++row)
      add_products(call.a + row * call.a_row_stride, call.b + row * call.b_row_stride, call.columns,
                   of_block);
  });
  member.wait();
  sums.add_up(member, call.accumulate, call.out);
}

template <typename T>
Index norm_totals_scratch(const NormTotalsCall<T>& call, int) {
  return NormTotals<T>(call, nullptr).scratch_elements();
}

template <typename T>
void norm_totals(const NormTotalsCall<T>& call, T* scratch, const Member& member) {
  NormTotals<T>(call, scratch).run(member);
}

#if !defined(FASTLSTM_BF16)
#define FASTLSTM_INSTANTIATE(T)                                           \
  template Index column_dots_scratch(const ColumnDotsCall<T>&, int);      \
  template void column_dots(const ColumnDotsCall<T>&, T*, const Member&); \
  template Index norm_totals_scratch(const NormTotalsCall<T>&, int);      \
  template void norm_totals(const NormTotalsCall<T>&, T*, const Member&);
FASTLSTM_INSTANTIATE(float)
FASTLSTM_INSTANTIATE(double)
#undef FASTLSTM_INSTANTIATE
#endif

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
