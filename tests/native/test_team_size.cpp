// That neither the number of threads nor the other rows of a batch change a bit of the results.
#include <string>
#include <vector>

#include "check.h"
#include "problem.h"

namespace fastlstm::native {
namespace {

// Any numbers will do where two runs are compared; those of the true R h would take a product.
template <typename T>
Array<T> stand_in_for_recurrent(const Problem<T>& problem) {
  if (!problem.has(layer_norm)) return {};
  const std::vector<T> numbers =
      without_padding(problem, problem.d_gates.get(), problem.gates_width());
  Array<T> result(static_cast<Index>(numbers.size()));
  for (Index i = 0; i < result.size(); ++i) result[i] = numbers[static_cast<std::size_t>(i)];
  return result;
}

template <typename T>
void check_same(const Outputs<T>& found, const Outputs<T>& expected, const std::string& text) {
  check_same_bits(found.output.get(), expected.output.get(), expected.output.bytes(),
                  text + "output");
  check_same_bits(found.h_n.get(), expected.h_n.get(), expected.h_n.bytes(), text + "h_n");
  check_same_bits(found.c_n.get(), expected.c_n.get(), expected.c_n.bytes(), text + "c_n");
  check_same_bits(found.gates.get(), expected.gates.get(), expected.gates.bytes(), text + "gates");
  check_same_bits(found.cells.get(), expected.cells.get(), expected.cells.bytes(), text + "cells");
}

template <typename T>
void check_same(const Gradients<T>& found, const Gradients<T>& expected, const std::string& text) {
  const auto check_one = [&](const Array<T>& one, const Array<T>& other, const char* name) {
    check_same_bits(one.get(), other.get(), other.bytes(), text + name);
  };
  check_one(found.d_z, expected.d_z, "d_z");
  check_one(found.d_recurrent, expected.d_recurrent, "d_recurrent");
  check_one(found.d_seen, expected.d_seen, "d_seen");
  check_one(found.d_new_h, expected.d_new_h, "d_new_h");
  check_one(found.d_h_0, expected.d_h_0, "d_h_0");
  check_one(found.d_c_0, expected.d_c_0, "d_c_0");
  check_one(found.d_reset_h, expected.d_reset_h, "d_reset_h");
  check_one(found.d_reset_c, expected.d_reset_c, "d_reset_c");
}

template <typename T>
void check_threads(Sizes sizes, unsigned switches) {
  const Problem<T> problem(sizes, switches);
  const Array<T> recurrent = stand_in_for_recurrent(problem);
  const Outputs<T> outputs = forward(problem, 1, 1);
  const Outputs<T> in_chunks = forward(problem, 7, 1);
  const Gradients<T> gradients = backward(problem, outputs, recurrent, Given::all, 1);
  for (const int threads : {2, 3, 11}) {
    const std::string text = problem.text() + std::to_string(threads) + " threads, ";
    check_same(forward(problem, 1, threads), outputs, text);
    check_same(forward(problem, 7, threads), in_chunks, text + "in chunks, ");
    check_same(backward(problem, outputs, recurrent, Given::all, threads), gradients, text);
  }
}

// The first rows of a larger batch are given the same numbers.
template <typename T>
void check_rows(Sizes sizes, unsigned switches) {
  const Problem<T> together(sizes, switches);
  const Outputs<T> expected = forward(together, 1, 1);
  for (const Index rows : {Index(1), Index(2), Index(5)}) {
    const Problem<T> alone({sizes.steps, rows, sizes.hidden}, switches);
    const Outputs<T> found = forward(alone, 1, 1);
    const auto check_one = [&](const Array<T>& few, const Array<T>& many, Index width,
                               const char* name) {
      const std::size_t bytes = static_cast<std::size_t>(rows * width) * sizeof(T);
      for (Index t = 0; t < few.size() / (rows * width); ++t)
        check_same_bits(few.get() + t * rows * width, many.get() + t * sizes.rows * width, bytes,
                        alone.text() + name);
    };
    check_one(found.output, expected.output, alone.recurrent, "output alone");
    check_one(found.gates, expected.gates, alone.gates_width(), "gates alone");
    check_one(found.cells, expected.cells, sizes.hidden, "cells alone");
    check_one(found.h_n, expected.h_n, alone.recurrent, "h_n alone");
  }
}

}  // namespace

void test_team_size() {
  // Each is enough work for a team, some members of which have nothing to do.
  constexpr Sizes shapes[] = {{40, 1, 210}, {14, 5, 133}, {12, 70, 61}, {30, 3, 190}};
  for (const unsigned switches : kinds) {
    for (const Sizes& sizes : shapes) {
      check_threads<float>(sizes, switches);
      check_threads<double>(sizes, switches);
    }
    check_rows<float>({3, 11, 37}, switches);
    check_rows<double>({3, 11, 37}, switches);
  }
}

}  // namespace fastlstm::native
