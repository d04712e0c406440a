// The vector type for AVX-512 F, BW, DQ and VL; included by simd.h alone.
#pragma once

#include <immintrin.h>

namespace fastlstm {
namespace FASTLSTM_TARGET {

#if defined(FASTLSTM_AMX)
constexpr int tile_rows = 16;  // what a tile register has
#else
// Twenty-four sums, four vectors of columns and one broadcast: 29 of the 32 registers.
constexpr int tile_rows = 6;
#endif

template <>
struct Vec<float> {
  static constexpr int width = 16;
  using Mask = __mmask16;
  __m512 lanes;

  Vec() = default;
  Vec(__m512 value) : lanes(value) {}
  explicit Vec(float value) : lanes(_mm512_set1_ps(value)) {}
  static Mask first(int count) { return static_cast<Mask>((1u << count) - 1u); }
  static Vec load(const float* from) { return _mm512_loadu_ps(from); }
  static Vec load(const float* from, int count) {
    if (count == width) return load(from);
    return _mm512_maskz_loadu_ps(first(count), from);
  }
  void store(float* to) const { _mm512_storeu_ps(to, lanes); }
  void store(float* to, int count) const {
    if (count == width) return store(to);
    _mm512_mask_storeu_ps(to, first(count), lanes);
  }
  static Mask load_mask(const bool* from, int count) {
    const __m128i bytes = _mm_maskz_loadu_epi8(first(count), from);
    return _mm_test_epi8_mask(bytes, bytes);
  }

#if defined(FASTLSTM_BF16)
  static Vec widened(__m256i halves) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
  }
  static Vec load(const bfloat16* from, int count = width) {
    if (count == width) return widened(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
    return widened(_mm256_maskz_loadu_epi16(first(count), from));
  }
  void store(bfloat16* to, int count = width) const {
    const __m256i halves = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(lanes));
    if (count == width) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), halves);
    _mm256_mask_storeu_epi16(to, first(count), halves);
  }
#endif
};

template <>
struct Vec<double> {
  static constexpr int width = 8;
  using Mask = __mmask8;
  __m512d lanes;

  Vec() = default;
  Vec(__m512d value) : lanes(value) {}
  explicit Vec(double value) : lanes(_mm512_set1_pd(value)) {}
  static Mask first(int count) { return static_cast<Mask>((1u << count) - 1u); }
  static Vec load(const double* from) { return _mm512_loadu_pd(from); }
  static Vec load(const double* from, int count) {
    if (count == width) return load(from);
    return _mm512_maskz_loadu_pd(first(count), from);
  }
  void store(double* to) const { _mm512_storeu_pd(to, lanes); }
  void store(double* to, int count) const {
    if (count == width) return store(to);
    _mm512_mask_storeu_pd(to, first(count), lanes);
  }
  static Mask load_mask(const bool* from, int count) {
    const __m128i bytes = _mm_maskz_loadu_epi8(first(count), from);
    return static_cast<Mask>(_mm_test_epi8_mask(bytes, bytes));
  }
};

#define FASTLSTM_VECTOR(T, suffix)                                                              \
  inline Vec<T> operator+(Vec<T> a, Vec<T> b) { return _mm512_add_##suffix(a.lanes, b.lanes); } \
  inline Vec<T> operator-(Vec<T> a, Vec<T> b) { return _mm512_sub_##suffix(a.lanes, b.lanes); } \
  inline Vec<T> operator*(Vec<T> a, Vec<T> b) { return _mm512_mul_##suffix(a.lanes, b.lanes); } \
  inline Vec<T> operator/(Vec<T> a, Vec<T> b) { return _mm512_div_##suffix(a.lanes, b.lanes); } \
  inline Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {                                             \
    return _mm512_fmadd_##suffix(a.lanes, b.lanes, c.lanes);                                    \
  }                                                                                             \
  inline Vec<T> remainder(Vec<T> a, Vec<T> b, Vec<T> c) {                                       \
    return _mm512_fnmadd_##suffix(b.lanes, c.lanes, a.lanes);                                   \
  }                                                                                             \
  inline Vec<T> min(Vec<T> a, Vec<T> b) { return _mm512_min_##suffix(a.lanes, b.lanes); }       \
  inline Vec<T> max(Vec<T> a, Vec<T> b) { return _mm512_max_##suffix(a.lanes, b.lanes); }       \
  inline Vec<T> abs(Vec<T> a) { return _mm512_abs_##suffix(a.lanes); }                          \
  inline Vec<T> round_to_integer(Vec<T> a) {                                                    \
    return _mm512_roundscale_##suffix(a.lanes, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);  \
  }                                                                                             \
  inline Vec<T> scale(Vec<T> a, Vec<T> n) { return _mm512_scalef_##suffix(a.lanes, n.lanes); }  \
  inline Vec<T>::Mask less_equal(Vec<T> a, Vec<T> b) {                                          \
    return _mm512_cmp_##suffix##_mask(a.lanes, b.lanes, _CMP_LE_OQ);                            \
  }                                                                                             \
  inline Vec<T> select(Vec<T>::Mask mask, Vec<T> if_set, Vec<T> if_clear) {                     \
    return _mm512_mask_blend_##suffix(mask, if_clear.lanes, if_set.lanes);                      \
  }                                                                                             \
  inline T sum(Vec<T> a) { return _mm512_reduce_add_##suffix(a.lanes); }
FASTLSTM_VECTOR(float, ps)
FASTLSTM_VECTOR(double, pd)
#undef FASTLSTM_VECTOR

// In one operation: 0xb8 is the truth table of "the third's bit where the second has a one, else
// the first's".
inline Vec<float> copy_sign(Vec<float> magnitude, Vec<float> sign) {
  return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(
      _mm512_castps_si512(magnitude.lanes), _mm512_set1_epi32(static_cast<int>(1u << 31)),
      _mm512_castps_si512(sign.lanes), 0xb8));
}
inline Vec<double> copy_sign(Vec<double> magnitude, Vec<double> sign) {
  return _mm512_castsi512_pd(_mm512_ternarylogic_epi64(
      _mm512_castpd_si512(magnitude.lanes), _mm512_set1_epi64(static_cast<long long>(1ull << 63)),
      _mm512_castpd_si512(sign.lanes), 0xb8));
}

// What an estimate of 14 bits leaves over is divided by the same estimate: the bits double.
inline Vec<float> quotient(Vec<float> a, Vec<float> b) {
  const Vec<float> inverse = _mm512_rcp14_ps(b.lanes);
  const Vec<float> estimate = a * inverse;
  return fma(remainder(a, estimate, b), inverse, estimate);
}

// Rows of a square, first mixed within 128 bits: entry `4·g + c` then holds the columns c, 4 + c,
// 8 + c and 12 + c of the rows 4·g to 4·g + 3. For double with 2 in place of 4.
inline void mix_rows(Vec<float>* rows) {
  FASTLSTM_UNROLL for (int row = 0; row < 16; row += 4) {
    const __m512d low_01 =
        _mm512_castps_pd(_mm512_unpacklo_ps(rows[row].lanes, rows[row + 1].lanes));
    const __m512d high_01 =
        _mm512_castps_pd(_mm512_unpackhi_ps(rows[row].lanes, rows[row + 1].lanes));
    const __m512d low_23 =
        _mm512_castps_pd(_mm512_unpacklo_ps(rows[row + 2].lanes, rows[row + 3].lanes));
    const __m512d high_23 =
        _mm512_castps_pd(_mm512_unpackhi_ps(rows[row + 2].lanes, rows[row + 3].lanes));
    rows[row] = _mm512_castpd_ps(_mm512_unpacklo_pd(low_01, low_23));
    rows[row + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low_01, low_23));
    rows[row + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high_01, high_23));
    rows[row + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high_01, high_23));
  }
}
inline void mix_rows(Vec<double>* rows) {
  FASTLSTM_UNROLL for (int row = 0; row < 8; row += 2) {
    const Vec<double> first = rows[row], second = rows[row + 1];
    rows[row] = _mm512_unpacklo_pd(first.lanes, second.lanes);
    rows[row + 1] = _mm512_unpackhi_pd(first.lanes, second.lanes);
  }
}

// The parts of 128 bits 0 and 2 (or 1 and 3) of a, then those of b.
template <bool odd>
inline Vec<float> every_other_part(Vec<float> a, Vec<float> b) {
  return _mm512_shuffle_f32x4(a.lanes, b.lanes, odd ? 0xdd : 0x88);
}
template <bool odd>
inline Vec<double> every_other_part(Vec<double> a, Vec<double> b) {
  return _mm512_shuffle_f64x2(a.lanes, b.lanes, odd ? 0xdd : 0x88);
}

template <typename T>
inline void store_transposed(Vec<T>* rows, T* to, std::ptrdiff_t to_stride) {
  constexpr int parts = 4, columns = Vec<T>::width / parts;
  mix_rows(rows);
  FASTLSTM_UNROLL for (int column = 0; column < columns; ++column) {
    const Vec<T>* const part = rows + column;
    const Vec<T> even_above = every_other_part<false>(part[0], part[columns]);
    const Vec<T> odd_above = every_other_part<true>(part[0], part[columns]);
    const Vec<T> even_below = every_other_part<false>(part[2 * columns], part[3 * columns]);
    const Vec<T> odd_below = every_other_part<true>(part[2 * columns], part[3 * columns]);
    T* const out = to + column * to_stride;
    every_other_part<false>(even_above, even_below).store(out);
    every_other_part<false>(odd_above, odd_below).store(out + columns * to_stride);
    every_other_part<true>(even_above, even_below).store(out + 2 * columns * to_stride);
    every_other_part<true>(odd_above, odd_below).store(out + 3 * columns * to_stride);
  }
}

template <typename T>
inline void transpose_in_registers(const T* from, std::ptrdiff_t from_stride, T* to,
                                   std::ptrdiff_t to_stride) {
  Vec<T> rows[Vec<T>::width];
  for (int row = 0; row < Vec<T>::width; ++row) rows[row] = Vec<T>::load(from + row * from_stride);
  store_transposed(rows, to, to_stride);
}
template <>
inline void transpose_square(const float* from, std::ptrdiff_t from_stride, float* to,
                             std::ptrdiff_t to_stride) {
  transpose_in_registers(from, from_stride, to, to_stride);
}
template <>
inline void transpose_square(const double* from, std::ptrdiff_t from_stride, double* to,
                             std::ptrdiff_t to_stride) {
  transpose_in_registers(from, from_stride, to, to_stride);
}

#if defined(FASTLSTM_BF16)
// Two successive factors of each of sixteen columns.
using Pairs = __m512i;

inline Pairs load_pairs(const bfloat16* from) { return _mm512_loadu_si512(from); }
inline Pairs broadcast_pair(const bfloat16* from) {
  int pair;
  std::memcpy(&pair, from, sizeof pair);
  return _mm512_set1_epi32(pair);
}
inline Pairs broadcast_single(const bfloat16* from) { return _mm512_set1_epi32(from->bits); }

// sums + a[0]·b[0] + a[1]·b[1] in each lane.
inline Vec<float> dot_pairs(Pairs a, Pairs b, Vec<float> sums) {
  return _mm512_dpbf16_ps(sums.lanes, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}

// The first `count` numbers of two arrays in turns; the others are zero.
inline Pairs make_pairs(const bfloat16* first, const bfloat16* second, int count) {
  const auto widened = [&](const bfloat16* from) {
    const __m256i halves = count == 16 ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))
                                       : _mm256_maskz_loadu_epi16(Vec<float>::first(count), from);
    return _mm512_cvtepu16_epi32(halves);
  };
  return _mm512_or_si512(widened(first), _mm512_slli_epi32(widened(second), 16));
}

// Writes the rows of 16 × 32 numbers as columns of pairs.
inline void transpose_pairs(const bfloat16* from, std::ptrdiff_t from_stride, bfloat16* to,
                            std::ptrdiff_t to_stride) {
  Vec<float> rows[16];
  for (int row = 0; row < 16; ++row)
    rows[row] = _mm512_castsi512_ps(_mm512_loadu_si512(from + row * from_stride));
  store_transposed(rows, reinterpret_cast<float*>(to), to_stride / 2);
}

// Writes the columns of 32 × 16 numbers as rows; `to` and its stride are even.
template <>
inline void transpose_square(const bfloat16* from, std::ptrdiff_t from_stride, bfloat16* to,
                             std::ptrdiff_t to_stride) {
  Vec<float> pairs[16];
  for (int pair = 0; pair < 16; ++pair) {
    const bfloat16* const first = from + 2 * pair * from_stride;
    pairs[pair] = _mm512_castsi512_ps(make_pairs(first, first + from_stride, 16));
  }
  store_transposed(pairs, reinterpret_cast<float*>(to), to_stride / 2);
}
#endif

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
