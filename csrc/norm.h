// Layer norm (Ba et al. 2016) over contiguous values.
#pragma once

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

// Mean and deviation in two passes: the variance is a sum of squares, never a difference.
template <typename T>
inline Normalizer<T> normalizer_of(const T* values, Index count, T epsilon) {
  Vec<T> total(T(0));
  for_each_vector<T>(0, count,
                     [&](Index at, int n) { total = total + Vec<T>::load(values + at, n); });
  const T mean = sum(total) / static_cast<T>(count);
  Vec<T> squares(T(0));
  for_each_vector<T>(0, count, [&](Index at, int n) {
    Vec<T> centred = Vec<T>::load(values + at, n) - Vec<T>(mean);
    if (n < Vec<T>::width) centred = first_lanes(centred, n);
    squares = fma(centred, centred, squares);
  });
  const T variance = sum(squares) / static_cast<T>(count);
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
                                   T epsilon) {
  const Normalizer<T> normalizer = normalizer_of(x, count, epsilon);
  Vec<T> total(T(0)), along(T(0));
  for_each_vector<T>(0, count, [&](Index i, int n) {
    const Vec<T> scaled = Vec<T>::load(d + i, n) * Vec<T>::load(gain + i, n);
    total = total + scaled;
    along = fma(scaled, normalizer(Vec<T>::load(x + i, n)), along);
  });
  return {normalizer, sum(total) / static_cast<T>(count), sum(along) / static_cast<T>(count)};
}

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
