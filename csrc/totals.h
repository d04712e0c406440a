// Sums over all steps: what these kernels take, and their table for each instruction set. As in
// calls.h and kernels.h. There are none for bfloat16, whose layers have none of these parameters.
#pragma once

#include "calls.h"
#include "threads.h"

namespace fastlstm {

// out = Σ over the rows of a ⊙ b, or out += that.
template <typename T>
struct ColumnDotsCall {
  Index rows, columns;
  const T* a;  // (rows, columns)
  Index a_row_stride;
  const T* b;  // (rows, columns)
  Index b_row_stride;
  bool accumulate;
  T* out;  // (columns)
};

// The gradients of a layer norm, over the columns of each row, from that of what it returns.
template <typename T>
struct NormTotalsCall {
  Index rows, columns;
  const T* d;     // (rows, columns)
  const T* x;     // (rows, columns): what is normalised
  const T* gain;  // (columns), where d_x is asked for
  T epsilon;
  T* d_gain;  // (columns)
  T* d_bias;  // (columns)
  T* d_x;     // (rows, columns); may be null, or x itself
};

template <typename T>
struct Totals {
  Index (*column_dots_scratch)(const ColumnDotsCall<T>&, int threads);
  void (*column_dots)(const ColumnDotsCall<T>&, T* scratch, const Member&);
  Index (*norm_totals_scratch)(const NormTotalsCall<T>&, int threads);
  void (*norm_totals)(const NormTotalsCall<T>&, T* scratch, const Member&);
};

#define FASTLSTM_DECLARE(target)                                                                   \
  namespace target {                                                                               \
  template <typename T>                                                                            \
  Index column_dots_scratch(const ColumnDotsCall<T>&, int threads);                                \
  template <typename T>                                                                            \
  void column_dots(const ColumnDotsCall<T>&, T* scratch, const Member&);                           \
  template <typename T>                                                                            \
  Index norm_totals_scratch(const NormTotalsCall<T>&, int threads);                                \
  template <typename T>                                                                            \
  void norm_totals(const NormTotalsCall<T>&, T* scratch, const Member&);                           \
  template <typename T>                                                                            \
  constexpr Totals<T> totals = {&column_dots_scratch<T>, &column_dots<T>, &norm_totals_scratch<T>, \
                                &norm_totals<T>};                                                  \
  }
FASTLSTM_DECLARE(scalar)
#if defined(FASTLSTM_X86_64_KERNELS)
FASTLSTM_DECLARE(avx2)
FASTLSTM_DECLARE(avx512)
#elif defined(FASTLSTM_ARM64_KERNELS)
FASTLSTM_DECLARE(neon)
#endif
#undef FASTLSTM_DECLARE

}  // namespace fastlstm
