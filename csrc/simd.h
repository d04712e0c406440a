// One vector type per instruction set and scalar type. Kernels are written against `Vec` alone and
// are compiled once for each instruction set, each time in a namespace of its own
// (FASTLSTM_TARGET), so that no inline function of one can be linked into another.
#pragma once

#ifndef FASTLSTM_TARGET
#error "define FASTLSTM_TARGET: the instruction set that this file is compiled for"
#endif

#include <cmath>
#include <cstddef>
#include <cstring>

#include "bfloat16.h"

// Before a loop over registers: unrolled early, an array of them never goes through memory.
#if defined(__GNUC__)
#define FASTLSTM_UNROLL _Pragma("GCC unroll 8")
#else
#define FASTLSTM_UNROLL
#endif

namespace fastlstm {
namespace FASTLSTM_TARGET {

inline void prefetch(const void* address) {
#if defined(__GNUC__)
  __builtin_prefetch(address);
#else
  static_cast<void>(address);
#endif
}

// What every `Vec<T>` offers, here with arrays that any compiler can vectorise. A comparison and a
// selection see NaN as the hardware's do: `min` and `max` return their second argument if either
// argument is NaN.
template <typename T>
struct Vec {
  static constexpr int width = 16 / sizeof(T);
  struct Mask {
    bool lanes[width];
  };
  T lanes[width];

  Vec() = default;
  explicit Vec(T value) {
    for (T& lane : lanes) lane = value;
  }

  static Vec load(const T* from) {
    Vec v;
    std::memcpy(v.lanes, from, sizeof v.lanes);
    return v;
  }
  // The first `count` lanes; the others are zero.
  static Vec load(const T* from, int count) {
    Vec v(T(0));
    for (int lane = 0; lane < count; ++lane) v.lanes[lane] = from[lane];
    return v;
  }
  void store(T* to) const { std::memcpy(to, lanes, sizeof lanes); }
  void store(T* to, int count) const {
    for (int lane = 0; lane < count; ++lane) to[lane] = lanes[lane];
  }
  static Mask load_mask(const bool* from, int count) {
    Mask mask;
    for (int lane = 0; lane < width; ++lane) mask.lanes[lane] = lane < count && from[lane];
    return mask;
  }
};

template <typename T, typename Operation>
inline Vec<T> lanewise(Operation operation) {
  Vec<T> result;
  for (int lane = 0; lane < Vec<T>::width; ++lane) result.lanes[lane] = operation(lane);
  return result;
}

#define FASTLSTM_OPERATOR(symbol)                                                 \
  template <typename T>                                                           \
  inline Vec<T> operator symbol(Vec<T> a, Vec<T> b) {                             \
    return lanewise<T>([&](int i) -> T { return a.lanes[i] symbol b.lanes[i]; }); \
  }
FASTLSTM_OPERATOR(+)
FASTLSTM_OPERATOR(-)
FASTLSTM_OPERATOR(*)
FASTLSTM_OPERATOR(/)
#undef FASTLSTM_OPERATOR

// a·b + c: fused where the hardware does that, else rounded twice (a fused sum in software would
// be a hundred times slower). Always the same one, so that all sums of one target agree.
#if defined(FP_FAST_FMA) && defined(FP_FAST_FMAF)
template <typename T>
inline T multiply_add(T a, T b, T c) {
  return std::fma(a, b, c);
}
#else
template <typename T>
inline T multiply_add(T a, T b, T c) {
  return a * b + c;
}
#endif

template <typename T>
inline Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {
  return lanewise<T>([&](int i) { return multiply_add(a.lanes[i], b.lanes[i], c.lanes[i]); });
}
// a - b·c, exact to the last bit before it is rounded: always fused, if need be in software.
template <typename T>
inline Vec<T> remainder(Vec<T> a, Vec<T> b, Vec<T> c) {
  return lanewise<T>([&](int i) { return std::fma(-b.lanes[i], c.lanes[i], a.lanes[i]); });
}
// a / b for normal numbers, a at most b and neither far from the other in size, to within 0.6 units
// in the last place.
template <typename T>
inline Vec<T> quotient(Vec<T> a, Vec<T> b) {
  return a / b;
}
template <typename T>
inline Vec<T> min(Vec<T> a, Vec<T> b) {
  return lanewise<T>([&](int i) { return a.lanes[i] < b.lanes[i] ? a.lanes[i] : b.lanes[i]; });
}
template <typename T>
inline Vec<T> max(Vec<T> a, Vec<T> b) {
  return lanewise<T>([&](int i) { return a.lanes[i] > b.lanes[i] ? a.lanes[i] : b.lanes[i]; });
}
template <typename T>
inline Vec<T> abs(Vec<T> a) {
  return lanewise<T>([&](int i) { return std::fabs(a.lanes[i]); });
}
template <typename T>
inline Vec<T> copy_sign(Vec<T> magnitude, Vec<T> sign) {
  return lanewise<T>([&](int i) { return std::copysign(magnitude.lanes[i], sign.lanes[i]); });
}
template <typename T>
inline Vec<T> round_to_integer(Vec<T> a) {
  return lanewise<T>([&](int i) { return std::nearbyint(a.lanes[i]); });
}
// a·2ⁿ for an integral n, rounded once, also where the result is subnormal.
template <typename T>
inline Vec<T> scale(Vec<T> a, Vec<T> n) {
  return lanewise<T>([&](int i) {
    const bool is_nan = n.lanes[i] != n.lanes[i];
    return std::ldexp(a.lanes[i], is_nan ? 0 : static_cast<int>(n.lanes[i]));
  });
}
template <typename T>
inline typename Vec<T>::Mask less_equal(Vec<T> a, Vec<T> b) {
  typename Vec<T>::Mask mask;
  for (int i = 0; i < Vec<T>::width; ++i) mask.lanes[i] = a.lanes[i] <= b.lanes[i];
  return mask;
}
template <typename T>
inline Vec<T> select(const typename Vec<T>::Mask& mask, Vec<T> if_set, Vec<T> if_clear) {
  return lanewise<T>([&](int i) { return mask.lanes[i] ? if_set.lanes[i] : if_clear.lanes[i]; });
}
template <typename T>
inline T sum(Vec<T> a) {
  T total = 0;
  for (const T lane : a.lanes) total += lane;
  return total;
}

// Writes the rows of a square of `width` × `width` numbers as columns.
template <typename T>
inline void transpose_square(const T* from, std::ptrdiff_t from_stride, T* to,
                             std::ptrdiff_t to_stride) {
  for (int row = 0; row < Vec<T>::width; ++row)
    for (int column = 0; column < Vec<T>::width; ++column)
      to[column * to_stride + row] = from[row * from_stride + column];
}

// Calls `work(first, count)` for each vector of [first, last).
template <typename T, typename Work>
inline void for_each_vector(std::ptrdiff_t first, std::ptrdiff_t last, const Work& work) {
  constexpr std::ptrdiff_t width = Vec<T>::width;
  std::ptrdiff_t at = first;
  for (; at + width <= last; at += width) work(at, static_cast<int>(width));
  if (at < last) work(at, static_cast<int>(last - at));
}

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm

#if defined(FASTLSTM_AVX512)
#include "simd_avx512.h"
#elif defined(FASTLSTM_AVX2)
#include "simd_avx2.h"
#elif defined(FASTLSTM_NEON)
#include "simd_neon.h"
#else
namespace fastlstm {
namespace FASTLSTM_TARGET {
constexpr int tile_rows = 2;  // with four vectors of columns, what sixteen registers hold
}
}  // namespace fastlstm
#endif
