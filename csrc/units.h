// Weights packed by units: the gates of one vector of units stand side by side, so that one tile of
// products holds all that its cells need.
#pragma once

#include "panel.h"
#include "share.h"

namespace fastlstm {
namespace FASTLSTM_TARGET {

template <typename T>
inline Index unit_panel_count(Index hidden) {
  return divide_up(hidden, Vec<T>::width);
}

// The weights (GH, depth) of one kind of input of all gates.
template <typename T, int G>
struct UnitPanels {
  static constexpr int width = Vec<T>::width;

  const T* weight;
  Index hidden, depth;
  T* packed;

  static Index elements(Index hidden, Index depth) {
    return unit_panel_count<T>(hidden) * panel_size(depth);
  }
  static Index panel_size(Index depth) { return G * width * depth; }

  void pack(Index panel) const { pack_part(panel, 0, depth, packed + panel * panel_size(depth)); }

  // The factors [first_k, first_k + count) of a panel.
  void pack_part(Index panel, Index first_k, Index count, T* to) const {
    const Index first = panel * width, left = hidden - first;
    const int units = static_cast<int>(left < width ? left : width);
    for (int gate = 0; gate < G; ++gate)
      pack_vector(Factors<T>{weight + (gate * hidden + first) * depth + first_k, 1, depth}, count,
                  units, G, to + gate * width);
  }

  // sums += rows · panel, where the panel is packed.
  void multiply_packed(Index panel, int rows, const T* const* from, Vec<T>* sums) const {
    multiply<T, G>(rows, from, packed + panel * panel_size(depth), depth, sums);
  }

  // The same where it is not: a part at a time, which is still in the level-1 cache when it is
  // multiplied by.
  void multiply_unpacked(Index panel, int rows, const T* const* from, Vec<T>* sums) const {
    constexpr Index part = 128 / sizeof(T);
    T packed_part[part * G * width];
    const T* at[tile_rows];
    for (Index k = 0; k < depth; k += part) {
      const Index count = depth - k < part ? depth - k : part;
      for (int row = 0; row < rows; ++row) at[row] = from[row] + k;
      pack_part(panel, k, count, packed_part);
      multiply<T, G>(rows, at, packed_part, count, sums);
    }
  }
};

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
