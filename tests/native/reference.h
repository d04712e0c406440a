// The equations of ops/equations.py on numbers of the tape, which knows the gradients.
#pragma once

#include <vector>

#include "problem.h"
#include "tape.h"

namespace fastlstm::native {

using Numbers = std::vector<Number>;

inline Numbers layer_normalized(const Numbers& x, double epsilon) {
  const double share = 1.0 / static_cast<double>(x.size());
  Number mean = 0, variance = 0;
  for (const Number& one : x) mean = multiply_add(share, one, mean);
  Numbers result;
  for (const Number& one : x) result.push_back(one - mean);
  for (const Number& one : result) variance = multiply_add(share, one * one, variance);
  const Number inverse_deviation = inverse_square_root(variance + epsilon);
  for (Number& one : result) one = one * inverse_deviation;
  return result;
}

// Everything is laid out as the engine's arrays are; zero past a row's end.
struct Reference {
  Numbers gates_x, h_0, c_0, reset_h, reset_c;  // leaves
  Numbers output, h_n, c_n, gates, cells;
  Numbers recurrent;     // (T, B, GH): R h
  Numbers seen;          // (T, B, H): c' as the output sees it
  Numbers new_h;         // (T, B, R): h' before zoneout
  Numbers cells_before;  // (T, B, H): what a step finds, before its reset

  template <typename T>
  explicit Reference(const Problem<T>& problem);

  // The gradients with respect to all numbers.
  template <typename T>
  std::vector<double> gradients(const Problem<T>& problem, Given given) const;
};

inline std::vector<double> values_of(const Numbers& numbers) {
  std::vector<double> values;
  for (const Number& one : numbers) values.push_back(one.value);
  return values;
}

// Those of `numbers` out of all gradients; zero for a constant.
inline std::vector<double> part_of(const std::vector<double>& gradients, const Numbers& numbers) {
  std::vector<double> part;
  for (const Number& one : numbers)
    part.push_back(one.operation < 0 ? 0 : gradients[static_cast<std::size_t>(one.operation)]);
  return part;
}

}  // namespace fastlstm::native
