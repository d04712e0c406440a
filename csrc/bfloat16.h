// The 16-bit float with float32's range: its upper half.
#pragma once

#include <cstdint>
#include <type_traits>

namespace fastlstm {

struct bfloat16 {
  std::uint16_t bits;
};

// What numbers that are stored as S are calculated with.
template <typename S>
using Sum = std::conditional_t<std::is_same_v<S, bfloat16>, float, S>;

}  // namespace fastlstm
