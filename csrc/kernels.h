// The table of kernels of each instruction set.
#pragma once

#include "calls.h"
#include "threads.h"

namespace fastlstm {

// Each kernel comes with the number of elements of scratch memory (aligned to 64 bytes, shared by
// the team) that it needs, and is run by every member of a team at once.
template <typename T>
struct Kernels {
  Index (*forward_scratch)(const ForwardCall<T>&, int threads);
  void (*forward)(const ForwardCall<T>&, T* scratch, const Member&);
  Index (*backward_scratch)(const BackwardCall<T>&, int threads);
  void (*backward)(const BackwardCall<T>&, T* scratch, const Member&);
  Index (*product_scratch)(const ProductCall<T>&, int threads);
  void (*product)(const ProductCall<T>&, T* scratch, const Member&);
};

// For tests.
template <typename T>
struct Activations {
  void (*sigmoid)(const T* from, T* to, Index count);
  void (*tanh)(const T* from, T* to, Index count);
};

#define FASTLSTM_DECLARE(target)                                                                  \
  namespace target {                                                                              \
  template <typename T>                                                                           \
  Index forward_scratch(const ForwardCall<T>&, int threads);                                      \
  template <typename T>                                                                           \
  void forward(const ForwardCall<T>&, T* scratch, const Member&);                                 \
  template <typename T>                                                                           \
  Index backward_scratch(const BackwardCall<T>&, int threads);                                    \
  template <typename T>                                                                           \
  void backward(const BackwardCall<T>&, T* scratch, const Member&);                               \
  template <typename T>                                                                           \
  Index product_scratch(const ProductCall<T>&, int threads);                                      \
  template <typename T>                                                                           \
  void product(const ProductCall<T>&, T* scratch, const Member&);                                 \
  template <typename T>                                                                           \
  void apply_sigmoid(const T* from, T* to, Index count);                                          \
  template <typename T>                                                                           \
  void apply_tanh(const T* from, T* to, Index count);                                             \
  template <typename T>                                                                           \
  constexpr Kernels<T> kernels = {&forward_scratch<T>, &forward<T>,         &backward_scratch<T>, \
                                  &backward<T>,        &product_scratch<T>, &product<T>};         \
  template <typename T>                                                                           \
  constexpr Activations<T> activations = {&apply_sigmoid<T>, &apply_tanh<T>};                     \
  }
FASTLSTM_DECLARE(scalar)
#if defined(FASTLSTM_X86_64_KERNELS)
FASTLSTM_DECLARE(avx2)
FASTLSTM_DECLARE(avx512)
FASTLSTM_DECLARE(avx512_bf16)
#if defined(FASTLSTM_AMX_KERNELS)
FASTLSTM_DECLARE(avx512_amx)
#endif
#elif defined(FASTLSTM_ARM64_KERNELS)
FASTLSTM_DECLARE(neon)
#endif
#undef FASTLSTM_DECLARE

}  // namespace fastlstm
