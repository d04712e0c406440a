// Weights packed by units: the gates of one vector of units stand side by side, so that one tile of
// products holds all that its cells need.
#pragma once

#include "panel.h"
#include "share.h"

namespace fastlstm {
namespace FASTLSTM_TARGET {

template <typename S>
inline Index unit_panel_count(Index hidden) {
  return divide_up(hidden, lanes_of<S>);
}

// The weights (GH, depth) of one kind of input of all gates.
template <typename S, int G>
struct UnitPanels {
  static constexpr Index width = lanes_of<S>;
  using T = Sum<S>;

  const S* weight;
  Index hidden, depth;
  S* packed;

  void pack(Index panel) const { pack_part(panel, 0, depth, at(panel)); }

  // A packed panel, to be multiplied by.
  Term<S> term(Index panel) const { return {{}, at(panel), depth}; }

  // sums += rows · panel, where the panel is not packed: a part at a time, which is still in the
  // level-1 cache when it is multiplied by.
  void multiply_unpacked(Index panel, int rows, const Rows<S>& from, Vec<T>* sums) const {
    constexpr Index part = 128 / sizeof(S);
    alignas(64) S packed_part[part * G * width];
    for (Index k = 0; k < depth; k += part) {
      Term<S> term{from, packed_part, depth - k < part ? depth - k : part};
      for (int row = 0; row < rows; ++row) term.rows.from[row] += k;
      pack_part(panel, k, term.depth, packed_part);
      multiply<S, G>(rows, &term, 1, sums);
    }
  }

 private:
  S* at(Index panel) const { return packed + panel * G * width * padded_depth<S>(depth); }

  // The factors [first_k, first_k + count) of a panel.
  void pack_part(Index panel, Index first_k, Index count, S* to) const {
    const Index first = panel * width, left = hidden - first;
    const int units = static_cast<int>(left < width ? left : width);
    for (int gate = 0; gate < G; ++gate)
      pack_vector(Factors<S>{weight + (gate * hidden + first) * depth + first_k, 1, depth}, count,
                  units, G, to + gate * width * group_of<S>);
  }
};

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
