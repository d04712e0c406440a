// The engine's matrix product: every layout, sizes that fill no tile, any number of threads.
#include <cmath>
#include <string>
#include <vector>

#include "check.h"
#include "engine.h"
#include "guarded.h"
#include "random.h"

namespace fastlstm::native {
namespace {

struct Case {
  Index rows, depth, columns;
  bool a_is_transposed, b_is_transposed, has_bias;

  std::string text() const {
    return "product " + std::to_string(rows) + "x" + std::to_string(depth) + "x" +
           std::to_string(columns) + (a_is_transposed ? " transposed" : "") +
           (b_is_transposed ? " by transposed" : "") + (has_bias ? " + bias" : "") + " ";
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
        at(row, column) = static_cast<T>(number_at(which, row, column));
  }
};

template <typename T>
void check_case(const Case& sizes, const std::vector<int>& teams, double tolerance) {
  constexpr Index apart = 3;
  Matrix<T> a(sizes.rows, sizes.depth, sizes.a_is_transposed, apart);
  Matrix<T> b(sizes.depth, sizes.columns, sizes.b_is_transposed, apart);
  Array<T> bias(sizes.columns);
  a.fill(sizes.rows, sizes.depth, 1);
  b.fill(sizes.depth, sizes.columns, 2);
  for (Index column = 0; column < sizes.columns; ++column)
    bias[column] = static_cast<T>(number_at(3, column));

  std::vector<double> expected;
  for (Index row = 0; row < sizes.rows; ++row)
    for (Index column = 0; column < sizes.columns; ++column) {
      double sum = sizes.has_bias ? bias[column] : 0;
      for (Index k = 0; k < sizes.depth; ++k)
        sum += static_cast<double>(a.at(row, k)) * static_cast<double>(b.at(k, column));
      expected.push_back(sum);
    }

  Array<T> first;
  for (const int threads : teams) {
    Matrix<T> out(sizes.rows, sizes.columns, false, apart);
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
    call.bias = sizes.has_bias ? bias.get() : nullptr;
    call.out = out.data.get();
    call.out_stride = out.row_stride;
    check(run_product(call, threads), sizes.text() + "has no memory");
    for (Index row = 0; row < sizes.rows && sizes.columns > 0; ++row)
      check_close(&out.at(row, 0), expected.data() + row * sizes.columns, sizes.columns, tolerance,
                  sizes.text());
    // The gaps between the rows are compared too: nobody may write there.
    if (threads == teams.front()) first = out.data;
    check_same_bits(out.data.get(), first.get(), first.bytes(),
                    sizes.text() + "by " + std::to_string(threads) + " threads");
  }
}

void check_types(const Case& sizes, const std::vector<int>& teams) {
  const double of_depth = std::sqrt(static_cast<double>(sizes.depth) + 1);
  check_case<float>(sizes, teams, 1e-6 * of_depth);
  check_case<double>(sizes, teams, 2e-15 * of_depth);
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
  }
}

}  // namespace fastlstm::native
