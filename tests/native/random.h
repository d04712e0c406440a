// Numbers that depend on nothing but where they stand: a row has the same ones in every batch.
#pragma once

#include <cstdint>

namespace fastlstm::native {

// Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators".
inline std::uint64_t mixed(std::uint64_t z) {
  z += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// In [-1, 1), for the number at `first, second, third` of the array `which`.
inline double number_at(std::uint64_t which, std::uint64_t first, std::uint64_t second = 0,
                        std::uint64_t third = 0) {
  const std::uint64_t bits = mixed(mixed(mixed(mixed(which) + first) + second) + third);
  return static_cast<double>(bits >> 11) * 0x1p-52 - 1.0;
}

inline bool chance_at(double rate, std::uint64_t which, std::uint64_t first,
                      std::uint64_t second = 0, std::uint64_t third = 0) {
  return number_at(which, first, second, third) < 2 * rate - 1;
}

}  // namespace fastlstm::native
