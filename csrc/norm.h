// Layer norm (Ba et al. 2016) over contiguous values.
#pragma once

#include <array>
#include <cmath>

#include "calls.h"
#include "simd.h"

namespace fastlstm {
namespace FASTLSTM_TARGET {

// The first `count` lanes of `v`, with zero in the others.
template <typename T>
inline Vec<T> first_lanes(Vec<T> v, int count) {
  T lanes[Vec<T>::width];
  v.store(lanes);
  return Vec<T>::load(lanes, count);
}

template <typename T>
struct Normalizer {
  T mean;
  T inverse_deviation;

  Vec<T> operator()(Vec<T> x) const { return (x - Vec<T>(mean)) * Vec<T>(inverse_deviation); }
};

// Some sums over `count` values at once: `add(at, lanes, totals)` adds the values from `at` on to
// one vector for each sum. Four chains for each, as an addition takes four cycles.
template <typename T, int sums, typename Add>
inline std::array<T, sums> sums_over(Index count, const Add& add) {
  constexpr int chains = 4, width = Vec<T>::width;
  Vec<T> totals[chains][sums];
  FASTLSTM_UNROLL for (int chain = 0; chain < chains; ++chain)
      FASTLSTM_UNROLL for (int i = 0; i < sums; ++i) totals[chain][i] = Vec<T>(T(0));
  Index at = 0;
  for (; at + chains * width <= count; at += chains * width)
    FASTLSTM_UNROLL for (int chain = 0; chain < chains; ++chain)
        add(at + chain * width, width, totals[chain]);
  for_each_vector<T>(at, count, [&](Index from, int n) { add(from, n, totals[0]); });
  std::array<T, sums> result;
  FASTLSTM_UNROLL for (int i = 0; i < sums; ++i) result[i] =
      sum((totals[0][i] + totals[1][i]) + (totals[2][i] + totals[3][i]));
  return result;
}

// Mean and deviation in two passes: the variance is a sum of squares, never a difference.
template <typename T>
inline Normalizer<T> normalizer_of(const T* values, Index count, T epsilon) {
  const auto total = sums_over<T, 1>(
      count, [&](Index at, int n, Vec<T>* sum) { *sum = *sum + Vec<T>::load(values + at, n); });
  const T mean = total[0] / static_cast<T>(count);
  const auto squares = sums_over<T, 1>(count, [&](Index at, int n, Vec<T>* sum) {
    Vec<T> centred = Vec<T>::load(values + at, n) - Vec<T>(mean);
    if (n < Vec<T>::width) centred = first_lanes(centred, n);
    *sum = fma(centred, centred, *sum);
  });
  const T variance = squares[0] / static_cast<T>(count);
  return {mean, T(1) / std::sqrt(variance + epsilon)};
}

// The gradient of x from that of LN(x) times its gain: d - mean(d) - x̂ · mean(d ⊙ x̂), over the
// deviation of x.
template <typename T>
struct ThroughNorm {
  Normalizer<T> normalizer;
  T mean, along;

  Vec<T> operator()(Vec<T> d, Vec<T> x) const {
    const Vec<T> rest = d - Vec<T>(mean) - normalizer(x) * Vec<T>(along);
    return rest * Vec<T>(normalizer.inverse_deviation);
  }
};

template <typename T, typename D, typename Gain>
inline ThroughNorm<T> through_norm(const D* d, const Gain* gain, const T* x, Index count,
                                   const Normalizer<T>& normalizer) {
  const auto totals = sums_over<T, 2>(count, [&](Index i, int n, Vec<T>* sums) {
    const Vec<T> scaled = Vec<T>::load(d + i, n) * Vec<T>::load(gain + i, n);
    sums[0] = sums[0] + scaled;
    sums[1] = fma(scaled, normalizer(Vec<T>::load(x + i, n)), sums[1]);
  });
  return {normalizer, totals[0] / static_cast<T>(count), totals[1] / static_cast<T>(count)};
}

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
