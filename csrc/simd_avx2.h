// The vector type for AVX2 and FMA; included by simd.h alone.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace fastlstm {
namespace FASTLSTM_TARGET {

// Twelve sums, three broadcasts and one vector of columns: all of the 16 registers.
constexpr int tile_rows = 3;

// The last 8 - n entries from `&lane_masks[8 - n]` on are clear, the first n set.
alignas(32) constexpr std::int32_t lane_masks[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
alignas(32) constexpr std::int64_t wide_lane_masks[8] = {-1, -1, -1, -1};

template <>
struct Vec<float> {
  static constexpr int width = 8;
  using Mask = __m256;
  __m256 lanes;

  Vec() = default;
  Vec(__m256 value) : lanes(value) {}
  explicit Vec(float value) : lanes(_mm256_set1_ps(value)) {}
  static __m256i first(int count) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lane_masks + width - count));
  }
  static Vec load(const float* from) { return _mm256_loadu_ps(from); }
  static Vec load(const float* from, int count) { return _mm256_maskload_ps(from, first(count)); }
  void store(float* to) const { _mm256_storeu_ps(to, lanes); }
  void store(float* to, int count) const { _mm256_maskstore_ps(to, first(count), lanes); }
  static Mask load_mask(const bool* from, int count) {
    std::int64_t bytes = 0;
    std::memcpy(&bytes, from, static_cast<std::size_t>(count));
    const __m256i lanes = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(bytes));
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(lanes, _mm256_setzero_si256()));
  }
};

template <>
struct Vec<double> {
  static constexpr int width = 4;
  using Mask = __m256d;
  __m256d lanes;

  Vec() = default;
  Vec(__m256d value) : lanes(value) {}
  explicit Vec(double value) : lanes(_mm256_set1_pd(value)) {}
  static __m256i first(int count) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(wide_lane_masks + width - count));
  }
  static Vec load(const double* from) { return _mm256_loadu_pd(from); }
  static Vec load(const double* from, int count) { return _mm256_maskload_pd(from, first(count)); }
  void store(double* to) const { _mm256_storeu_pd(to, lanes); }
  void store(double* to, int count) const { _mm256_maskstore_pd(to, first(count), lanes); }
  static Mask load_mask(const bool* from, int count) {
    std::int32_t bytes = 0;
    std::memcpy(&bytes, from, static_cast<std::size_t>(count));
    const __m256i lanes = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(bytes));
    return _mm256_castsi256_pd(_mm256_cmpgt_epi64(lanes, _mm256_setzero_si256()));
  }
};

#define FASTLSTM_VECTOR(T, suffix)                                                              \
  inline Vec<T> operator+(Vec<T> a, Vec<T> b) { return _mm256_add_##suffix(a.lanes, b.lanes); } \
  inline Vec<T> operator-(Vec<T> a, Vec<T> b) { return _mm256_sub_##suffix(a.lanes, b.lanes); } \
  inline Vec<T> operator*(Vec<T> a, Vec<T> b) { return _mm256_mul_##suffix(a.lanes, b.lanes); } \
  inline Vec<T> operator/(Vec<T> a, Vec<T> b) { return _mm256_div_##suffix(a.lanes, b.lanes); } \
  inline Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {                                             \
    return _mm256_fmadd_##suffix(a.lanes, b.lanes, c.lanes);                                    \
  }                                                                                             \
  inline Vec<T> remainder(Vec<T> a, Vec<T> b, Vec<T> c) {                                       \
    return _mm256_fnmadd_##suffix(b.lanes, c.lanes, a.lanes);                                   \
  }                                                                                             \
  inline Vec<T> min(Vec<T> a, Vec<T> b) { return _mm256_min_##suffix(a.lanes, b.lanes); }       \
  inline Vec<T> max(Vec<T> a, Vec<T> b) { return _mm256_max_##suffix(a.lanes, b.lanes); }       \
  inline Vec<T> abs(Vec<T> a) {                                                                 \
    return _mm256_andnot_##suffix(_mm256_set1_##suffix(T(-0.0)), a.lanes);                      \
  }                                                                                             \
  inline Vec<T> copy_sign(Vec<T> magnitude, Vec<T> sign) {                                      \
    const auto bit = _mm256_set1_##suffix(T(-0.0));                                             \
    return _mm256_or_##suffix(_mm256_andnot_##suffix(bit, magnitude.lanes),                     \
                              _mm256_and_##suffix(bit, sign.lanes));                            \
  }                                                                                             \
  inline Vec<T> round_to_integer(Vec<T> a) {                                                    \
    return _mm256_round_##suffix(a.lanes, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);       \
  }                                                                                             \
  inline Vec<T>::Mask less_equal(Vec<T> a, Vec<T> b) {                                          \
    return _mm256_cmp_##suffix(a.lanes, b.lanes, _CMP_LE_OQ);                                   \
  }                                                                                             \
  inline Vec<T> select(Vec<T>::Mask mask, Vec<T> if_set, Vec<T> if_clear) {                     \
    return _mm256_blendv_##suffix(if_clear.lanes, if_set.lanes, mask);                          \
  }
FASTLSTM_VECTOR(float, ps)
FASTLSTM_VECTOR(double, pd)
#undef FASTLSTM_VECTOR

// 2ⁿ for an integral n of a normal number.
inline Vec<float> power_of_two(Vec<float> n) {
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n.lanes), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}
inline Vec<double> power_of_two(Vec<double> n) {
  const __m256i narrow = _mm256_cvtepi32_epi64(_mm256_cvtpd_epi32(n.lanes));
  const __m256i exponent = _mm256_add_epi64(narrow, _mm256_set1_epi64x(1023));
  return _mm256_castsi256_pd(_mm256_slli_epi64(exponent, 52));
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

inline float sum(Vec<float> a) {
  float lanes[8];
  a.store(lanes);
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
         ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}
inline double sum(Vec<double> a) {
  double lanes[4];
  a.store(lanes);
  return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
}

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
