// Numbers that know how they came about, so that the gradient of a loss with respect to every one
// of them can be read off: reverse-mode differentiation over a list of operations.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

namespace fastlstm::native {

class Tape {
 public:
  // An operation of up to two operands (negative: a constant) and its partial derivatives.
  struct Operation {
    int first, second;
    double d_first, d_second;
  };

  int add(const Operation& operation) {
    operations_.push_back(operation);
    return static_cast<int>(operations_.size()) - 1;
  }
  void clear() { operations_.clear(); }

  // `gradients` has those of the loss with respect to what it was made from, as `seed` put them
  // there, and then all others.
  std::vector<double> no_gradients() const { return std::vector<double>(operations_.size()); }
  void run_back(std::vector<double>& gradients) const {
    for (std::size_t i = operations_.size(); i-- > 0;) {
      const Operation& one = operations_[i];
      if (one.first >= 0)
        gradients[static_cast<std::size_t>(one.first)] += gradients[i] * one.d_first;
      if (one.second >= 0)
        gradients[static_cast<std::size_t>(one.second)] += gradients[i] * one.d_second;
    }
  }

 private:
  std::vector<Operation> operations_;
};

inline Tape tape;

struct Number {
  double value = 0;
  int operation = -1;

  Number() = default;
  Number(double constant) : value(constant) {}
  Number(double result, Number a, double d_a, Number b = 0, double d_b = 0)
      : value(result), operation(tape.add({a.operation, b.operation, d_a, d_b})) {}

  // A number that gradients are asked for.
  static Number leaf(double value) { return Number(value, 0, 0); }
};

inline Number operator+(Number a, Number b) { return {a.value + b.value, a, 1, b, 1}; }
inline Number operator-(Number a, Number b) { return {a.value - b.value, a, 1, b, -1}; }
inline Number operator*(Number a, Number b) { return {a.value * b.value, a, b.value, b, a.value}; }
inline Number multiply_add(double a, Number b, Number c) {
  return {a * b.value + c.value, b, a, c, 1};
}
inline Number inverse_square_root(Number a) {
  const double result = 1 / std::sqrt(a.value);
  return {result, a, -0.5 * result / a.value};
}
inline Number sigmoid(Number a) {
  const double result = 1 / (1 + std::exp(-a.value));
  return {result, a, result * (1 - result)};
}
inline Number tanh(Number a) {
  const double result = std::tanh(a.value);
  return {result, a, 1 - result * result};
}
inline Number clip(Number a, double limit) {
  if (std::fabs(a.value) <= limit) return a;
  return std::copysign(limit, a.value);
}

}  // namespace fastlstm::native
