#include "threads.h"

#include <condition_variable>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <dlfcn.h>
#include <link.h>
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace fastlstm {
namespace {

void pause() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Some tens of microseconds: longer than two members of a team are apart when each has a core,
// shorter than anybody notices when they have not.
constexpr int spins = 2000;

template <typename Condition>
bool spin_until(Condition condition) {
  for (int i = 0; i < spins; ++i) {
    if (condition()) return true;
    pause();
  }
  return false;
}

class Pool {
 public:
  void run(int threads, void (*work)(void*, const Member&), void* context) {
    std::unique_lock<std::mutex> use(in_use_, std::try_to_lock);
    int team = 1;
    if (use.owns_lock()) team = start_workers(threads - 1) + 1;
    if (team == 1) {
      work(context, Member{0, 1, nullptr});
      return;
    }
    barrier_.reset(team);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      work_ = work;
      context_ = context;
      team_ = team;
      running_.store(team - 1, std::memory_order_relaxed);
      call_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    work(context, Member{0, team, &barrier_});
    while (!spin_until([&] { return running_.load(std::memory_order_acquire) == 0; }))
      std::this_thread::yield();
  }

 private:
  // Returns how many of the wanted workers there are.
  int start_workers(int wanted) {
    while (static_cast<int>(workers_.size()) < wanted) {
      try {
        const int index = static_cast<int>(workers_.size()) + 1;
        const unsigned seen = call_.load(std::memory_order_relaxed);
        workers_.emplace_back([this, index, seen] { serve(index, seen); });
      } catch (const std::system_error&) {
        return static_cast<int>(workers_.size());
      }
    }
    return wanted;
  }

  void serve(int index, unsigned seen) {
    for (;;) {
      const auto called = [&] { return call_.load(std::memory_order_acquire) != seen; };
      if (!spin_until(called)) {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, called);
      }
      // Those that are not in the team may look after the next call has begun: hence the lock.
      void (*work)(void*, const Member&);
      void* context;
      int team;
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        seen = call_.load(std::memory_order_relaxed);
        work = work_;
        context = context_;
        team = team_;
      }
      if (index >= team) continue;
      work(context, Member{index, team, &barrier_});
      running_.fetch_sub(1, std::memory_order_release);
    }
  }

  std::mutex in_use_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<unsigned> call_{0};
  std::atomic<int> running_{0};
  void (*work_)(void*, const Member&) = nullptr;
  void* context_ = nullptr;
  int team_ = 0;
  Barrier barrier_;
  std::vector<std::thread> workers_;
};

// A process that runs PyTorch has workers already: those of the OpenMP library that PyTorch loaded,
// which spin for milliseconds after each of its operations. A second team would have to share the
// cores with them, so the first one is asked, through the entry point that compiled code calls.
struct OpenMp {
  void (*parallel)(void (*)(void*), void*, unsigned threads, unsigned flags) = nullptr;
  int (*thread_number)() = nullptr;
  int (*thread_count)() = nullptr;

  bool is_there() const { return parallel && thread_number && thread_count; }
};

#if defined(__linux__)
OpenMp find_openmp() {
  std::string path;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* found) {
        const std::string name = info->dlpi_name;
        const bool is_openmp =
            name.find("/libgomp") != std::string::npos || name.find("/libomp") != std::string::npos;
        if (is_openmp && name.find("/torch") != std::string::npos)
          *static_cast<std::string*>(found) = name;
        return 0;
      },
      &path);
  OpenMp openmp;
  void* const library = path.empty() ? nullptr : dlopen(path.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) return openmp;
  openmp.parallel = reinterpret_cast<decltype(openmp.parallel)>(dlsym(library, "GOMP_parallel"));
  openmp.thread_number =
      reinterpret_cast<decltype(openmp.thread_number)>(dlsym(library, "omp_get_thread_num"));
  openmp.thread_count =
      reinterpret_cast<decltype(openmp.thread_count)>(dlsym(library, "omp_get_num_threads"));
  return openmp;
}
#else
OpenMp find_openmp() { return {}; }
#endif

std::atomic<bool> is_forked_child{false};

const OpenMp& openmp() {
  static const OpenMp found = find_openmp();
  return found;
}

struct OpenMpCall {
  void (*work)(void*, const Member&);
  void* context;
  Barrier barrier;
  std::atomic<bool> is_ready{false};
};

void run_with_openmp(int threads, void (*work)(void*, const Member&), void* context) {
  OpenMpCall call{work, context, {}, {}};
  openmp().parallel(
      [](void* data) {
        auto& call = *static_cast<OpenMpCall*>(data);
        const Member member{openmp().thread_number(), openmp().thread_count(), &call.barrier};
        // Only now is it known how many there are.
        if (member.index == 0) {
          call.barrier.reset(member.count);
          call.is_ready.store(true, std::memory_order_release);
        }
        while (!spin_until([&] { return call.is_ready.load(std::memory_order_acquire); }))
          std::this_thread::yield();
        call.work(call.context, member);
      },
      &call, static_cast<unsigned>(threads), 0);
}

// Never destroyed: a worker may outlive the last static object. A forked child has none of its
// parent's workers, and locks that nobody will open; it starts a pool of its own.
std::atomic<Pool*> current_pool{nullptr};

Pool& pool() {
  Pool* existing = current_pool.load(std::memory_order_acquire);
  if (existing != nullptr) return *existing;
  auto* fresh = new Pool;
  if (current_pool.compare_exchange_strong(existing, fresh)) return *fresh;
  delete fresh;
  return *existing;
}

#if defined(__unix__) || defined(__APPLE__)
[[maybe_unused]] const int fork_handler = pthread_atfork(nullptr, nullptr, [] {
  current_pool.store(nullptr);
  is_forked_child.store(true);
});
#endif

}  // namespace

void Barrier::reset(int members) {
  members_ = members;
  missing_.store(members, std::memory_order_relaxed);
}

void Barrier::wait() {
  const unsigned round = round_.load(std::memory_order_relaxed);
  if (missing_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    missing_.store(members_, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
    return;
  }
  const auto passed = [&] { return round_.load(std::memory_order_acquire) != round; };
  while (!spin_until(passed)) std::this_thread::yield();
}

void run_in_team(int threads, void (*work)(void*, const Member&), void* context) {
  // OpenMP's workers do not survive a fork, and nobody tells it so.
  if (threads > 1 && openmp().is_there() && !is_forked_child)
    return run_with_openmp(threads, work, context);
  if (threads > 1) return pool().run(threads, work, context);
  work(context, Member{0, 1, nullptr});
}

}  // namespace fastlstm
