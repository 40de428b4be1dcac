#include "tests/support/ranks.h"

#include <mutex>
#include <thread>
#include <vector>

#include <ATen/Parallel.h>
#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>

#include "runtime/base/status.h"

namespace switchyard {
namespace {

// What ended the ranks that did not come to the end of their body, in the order in which they fell.
class Casualties {
 public:
  explicit Casualties(Loopback& loopback) : loopback_(loopback) {}

  // Only the first is the test's failure: the others fall because communication was ended for them.
  void add(int rank, const std::string& what) {
    const std::lock_guard lock(mutex_);
    if (first_) ADD_FAILURE() << "rank " << rank << ": " << what;
    first_ = false;
    loopback_.abort(error(ErrorCategory::kCommunication, absl::StrCat("rank ", rank, " of the test has failed")));
  }

 private:
  Loopback& loopback_;
  std::mutex mutex_;
  bool first_ = true;
};

}  // namespace

void run_ranks(int ranks, const std::function<void(Communicator& world)>& body, const LoopbackOptions& options) {
  Loopback loopback(ranks, options);
  Casualties casualties(loopback);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      at::set_num_threads(1);
      try {
        body(loopback.rank(rank));
        if (testing::Test::HasFatalFailure()) casualties.add(rank, "a fatal failure ended the body");
      } catch (const std::exception& e) {
        casualties.add(rank, e.what());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace switchyard
