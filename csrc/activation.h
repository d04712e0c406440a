// Sigmoid and tanh, at most 2 units in the last place from the true value over the whole range of
// float32 and float64; infinities and NaN give what the limits are. Tested by ULP.
//
// Both are made from exp(-y) with y ≥ 0, so that nothing overflows. The argument is reduced by
// Cody & Waite 1980 ("Software Manual for the Elementary Functions"), x = n·ln 2 + r with ln 2 in
// two parts of which the first has room for n, and exp(r) - 1 is its Taylor series, whose rest is
// far below a unit in the last place for |r| ≤ 3/4 ln 2.
#pragma once

#include "simd.h"

namespace fastlstm {
namespace FASTLSTM_TARGET {

template <typename T>
struct ExponentialConstants;

template <>
struct ExponentialConstants<float> {
  static constexpr float log2_of_e = 1.44269504f;
  static constexpr float ln2_high = 0.693359375f;  // 9 significant bits
  static constexpr float ln2_low = -2.12194440e-4f;
  static constexpr float zero_below = -110.0f;  // exp(x) rounds to 0
  static constexpr float one_above = 10.0f;     // tanh(x) rounds to 1
  static constexpr int terms = 9;
};

template <>
struct ExponentialConstants<double> {
  static constexpr double log2_of_e = 1.4426950408889634;
  static constexpr double ln2_high = 0x1.62e42feep-1;  // 32 significant bits
  static constexpr double ln2_low = 0x1.a39ef35793c76p-33;
  static constexpr double zero_below = -750.0;
  static constexpr double one_above = 20.0;
  static constexpr int terms = 15;
};

// 1/1!, 1/2!, …: the Taylor series of exp(r) - 1 without its factor r.
constexpr double inverse_factorials[16] = {1.0,
                                           1.0,
                                           1.0 / 2,
                                           1.0 / 6,
                                           1.0 / 24,
                                           1.0 / 120,
                                           1.0 / 720,
                                           1.0 / 5040,
                                           1.0 / 40320,
                                           1.0 / 362880,
                                           1.0 / 3628800,
                                           1.0 / 39916800,
                                           1.0 / 479001600,
                                           1.0 / 6227020800,
                                           1.0 / 87178291200,
                                           1.0 / 1307674368000};

template <typename T>
struct ReducedExponential {
  Vec<T> power;      // n
  Vec<T> remainder;  // exp(r) - 1
};

// exp(x) = 2ⁿ · (1 + remainder), for x no smaller than `zero_below`.
template <typename T>
inline ReducedExponential<T> reduced_exponential(Vec<T> x) {
  using Constants = ExponentialConstants<T>;
  // Rounded up from 1/4 already: exp(r) - 1 for a small x is then r's alone, with nothing to
  // cancel.
  const Vec<T> n = round_to_integer(fma(x, Vec<T>(Constants::log2_of_e), Vec<T>(T(0.25))));
  const Vec<T> high = fma(n, Vec<T>(-Constants::ln2_high), x);
  const Vec<T> low = n * Vec<T>(-Constants::ln2_low);
  const Vec<T> r = high + low;
  Vec<T> series{T(inverse_factorials[Constants::terms])};
  for (int k = Constants::terms - 1; k >= 2; --k)
    series = fma(series, r, Vec<T>(T(inverse_factorials[k])));
  // float32 has enough terms to spare for what r lost to rounding; float64 has not.
  if constexpr (sizeof(T) == sizeof(float)) return {n, fma(series, r * r, r)};
  const Vec<T> lost = low - (r - high);
  return {n, r + fma(series, r * r, lost)};
}

// numerator / (larger + smaller), for a sum between 1 and 2, where what the sum and the quotient
// lost to rounding is made up for; so the reciprocal need not be exact to the last bits.
template <typename T>
inline Vec<T> corrected_quotient(Vec<T> numerator, Vec<T> larger, Vec<T> smaller) {
  const Vec<T> sum = larger + smaller;
  const Vec<T> lost = smaller - (sum - larger);
  const Vec<T> inverse = reciprocal(sum);
  const Vec<T> quotient = numerator * inverse;
  const Vec<T> rest = fma(quotient, Vec<T>(T(0)) - lost, remainder(numerator, quotient, sum));
  return fma(rest, inverse, quotient);
}

template <typename T>
inline Vec<T> sigmoid(Vec<T> x) {
  const Vec<T> zero(T(0)), one(T(1));
  const Vec<T> down = max(Vec<T>(ExponentialConstants<T>::zero_below), zero - abs(x));
  const ReducedExponential<T> reduced = reduced_exponential(down);
  const Vec<T> e = scale(one + reduced.remainder, reduced.power);
  return corrected_quotient(select(less_equal(zero, x), one, e), one, e);
}

template <typename T>
inline Vec<T> tanh(Vec<T> x) {
  const Vec<T> one(T(1)), two(T(2));
  const Vec<T> size = min(Vec<T>(ExponentialConstants<T>::one_above), abs(x));
  const ReducedExponential<T> reduced = reduced_exponential(Vec<T>(T(-2)) * size);
  // With e = exp(-2|x|): (1 - e) / (1 + e), where 1 - e is made without cancellation, as 2ⁿ - 1 is
  // exact; or 1 - 2e / (1 + e), where e is small, and the quotient's error with it.
  const Vec<T> power = scale(one, reduced.power);
  const Vec<T> less_one = fma(power, reduced.remainder, power - one);
  const Vec<T> e = fma(power, reduced.remainder, power);
  const auto is_large = less_equal(Vec<T>(T(0.5)), size);
  const Vec<T> numerator = select(is_large, two * e, Vec<T>(T(0)) - less_one);
  const Vec<T> quotient = corrected_quotient(numerator, two, less_one);
  return copy_sign(select(is_large, one - quotient, quotient), x);
}

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
