// The engine's own workers, which serve where PyTorch's OpenMP is not loaded, as here.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "problem.h"
#include "threads.h"

#if defined(__SANITIZE_THREAD__)
// Without the first, the sanitizer ends a forked child that starts threads.
extern "C" __attribute__((visibility("default"))) const char* __tsan_default_options() {
  return "die_after_fork=0:halt_on_error=1";
}
#endif

namespace fastlstm::native {
namespace {

// What each member leaves for the others to read after they met. Plain numbers on purpose: only
// the barrier orders the accesses, and a sanitizer sees when it does not.
struct Meeting {
  std::vector<int> left, runs;
  int team = 0;

  explicit Meeting(int threads)
      : left(static_cast<std::size_t>(threads)), runs(static_cast<std::size_t>(threads)) {}

  void attend(const Member& member, int rounds) {
    if (member.index == 0) team = member.count;
    ++runs[static_cast<std::size_t>(member.index)];
    for (int round = 1; round <= rounds; ++round) {
      left[static_cast<std::size_t>(member.index)] = round;
      member.wait();
      for (int other = 0; other < member.count; ++other)
        check(left[static_cast<std::size_t>(other)] == round, "a member did not wait");
      member.wait();
    }
  }
};

// Returns how many members there were.
int meet(int threads, int rounds) {
  Meeting meeting(threads);
  run_in_team(threads, [&](const Member& member) { meeting.attend(member, rounds); });
  for (int index = 0; index < threads; ++index)
    check(meeting.runs[static_cast<std::size_t>(index)] == (index < meeting.team ? 1 : 0),
          "a member did not run once");
  return meeting.team;
}

void check_team(int threads, int rounds) {
  const int team = meet(threads, rounds);
  check(team == threads, "a team of " + std::to_string(threads) + " had " + std::to_string(team));
}

int cores() { return static_cast<int>(std::thread::hardware_concurrency()); }

void check_that_teams_grow_and_shrink() {
  for (int threads = 1; threads <= cores() + 5; ++threads) check_team(threads, 5);
  for (int threads = cores() + 5; threads >= 1; --threads) check_team(threads, 5);
  for (const int threads : {2, 7, 1, 3, 2, 5, 2}) check_team(threads, 20);
}

void check_many_short_calls() {
  for (int call = 0; call < 1000; ++call) check_team(call % 7 == 0 ? 3 : 2, call % 3);
}

// Long enough that the workers stopped looking out for work and sleep.
void check_that_sleepers_wake() {
  for (int call = 0; call < 10; ++call) {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    check_team(2 + call % 3, 2);
  }
}

template <typename T>
struct Expected {
  Problem<T> problem;
  Outputs<T> outputs;
  Gradients<T> gradients;

  Expected(Sizes sizes, unsigned switches)
      : problem(sizes, switches),
        outputs(forward(problem, 1, 1)),
        gradients(backward(problem, outputs, {}, Given::all, 1)) {}

  void check_with(int threads) const {
    const std::string text = problem.text() + "several at once, ";
    const Outputs<T> found = forward(problem, 1, threads);
    check_same_bits(found.output.get(), outputs.output.get(), outputs.output.bytes(), text);
    const Gradients<T> back = backward(problem, outputs, {}, Given::all, threads);
    check_same_bits(back.d_z.get(), gradients.d_z.get(), gradients.d_z.bytes(), text + "d_z");
  }
};

// Whoever finds the workers serving another thread's call works alone.
void check_several_threads_at_once() {
  const Expected<float> narrow({12, 3, 150}, 0);
  const Expected<double> ragged({12, 5, 120}, lengths | reset | reset_state);
  const Expected<float> wide({12, 40, 50}, projection | lengths);
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&, caller] {
      for (int call = 0; call < 5; ++call) {
        if (caller == 0) narrow.check_with(2 + call % 2);
        if (caller == 1) ragged.check_with(3);
        if (caller == 2) wide.check_with(2);
        for (int short_call = 0; short_call < 20; ++short_call) meet(1 + (caller + call) % 4, 3);
      }
    });
  for (std::thread& caller : callers) caller.join();
}

// A forked child has none of the workers, and must not wait for them.
void check_after_fork() {
  const Expected<float> expected({12, 3, 150}, 0);
  expected.check_with(3);
  const int before = failure_count();
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);  // one that waits for them fails
    check_team(3, 5);
    expected.check_with(3);
    _exit(failure_count() == before ? 0 : 1);
  }
  int status = -1;
  check(child > 0 && waitpid(child, &status, 0) == child && status == 0, "the forked child failed");
  check_team(3, 5);
  expected.check_with(3);
}

}  // namespace

void test_own_pool() {
  check_that_teams_grow_and_shrink();
  check_many_short_calls();
  check_that_sleepers_wake();
  check_several_threads_at_once();
  check_after_fork();
}

}  // namespace fastlstm::native
