// Sigmoid and tanh, at most 2 units in the last place from the true value over the whole range of
// float32 and float64; infinities and NaN give what the limits are. Tested by ULP.
//
// Both are a quotient of sums of 2ⁿ and exp(r) - 1, where the argument is n·ln 2 + r with |r| ≤
// ½ ln 2 (Cody & Waite 1980, "Software Manual for the Elementary Functions", with ln 2 in two parts
// of which the first has room for n). No sum here cancels: where 2ⁿ is 1, what is left over is
// exp(r) - 1 itself.
// Floor: 19 and 24 operations, of which 13 and 15 need one of the two units that multiply.
#pragma once

#include <iterator>

#include "simd.h"

namespace fastlstm {
namespace FASTLSTM_TARGET {

// `polynomial`: (exp(r) - 1 - r) / r² for |r| ≤ ½ ln 2, the highest power first, fitted by Remez'
// exchange for the smallest relative error of exp(r) - 1: 2⁻²⁶ in float32, 2⁻⁶¹ in float64.
template <typename T>
struct ExponentialConstants;

template <>
struct ExponentialConstants<float> {
  static constexpr float log2_of_e = 1.44269504f;
  static constexpr float ln2_high = 0.693359375f;  // 9 significant bits
  static constexpr float ln2_low = -2.12194440e-4f;
  static constexpr float zero_below = -110.0f;  // exp(x) rounds to 0
  static constexpr float one_above = 30.0f;     // sigmoid(x) and tanh(x / 2) round to 1
  static constexpr float polynomial[] = {0x1.6bebf4p-10f, 0x1.1227f6p-7f, 0x1.555674p-5f,
                                         0x1.5554b0p-3f, 0x1.fffffep-2f};
};

template <>
struct ExponentialConstants<double> {
  static constexpr double log2_of_e = 0x1.71547652b82fep+0;
  static constexpr double ln2_high = 0x1.62e42feep-1;  // 32 significant bits
  static constexpr double ln2_low = 0x1.a39ef35793c76p-33;
  static constexpr double zero_below = -760.0;
  static constexpr double one_above = 60.0;
  static constexpr double polynomial[] = {0x1.1ee889ea6fae0p-29,
                                          0x1.af5ee8a56c0a0p-26,
                                          0x1.27e5365d410ccp-22,
                                          0x1.71ddf841cb1bep-19,
                                          0x1.a01a017b97fcdp-16,
                                          0x1.a01a01afe9bddp-13,
                                          0x1.6c16c16c1f159p-10,
                                          0x1.111111110f6a9p-7,
                                          0x1.555555555553ep-5,
                                          0x1.5555555555559p-3,
                                          0x1p-1};
};

// 2ⁿ and exp(r) - 1, for x = n·ln 2 + r.
template <typename T>
struct ReducedExponential {
  Vec<T> power;
  Vec<T> remainder;
};

// Of exp(sign · x), for a sign of 1 or -1; the power is always that of exp(x).
template <int sign, typename T>
inline ReducedExponential<T> reduced_exponential(Vec<T> x) {
  using Constants = ExponentialConstants<T>;
  const Vec<T> n = round_to_integer(x * Vec<T>(Constants::log2_of_e));
  const Vec<T> signed_x = sign > 0 ? x : Vec<T>(T(0)) - x;
  Vec<T> r = fma(n, Vec<T>(-sign * Constants::ln2_high), signed_x);
  r = fma(n, Vec<T>(-sign * Constants::ln2_low), r);
  Vec<T> series(Constants::polynomial[0]);
  for (std::size_t k = 1; k < std::size(Constants::polynomial); ++k)
    series = fma(series, r, Vec<T>(Constants::polynomial[k]));
  return {scale(Vec<T>(T(1)), n), fma(series, r * r, r)};
}

template <typename T>
inline Vec<T> sigmoid(Vec<T> x) {
  using Constants = ExponentialConstants<T>;
  const Vec<T> one(T(1));
  x = max(Vec<T>(Constants::zero_below), min(Vec<T>(Constants::one_above), x));
  // 1 / (1 + exp(-x)) = 2ⁿ / (2ⁿ + exp(-r)), where 2ⁿ + 1 may lose some of 2ⁿ.
  const ReducedExponential<T> e = reduced_exponential<-1>(x);
  const Vec<T> sum = e.power + one;
  const Vec<T> lost = e.power - (sum - one);
  return quotient(e.power, sum + (e.remainder + lost));
}

template <typename T>
inline Vec<T> tanh(Vec<T> x) {
  const Vec<T> one(T(1));
  // (1 - e) / (1 + e) with e = exp(-2|x|) = 2ⁿ + 2ⁿ (exp(r) - 1), where 1 - 2ⁿ is exact.
  const Vec<T> negative = copy_sign(x + x, Vec<T>(T(-1)));
  const ReducedExponential<T> e =
      reduced_exponential<1>(max(Vec<T>(-ExponentialConstants<T>::one_above), negative));
  const Vec<T> sum = one + e.power, difference = one - e.power;
  const Vec<T> numerator = remainder(difference, e.power, e.remainder);
  const Vec<T> denominator = fma(e.power, e.remainder, sum);
  Vec<T> size = quotient(numerator, denominator);
  // In float64 r itself is less exact than its last place, so what both sums lost is made up for.
  if constexpr (sizeof(T) == sizeof(double)) {
    const Vec<T> above = remainder(difference - numerator, e.power, e.remainder);
    const Vec<T> below = fma(e.power, e.remainder, sum - denominator);
    size = size + remainder(above, size, below) / denominator;
  }
  return copy_sign(size, x);
}

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
