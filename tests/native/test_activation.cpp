// The engine's sigmoid and tanh by units in the last place, over the whole range of floats.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "check.h"
#include "engine.h"
#include "guarded.h"
#include "random.h"

namespace fastlstm::native {
namespace {

constexpr double most_units = 2;

template <typename Wide>
Wide exact_sigmoid(Wide x) {
  const Wide e = std::exp(-std::fabs(x));
  return (x >= 0 ? Wide(1) : e) / (1 + e);
}
template <typename Wide>
Wide exact_tanh(Wide x) {
  return std::tanh(x);
}

// The distance to the next number away from zero.
template <typename T>
T spacing(T x) {
  const T size = std::fabs(x);
  const T next = std::nextafter(size, std::numeric_limits<T>::infinity());
  return next == std::numeric_limits<T>::infinity() ? size - std::nextafter(size, T(0))
                                                    : next - size;
}

template <typename T, typename Wide>
void check_units(const std::string& name, const std::vector<T>& x,
                 void (*apply)(const T*, T*, Index), Wide (*exact)(Wide)) {
  Array<T> from(static_cast<Index>(x.size())), to(static_cast<Index>(x.size()));
  std::memcpy(from.get(), x.data(), from.bytes());
  apply(from.get(), to.get(), from.size());
  double worst = 0;
  T worst_x = 0;
  for (Index i = 0; i < from.size(); ++i) {
    if (std::isnan(from[i])) {
      check(std::isnan(to[i]), name + " of NaN is not NaN");
      continue;
    }
    const Wide expected = exact(static_cast<Wide>(from[i]));
    const Wide distance = std::fabs(static_cast<Wide>(to[i]) - expected);
    const auto units = static_cast<double>(distance / spacing(static_cast<T>(expected)));
    if (units <= worst) continue;
    worst = units;
    worst_x = from[i];
    if (std::isnan(worst)) break;
  }
  check(worst <= most_units,
        name + " is " + std::to_string(worst) + " units off at " + std::to_string(worst_x));
}

// Every so many of all bit patterns: subnormal, infinite and NaN ones are among them.
std::vector<float> patterns(std::uint64_t every) {
  std::vector<float> x;
  for (std::uint64_t bits = 0; bits <= 0xffffffffu; bits += every) {
    const auto pattern = static_cast<std::uint32_t>(bits);
    float value;
    std::memcpy(&value, &pattern, sizeof value);
    x.push_back(value);
  }
  return x;
}

std::vector<double> doubles(int count) {
  std::vector<double> x = {5e-324, -5e-324, 2.2e-308, 1.7e308, -1.7e308};
  for (int i = 0; i < count; ++i) {
    const double part = 2.0 * i / count - 1;
    const double size = std::exp(-745 * std::fabs(part));
    for (const double value :
         {part, 750 * part, 8 * number_at(1, static_cast<std::uint64_t>(i)), size, -size})
      x.push_back(value);
  }
  return x;
}

template <typename T>
void check_special_values() {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  const T x[] = {infinity, -infinity, T(0), T(-0.0), std::numeric_limits<T>::quiet_NaN()};
  T found[5];
  run_sigmoid(x, found, 5);
  check(found[0] == 1 && found[1] == 0 && found[2] == T(0.5) && found[3] == T(0.5) &&
            std::isnan(found[4]),
        "sigmoid of a special value");
  run_tanh(x, found, 5);
  check(found[0] == 1 && found[1] == -1 && found[2] == 0 && found[3] == 0 && std::isnan(found[4]),
        "tanh of a special value");
  check(!std::signbit(found[2]) && std::signbit(found[3]), "tanh of a zero has its sign");
}

template <typename T>
void check_that_the_place_does_not_matter(void (*apply)(const T*, T*, Index)) {
  for (Index count = 0; count <= 37; ++count) {
    Array<T> from(count), together(count);
    for (Index i = 0; i < count; ++i) from[i] = static_cast<T>(4 * number_at(2, i));
    apply(from.get(), together.get(), count);
    for (Index i = 0; i < count; ++i) {
      T alone;
      apply(&from[i], &alone, 1);
      check_same_bits(&together[i], &alone, sizeof alone, "one number among others");
    }
  }
}

}  // namespace

void test_activation() {
  const std::vector<float> floats = patterns(4999);
  check_units<float, double>("sigmoid", floats, run_sigmoid, exact_sigmoid);
  check_units<float, double>("tanh", floats, run_tanh, exact_tanh);
  if (std::numeric_limits<long double>::digits >= 64) {
    const std::vector<double> wide = doubles(4001);
    check_units<double, long double>("sigmoid", wide, run_sigmoid, exact_sigmoid);
    check_units<double, long double>("tanh", wide, run_tanh, exact_tanh);
  }
  check_special_values<float>();
  check_special_values<double>();
  for (const Guard side : {Guard::end, Guard::begin}) {
    guard = side;
    check_that_the_place_does_not_matter<float>(run_sigmoid);
    check_that_the_place_does_not_matter<float>(run_tanh);
    check_that_the_place_does_not_matter<double>(run_sigmoid);
    check_that_the_place_does_not_matter<double>(run_tanh);
  }
}

}  // namespace fastlstm::native
