// Distributes work over XLA's threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>

#include "xla/ffi/api/ffi.h"

namespace kdmri {

// Calls work(0) .. work(count - 1), each once, on this thread and on idle threads of
// the pool; returns when all have returned. It never waits for a thread that has not
// begun, so any number of calls may run at once.
template <class Work>
void Share(xla::ffi::ThreadPool pool, int count, const Work& work) {
  struct State {
    std::atomic<int> next{0};
    int done = 0;
    std::mutex mutex;
    std::condition_variable all_done;
  };
  const auto state = std::make_shared<State>();
  // A thread that begins when all numbers are taken must not touch `work`.
  const auto take = [state, count, &work]() noexcept {
    int done = 0;
    for (int k; (k = state->next.fetch_add(1)) < count; ++done) work(k);
    if (done == 0) return;
    const std::lock_guard lock(state->mutex);
    if ((state->done += done) == count) state->all_done.notify_all();
  };
  const int helpers = std::min<int>(pool.num_threads(), count) - 1;
  for (int k = 0; k < helpers; ++k) pool.Schedule([take] { take(); });
  take();
  std::unique_lock lock(state->mutex);
  state->all_done.wait(lock, [&] { return state->done == count; });
}

}  // namespace kdmri
