// Numbers of each type from and to double.
#pragma once

#include <cstdint>
#include <cstring>

#include "bfloat16.h"

namespace fastlstm::native {

template <typename T>
T nearest(double value) {
  return static_cast<T>(value);
}

template <>
inline bfloat16 nearest(double value) {
  const auto narrow = static_cast<float>(value);
  std::uint32_t bits;
  std::memcpy(&bits, &narrow, sizeof bits);
  bits += 0x7fff + (bits >> 16 & 1);  // to the nearest, and of two to the even one
  return {static_cast<std::uint16_t>(bits >> 16)};
}

template <typename T>
double value_of(T number) {
  return number;
}

template <>
inline double value_of(bfloat16 number) {
  const std::uint32_t bits = static_cast<std::uint32_t>(number.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace fastlstm::native
