// The forward and the backward pass against the equations: every switch and every pair of them,
// sizes that fill no vector and no tile.
#include <string>
#include <vector>

#include "check.h"
#include "problem.h"
#include "reference.h"

namespace fastlstm::native {
namespace {

// Of float32 the layer norm of few units, some nearly alike, asks for so much.
template <typename T>
constexpr double tolerance = sizeof(T) == sizeof(float) ? 1e-4 : 1e-12;

template <typename T>
void check_numbers(const Array<T>& found, const std::vector<double>& expected,
                   const std::string& what) {
  check_close(found.get(), expected.data(), static_cast<std::ptrdiff_t>(expected.size()),
              tolerance<T>, what);
}

template <typename T>
void check_forward(const Problem<T>& problem, const Reference& reference, const Outputs<T>& outputs,
                   Index save_every) {
  const std::string text = problem.text() + "save_every " + std::to_string(save_every) + ", ";
  check_numbers(outputs.output, values_of(reference.output), text + "output");
  check_numbers(outputs.h_n, values_of(reference.h_n), text + "h_n");
  check_numbers(outputs.c_n, values_of(reference.c_n), text + "c_n");
  const auto [steps, rows, H] = problem.sizes;
  if (save_every == 1) {
    check_numbers(outputs.gates, values_of(reference.gates), text + "gates");
    check_numbers(outputs.cells, values_of(reference.cells), text + "cells");
  } else if (save_every > 1) {
    const std::vector<double> before = values_of(reference.cells_before);
    for (Index first = 0; first < steps; first += save_every) {
      const Index end = first + save_every < steps ? first + save_every : steps;
      const Index t = problem.has(reverse) ? end - 1 : first;
      check_close(outputs.cells.get() + first / save_every * rows * H, &before[t * rows * H],
                  rows * H, tolerance<T>, text + "cells");
    }
  }
}

template <typename T>
void check_backward(const Problem<T>& problem, const Reference& reference,
                    const Outputs<T>& outputs, Given given) {
  const Index GH = problem.gates_width(), H = problem.sizes.hidden, R = problem.recurrent;
  const Numbers of_h = without_padding(problem, reference.recurrent.data(), GH);
  Array<T> recurrent(static_cast<Index>(of_h.size()));
  for (Index i = 0; i < recurrent.size(); ++i) recurrent[i] = static_cast<T>(of_h[i].value);
  const Gradients<T> found = backward(problem, outputs, recurrent, given, 1);
  const std::vector<double> all = reference.gradients(problem, given);
  const auto check_one = [&](const Array<T>& array, const Numbers& numbers, const char* name) {
    if (array.get() == nullptr) return;
    std::vector<double> expected = part_of(all, numbers);
    check_numbers(array, expected, problem.text() + name);
  };
  const auto check_steps = [&](const Array<T>& array, const Numbers& numbers, Index width,
                               const char* name) {
    check_one(array, without_padding(problem, numbers.data(), width), name);
  };
  check_steps(found.d_z, reference.gates_x, GH, "d_z");
  check_steps(found.d_recurrent, reference.recurrent, GH, "d_recurrent");
  check_steps(found.d_seen, reference.seen, H, "d_seen");
  check_steps(found.d_new_h, reference.new_h, R, "d_new_h");
  check_one(found.d_h_0, reference.h_0, "d_h_0");
  check_one(found.d_c_0, reference.c_0, "d_c_0");
  check_one(found.d_reset_h, reference.reset_h, "d_reset_h");
  check_one(found.d_reset_c, reference.reset_c, "d_reset_c");
}

template <typename T>
void check_problem(Sizes sizes, unsigned switches, bool thoroughly) {
  tape.clear();
  const Problem<T> problem(sizes, switches);
  const Reference reference(problem);
  for (const Index save_every : {0, 2, 3})
    if (thoroughly) check_forward(problem, reference, forward(problem, save_every, 1), save_every);
  const Outputs<T> outputs = forward(problem, 1, 1);
  check_forward(problem, reference, outputs, 1);
  check_backward(problem, reference, outputs, Given::all);
  if (!thoroughly) return;
  check_backward(problem, reference, outputs, Given::output);
  check_backward(problem, reference, outputs, Given::last_states);
}

void check_types(Sizes sizes, unsigned switches, bool thoroughly) {
  for (const Guard side : {Guard::end, Guard::begin}) {
    guard = side;
    check_problem<float>(sizes, switches, thoroughly);
    check_problem<double>(sizes, switches, thoroughly);
  }
}

}  // namespace

void test_equations() {
  for (unsigned one = 0; one < switch_count; ++one)
    for (unsigned other = one; other < switch_count; ++other)
      check_types({5, 4, 7}, 1u << one | 1u << other, one == other);
  for (const unsigned switches : kinds) {
    for (const Index hidden : {1, 3, 8, 16, 19, 33, 67}) {
      check_types({3, 2, hidden}, switches, true);
      check_types({2, 7, hidden}, switches, false);
    }
    check_types({1, 1, 130}, switches, false);
    check_types({2, 13, 37}, switches, false);
  }
}

}  // namespace fastlstm::native
