// The engine's matrix product: every layout, sizes that fill no tile, any number of threads.
#include <cmath>
#include <string>
#include <vector>

#include "check.h"
#include "dispatch.h"
#include "engine.h"
#include "guarded.h"
#include "numbers.h"
#include "random.h"

namespace fastlstm::native {
namespace {

struct Case {
  Index rows, depth, columns;
  bool a_is_transposed, b_is_transposed, accumulates;

  std::string text() const {
    return "product " + std::to_string(rows) + "x" + std::to_string(depth) + "x" +
           std::to_string(columns) + (a_is_transposed ? " transposed" : "") +
           (b_is_transposed ? " by transposed" : "") + (accumulates ? " onto the last" : "") + " ";
  }
};

// A matrix in memory of exactly its own size, whose rows (or columns, where it is transposed) are
// `apart` numbers further apart than they are long.
template <typename T>
struct Matrix {
  Array<T> data;
  Index row_stride, column_stride;

  Matrix(Index rows, Index columns, bool is_transposed, Index apart)
      : row_stride(is_transposed ? 1 : columns + apart),
        column_stride(is_transposed ? rows + apart : 1) {
    const bool is_empty = rows == 0 || columns == 0;
    data = Array<T>(is_empty ? 0 : (rows - 1) * row_stride + (columns - 1) * column_stride + 1);
  }
  T& at(Index row, Index column) { return data[row * row_stride + column * column_stride]; }
  void fill(Index rows, Index columns, std::uint64_t which) {
    for (Index row = 0; row < rows; ++row)
      for (Index column = 0; column < columns; ++column)
        at(row, column) = nearest<T>(number_at(which, row, column));
  }
};

template <typename T>
void check_case(const Case& sizes, const std::vector<int>& teams, double tolerance) {
  constexpr Index apart = 3;
  Matrix<T> a(sizes.rows, sizes.depth, sizes.a_is_transposed, apart);
  Matrix<T> b(sizes.depth, sizes.columns, sizes.b_is_transposed, apart);
  a.fill(sizes.rows, sizes.depth, 1);
  b.fill(sizes.depth, sizes.columns, 2);
  const auto start = [](Index i) { return static_cast<Sum<T>>(number_at(3, i)); };

  std::vector<double> expected, expected_sums;
  for (Index row = 0; row < sizes.rows; ++row)
    for (Index column = 0; column < sizes.columns; ++column) {
      double sum = sizes.accumulates ? start(row * sizes.columns + column) : 0;
      for (Index k = 0; k < sizes.depth; ++k)
        sum += value_of(a.at(row, k)) * value_of(b.at(k, column));
      expected.push_back(sum);
    }

  for (Index row = 0; row < sizes.rows; ++row) {
    expected_sums.push_back(0);
    for (Index k = 0; k < sizes.depth; ++k) expected_sums.back() += value_of(a.at(row, k));
  }

  Array<Sum<T>> first, first_sums;
  for (const int threads : teams) {
    Array<Sum<T>> out(sizes.rows * sizes.columns), sums(sizes.rows);
    for (Index i = 0; i < out.size() && sizes.accumulates; ++i) out[i] = start(i);
    ProductCall<T> call{};
    call.rows = sizes.rows;
    call.depth = sizes.depth;
    call.columns = sizes.columns;
    call.a = a.data.get();
    call.a_row_stride = a.row_stride;
    call.a_depth_stride = a.column_stride;
    call.b = b.data.get();
    call.b_depth_stride = b.row_stride;
    call.b_column_stride = b.column_stride;
    call.accumulate = sizes.accumulates;
    call.out = out.get();
    call.row_sums = sums.get();
    check(run_product(call, threads), sizes.text() + "has no memory");
    check_close(out.get(), expected.data(), out.size(), tolerance, sizes.text());
    check_close(sums.get(), expected_sums.data(), sums.size(), tolerance, sizes.text() + "sums");
    if (threads == teams.front()) first = out, first_sums = sums;
    const std::string text = sizes.text() + "by " + std::to_string(threads) + " threads";
    check_same_bits(out.get(), first.get(), first.bytes(), text);
    check_same_bits(sums.get(), first_sums.get(), first_sums.bytes(), text + ", sums");
  }
}

void check_types(const Case& sizes, const std::vector<int>& teams) {
  const double of_depth = std::sqrt(static_cast<double>(sizes.depth) + 1);
  check_case<float>(sizes, teams, 1e-6 * of_depth);
  check_case<double>(sizes, teams, 2e-15 * of_depth);
  if (target().avx512_bf16) check_case<bfloat16>(sizes, teams, 1e-6 * of_depth);
}

}  // namespace

void test_product() {
  const Index shapes[][3] = {{0, 3, 4}, {3, 0, 4},    {3, 4, 0},   {1, 1, 1},    {2, 5, 17},
                             {7, 9, 3}, {13, 33, 16}, {6, 70, 67}, {50, 12, 131}};
  for (const Guard side : {Guard::end, Guard::begin}) {
    guard = side;
    for (const auto& shape : shapes)
      for (int layout = 0; layout < 8; ++layout)
        check_types(
            {shape[0], shape[1], shape[2], (layout & 1) != 0, (layout & 2) != 0, (layout & 4) != 0},
            {1, 2});
    // Deeper than a block, wider than one, and each of the two ways to divide the work.
    check_types({61, 1100, 70, true, false, true}, {1, 2, 3, 7});
    check_types({300, 41, 530, false, true, false}, {1, 2, 3, 7});
    check_types({9, 530, 700, false, false, true}, {1, 2, 3, 7});
    // Few columns, made the other way round.
    check_types({61, 1100, 7, true, false, true}, {1, 2, 3, 7});
    check_types({150, 530, 1, true, false, false}, {1, 2, 3, 7});
    check_types({33, 257, 4, true, true, true}, {1, 2, 3, 7});
    check_types({19, 2101, 33, true, true, false}, {1, 2});
  }
}

}  // namespace fastlstm::native
