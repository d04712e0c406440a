// The threads that work on a call, PyTorch's own where it has some and else persistent workers of
// ours, and the barrier at which those of one team meet.
#pragma once

#include <atomic>

namespace fastlstm {

// Where the members of a team wait for each other: a short spin, since they work in step, and then
// yielding, since the core of the one that is missing may be needed by the one that waits.
class Barrier {
 public:
  void reset(int members);
  void wait();

 private:
  std::atomic<int> missing_{0};
  std::atomic<unsigned> round_{0};
  int members_ = 1;
};

// One of the threads that work on a call.
struct Member {
  int index;
  int count;
  Barrier* barrier;

  void wait() const {
    if (count > 1) barrier->wait();
  }
};

// Runs `work(context, member)` once on each thread of a team of up to `threads`, this one included,
// and returns when all are done. If the workers are serving another thread's call, or cannot be
// started, the team is this thread alone.
void run_in_team(int threads, void (*work)(void* context, const Member& member), void* context);

template <typename Work>
void run_in_team(int threads, const Work& work) {
  run_in_team(
      threads,
      [](void* context, const Member& member) { (*static_cast<const Work*>(context))(member); },
      const_cast<Work*>(&work));
}

}  // namespace fastlstm
