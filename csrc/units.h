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

  const T* at(Index panel) const { return packed + panel * panel_size(depth); }
  void pack(Index panel) const { pack_to(panel, packed + panel * panel_size(depth)); }
  void pack_to(Index panel, T* to) const {
    const Index first = panel * width, left = hidden - first;
    const int units = static_cast<int>(left < width ? left : width);
    for (int gate = 0; gate < G; ++gate)
      pack_vector(Factors<T>{weight + (gate * hidden + first) * depth, 1, depth}, depth, units, G,
                  to + gate * width);
  }
};

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
