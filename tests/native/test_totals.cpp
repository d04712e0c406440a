// The sums over all steps: against sums in double, with any number of threads.
#include <cmath>
#include <string>
#include <vector>

#include "check.h"
#include "engine.h"
#include "guarded.h"
#include "random.h"

namespace fastlstm::native {
namespace {

template <typename T>
constexpr double tolerance = sizeof(T) == sizeof(float) ? 1e-5 : 1e-12;
constexpr int teams[] = {1, 2, 3, 7};

std::string text_of(const char* name, Index rows, Index columns) {
  return std::string(name) + " " + std::to_string(rows) + "x" + std::to_string(columns) + " ";
}

template <typename T>
Array<T> numbers(std::uint64_t which, Index rows, Index columns, double scale = 1,
                 double shift = 0) {
  Array<T> values(rows * columns);
  for (Index row = 0; row < rows; ++row)
    for (Index i = 0; i < columns; ++i)
      values[row * columns + i] = static_cast<T>(scale * number_at(which, row, i) + shift);
  return values;
}

// The rows of an array that ends with its last number; what lies between them stays NaN.
template <typename T>
Array<T> spread(const Array<T>& values, Index rows, Index columns, Index stride) {
  Array<T> result(rows == 0 ? 0 : (rows - 1) * stride + columns);
  for (Index row = 0; row < rows; ++row)
    for (Index i = 0; i < columns; ++i) result[row * stride + i] = values[row * columns + i];
  return result;
}

template <typename T>
void check_column_dots(Index rows, Index columns, bool accumulates) {
  const std::string text = text_of("column_dots", rows, columns);
  const Array<T> a = numbers<T>(1, rows, columns), b = numbers<T>(2, rows, columns);
  const Array<T> before = numbers<T>(3, 1, columns);
  std::vector<double> expected;
  for (Index i = 0; i < columns; ++i) {
    double sum = accumulates ? before[i] : 0;
    for (Index row = 0; row < rows; ++row)
      sum += double(a[row * columns + i]) * double(b[row * columns + i]);
    expected.push_back(sum);
  }
  const Array<T> wide_a = spread(a, rows, columns, columns + 5);
  const Array<T> wide_b = spread(b, rows, columns, 2 * columns + 1);
  Array<T> first;
  for (const int threads : teams) {
    Array<T> out = accumulates ? before : Array<T>(columns);
    ColumnDotsCall<T> call{};
    call.rows = rows;
    call.columns = columns;
    call.a = wide_a.get();
    call.a_row_stride = columns + 5;
    call.b = wide_b.get();
    call.b_row_stride = 2 * columns + 1;
    call.accumulate = accumulates;
    call.out = out.get();
    check(run_column_dots(call, threads), text + "has no memory");
    check_close(out.get(), expected.data(), columns, tolerance<T>, text);
    if (threads == 1) first = out;
    check_same_bits(out.get(), first.get(), first.bytes(),
                    text + "by " + std::to_string(threads) + " threads");
  }
}

struct NormGradients {
  std::vector<double> d_gain, d_bias, d_x;
};

// Ba et al. 2016, equation 4, and its derivatives.
template <typename T>
NormGradients norm_gradients(const Array<T>& d, const Array<T>& x, const Array<T>& gain, Index rows,
                             Index columns, double epsilon) {
  const auto width = static_cast<std::size_t>(columns);
  NormGradients gradients{std::vector<double>(width), std::vector<double>(width), {}};
  for (Index row = 0; row < rows; ++row) {
    const auto d_at = [&](Index i) { return static_cast<double>(d[row * columns + i]); };
    double mean = 0, variance = 0, of_scaled = 0, along = 0;
    for (Index i = 0; i < columns; ++i) mean += x[row * columns + i] / double(columns);
    for (Index i = 0; i < columns; ++i)
      variance += std::pow(x[row * columns + i] - mean, 2) / double(columns);
    const double deviation = std::sqrt(variance + epsilon);
    const auto normalized = [&](Index i) { return (x[row * columns + i] - mean) / deviation; };
    for (Index i = 0; i < columns; ++i) {
      gradients.d_gain[static_cast<std::size_t>(i)] += d_at(i) * normalized(i);
      gradients.d_bias[static_cast<std::size_t>(i)] += d_at(i);
      of_scaled += d_at(i) * gain[i] / double(columns);
      along += d_at(i) * gain[i] * normalized(i) / double(columns);
    }
    for (Index i = 0; i < columns; ++i)
      gradients.d_x.push_back((d_at(i) * gain[i] - of_scaled - along * normalized(i)) / deviation);
  }
  return gradients;
}

// Where the gradient of x goes: nowhere, to an array of its own, or over x.
enum class Target { none, own, in_place };

template <typename T>
void check_norm_totals(Index rows, Index columns, Target target) {
  const std::string text = text_of("norm_totals", rows, columns);
  const double epsilon = 1e-3;
  const Array<T> d = numbers<T>(4, rows, columns), gain = numbers<T>(6, 1, columns);
  const Array<T> x = numbers<T>(5, rows, columns, 3, 1);
  const NormGradients expected = norm_gradients(d, x, gain, rows, columns, epsilon);
  Array<T> first_gain, first_bias, first_x;
  for (const int threads : teams) {
    Array<T> d_gain(columns), d_bias(columns), seen = x;
    Array<T> d_x(target == Target::own ? rows * columns : 0);
    T* const to = target == Target::in_place ? seen.get() : d_x.get();
    NormTotalsCall<T> call{};
    call.rows = rows;
    call.columns = columns;
    call.d = d.get();
    call.x = seen.get();
    call.gain = target == Target::none ? nullptr : gain.get();
    call.epsilon = static_cast<T>(epsilon);
    call.d_gain = d_gain.get();
    call.d_bias = d_bias.get();
    call.d_x = target == Target::none ? nullptr : to;
    check(run_norm_totals(call, threads), text + "has no memory");
    check_close(d_gain.get(), expected.d_gain.data(), columns, tolerance<T>, text + "d_gain");
    check_close(d_bias.get(), expected.d_bias.data(), columns, tolerance<T>, text + "d_bias");
    if (target != Target::none)
      check_close(to, expected.d_x.data(), rows * columns, tolerance<T>, text + "d_x");
    Array<T>& all_x = target == Target::in_place ? seen : d_x;
    if (threads == 1) first_gain = d_gain, first_bias = d_bias, first_x = all_x;
    const std::string by = text + "by " + std::to_string(threads) + " threads, ";
    check_same_bits(d_gain.get(), first_gain.get(), first_gain.bytes(), by + "d_gain");
    check_same_bits(d_bias.get(), first_bias.get(), first_bias.bytes(), by + "d_bias");
    check_same_bits(all_x.get(), first_x.get(), first_x.bytes(), by + "d_x");
  }
}

template <typename T>
void check_type(Index rows, Index columns) {
  check_column_dots<T>(rows, columns, false);
  check_column_dots<T>(rows, columns, true);
  for (const Target target : {Target::none, Target::own, Target::in_place})
    check_norm_totals<T>(rows, columns, target);
}

}  // namespace

void test_totals() {
  // None fills a vector or a block of rows; for the last two more than one thread works.
  constexpr Index shapes[][2] = {{0, 5},   {1, 1},    {3, 7},     {63, 19},
                                 {65, 33}, {130, 70}, {700, 301}, {90, 2501}};
  for (const Guard side : {Guard::end, Guard::begin}) {
    guard = side;
    for (const auto& shape : shapes) {
      check_type<float>(shape[0], shape[1]);
      check_type<double>(shape[0], shape[1]);
    }
  }
}

}  // namespace fastlstm::native
