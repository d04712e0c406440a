// The vector type for 64-bit Arm; included by simd.h alone.
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace fastlstm {
namespace FASTLSTM_TARGET {

// Twenty sums, five factors and four vectors of columns: 29 of the 32 registers. Compilers load
// all four before they multiply, so that with six rows sums would go through memory.
constexpr int tile_rows = 5;

// There are no masked loads; only the last vector of a row is short, and its lanes go one by one.
#define FASTLSTM_VECTOR_TYPE(T, suffix, Lanes, MaskLanes)                   \
  template <>                                                               \
  struct Vec<T> {                                                           \
    static constexpr int width = 16 / sizeof(T);                            \
    using Mask = MaskLanes;                                                 \
    Lanes lanes;                                                            \
                                                                            \
    Vec() = default;                                                        \
    Vec(Lanes value) : lanes(value) {}                                      \
    explicit Vec(T value) : lanes(vdupq_n_##suffix(value)) {}               \
    static Vec load(const T* from) { return vld1q_##suffix(from); }         \
    static Vec load(const T* from, int count) {                             \
      if (count == width) return load(from);                                \
      T copy[width] = {};                                                   \
      for (int lane = 0; lane < count; ++lane) copy[lane] = from[lane];     \
      return load(copy);                                                    \
    }                                                                       \
    void store(T* to) const { vst1q_##suffix(to, lanes); }                  \
    void store(T* to, int count) const {                                    \
      if (count == width) return store(to);                                 \
      T copy[width];                                                        \
      store(copy);                                                          \
      for (int lane = 0; lane < count; ++lane) to[lane] = copy[lane];       \
    }                                                                       \
    static Mask load_mask(const bool* from, int count) {                    \
      std::uint64_t bytes = 0;                                              \
      std::memcpy(&bytes, from, static_cast<std::size_t>(count));           \
      return mask_of(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(bytes))))); \
    }                                                                       \
                                                                            \
   private:                                                                 \
    static Mask mask_of(uint32x4_t numbers);                                \
  };
FASTLSTM_VECTOR_TYPE(float, f32, float32x4_t, uint32x4_t)
FASTLSTM_VECTOR_TYPE(double, f64, float64x2_t, uint64x2_t)
#undef FASTLSTM_VECTOR_TYPE

// All bits of a lane where its number is not zero.
inline uint32x4_t Vec<float>::mask_of(uint32x4_t numbers) { return vtstq_u32(numbers, numbers); }
inline uint64x2_t Vec<double>::mask_of(uint32x4_t numbers) {
  const uint64x2_t wide = vmovl_u32(vget_low_u32(numbers));
  return vtstq_u64(wide, wide);
}

// The hardware's own minimum and maximum are NaN where either argument is.
#define FASTLSTM_VECTOR(T, suffix, bits)                                                           \
  inline Vec<T> operator+(Vec<T> a, Vec<T> b) { return vaddq_##suffix(a.lanes, b.lanes); }         \
  inline Vec<T> operator-(Vec<T> a, Vec<T> b) { return vsubq_##suffix(a.lanes, b.lanes); }         \
  inline Vec<T> operator*(Vec<T> a, Vec<T> b) { return vmulq_##suffix(a.lanes, b.lanes); }         \
  inline Vec<T> operator/(Vec<T> a, Vec<T> b) { return vdivq_##suffix(a.lanes, b.lanes); }         \
  inline Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {                                                \
    return vfmaq_##suffix(c.lanes, a.lanes, b.lanes);                                              \
  }                                                                                                \
  inline Vec<T> remainder(Vec<T> a, Vec<T> b, Vec<T> c) {                                          \
    return vfmsq_##suffix(a.lanes, b.lanes, c.lanes);                                              \
  }                                                                                                \
  inline Vec<T> select(Vec<T>::Mask mask, Vec<T> if_set, Vec<T> if_clear) {                        \
    return vbslq_##suffix(mask, if_set.lanes, if_clear.lanes);                                     \
  }                                                                                                \
  inline Vec<T> min(Vec<T> a, Vec<T> b) { return select(vcltq_##suffix(a.lanes, b.lanes), a, b); } \
  inline Vec<T> max(Vec<T> a, Vec<T> b) { return select(vcgtq_##suffix(a.lanes, b.lanes), a, b); } \
  inline Vec<T> abs(Vec<T> a) { return vabsq_##suffix(a.lanes); }                                  \
  inline Vec<T> copy_sign(Vec<T> magnitude, Vec<T> sign) {                                         \
    return select(vreinterpretq_##bits##_##suffix(vdupq_n_##suffix(T(-0.0))), sign, magnitude);    \
  }                                                                                                \
  inline Vec<T> round_to_integer(Vec<T> a) { return vrndnq_##suffix(a.lanes); }                    \
  inline Vec<T>::Mask less_equal(Vec<T> a, Vec<T> b) { return vcleq_##suffix(a.lanes, b.lanes); }  \
  inline T sum(Vec<T> a) { return vaddvq_##suffix(a.lanes); }
FASTLSTM_VECTOR(float, f32, u32)
FASTLSTM_VECTOR(double, f64, u64)
#undef FASTLSTM_VECTOR

// 2ⁿ for an integral n of a normal number.
inline Vec<float> power_of_two(Vec<float> n) {
  const int32x4_t exponent = vaddq_s32(vcvtq_s32_f32(n.lanes), vdupq_n_s32(127));
  return vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23));
}
inline Vec<double> power_of_two(Vec<double> n) {
  const int64x2_t exponent = vaddq_s64(vcvtq_s64_f64(n.lanes), vdupq_n_s64(1023));
  return vreinterpretq_f64_s64(vshlq_n_s64(exponent, 52));
}
// Two factors, of which only the second product can be inexact.
template <typename V>
inline V scale_in_halves(V a, V n, V half) {
  const V first = round_to_integer(n * half);
  return a * power_of_two(first) * power_of_two(n - first);
}
inline Vec<float> scale(Vec<float> a, Vec<float> n) {
  return scale_in_halves(a, n, Vec<float>(0.5f));
}
inline Vec<double> scale(Vec<double> a, Vec<double> n) {
  return scale_in_halves(a, n, Vec<double>(0.5));
}

template <>
inline void transpose_square(const double* from, std::ptrdiff_t from_stride, double* to,
                             std::ptrdiff_t to_stride) {
  const float64x2_t a = vld1q_f64(from), b = vld1q_f64(from + from_stride);
  vst1q_f64(to, vtrn1q_f64(a, b));
  vst1q_f64(to + to_stride, vtrn2q_f64(a, b));
}
template <>
inline void transpose_square(const float* from, std::ptrdiff_t from_stride, float* to,
                             std::ptrdiff_t to_stride) {
  const auto pair = [&](std::ptrdiff_t row, int odd) {
    const float32x4_t a = vld1q_f32(from + row * from_stride);
    const float32x4_t b = vld1q_f32(from + (row + 1) * from_stride);
    return vreinterpretq_f64_f32(odd == 1 ? vtrn2q_f32(a, b) : vtrn1q_f32(a, b));
  };
  // Blocks of one number, and then of two, change places across the diagonal.
  for (int odd = 0; odd < 2; ++odd) {
    const float64x2_t upper = pair(0, odd), lower = pair(2, odd);
    vst1q_f32(to + odd * to_stride, vreinterpretq_f32_f64(vtrn1q_f64(upper, lower)));
    vst1q_f32(to + (odd + 2) * to_stride, vreinterpretq_f32_f64(vtrn2q_f64(upper, lower)));
  }
}

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
