// The kernels of the instruction set in use, run with scratch memory by a team of threads.
#pragma once

#include "calls.h"
#include "totals.h"

namespace fastlstm {

// Each returns false, and has touched nothing, if there is not enough memory. `threads` is the most
// that may be used; small work is done by one. No number of them changes a bit of the results.
template <typename T>
bool run_forward(const ForwardCall<T>& call, int threads);
template <typename T>
bool run_backward(const BackwardCall<T>& call, int threads);
template <typename T>
bool run_product(const ProductCall<T>& call, int threads);
template <typename T>
bool run_column_dots(const ColumnDotsCall<T>& call, int threads);
template <typename T>
bool run_norm_totals(const NormTotalsCall<T>& call, int threads);

template <typename T>
void run_sigmoid(const T* from, T* to, Index count);
template <typename T>
void run_tanh(const T* from, T* to, Index count);

}  // namespace fastlstm
