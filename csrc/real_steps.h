// The real steps of a ragged batch, on the way back through time.
//
// What the backward pass writes has a row for each of the N real steps of all rows together, in the
// order of time and, at each time step, in the order of the batch: padding takes neither memory nor
// part in the sums that are made of it. Without lengths N is T·B.
#pragma once

#include "calls.h"
#include "share.h"

namespace fastlstm {
namespace FASTLSTM_TARGET {

// One row of the batch at one time step: where it is in (T, B), and where in (N).
struct Here {
  Index t, row, at, place;
};

// Those of some rows that a time step is real for: neighbours in (N).
template <typename S>
class LiveRows {
 public:
  LiveRows(const Layer<S>& layer, Range rows, Index* memory)
      : layer_(layer),
        rows_(rows),
        live_(memory),
        border_(layer.reverse ? 0 : layer.real_steps()) {}

  // Called for each time step, from the last one that the forward pass ran to its first.
  void go_back_to(Index t) {
    t_ = t;
    count_ = 0;
    Index before = 0, after = 0;
    for (Index row = 0; row < layer_.rows; ++row) {
      if (!layer_.alive(t, row)) continue;
      if (row < rows_.first) {
        ++before;
      } else if (row >= rows_.last) {
        ++after;
      } else {
        live_[count_++] = row;
      }
    }
    const Index all = before + count_ + after;
    if (!layer_.reverse) border_ -= all;
    first_ = border_ + before;
    if (layer_.reverse) border_ += all;
  }

  Index count() const { return count_; }
  Index place(Index i) const { return first_ + i; }
  Here operator[](Index i) const { return {t_, live_[i], t_ * layer_.rows + live_[i], place(i)}; }

 private:
  const Layer<S>& layer_;
  const Range rows_;
  Index* const live_;
  Index border_;  // in (N): between the time steps that were visited and the others
  Index t_ = 0, count_ = 0, first_ = 0;
};

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
