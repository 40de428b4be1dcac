#include <cstdio>

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "runtime/comm/mpi.h"
#include "tests/support/mpi_world.h"

namespace switchyard {
namespace {

MpiSession* the_session = nullptr;

// Rank 0 prints as usual; the others only what failed. Where one has failed the others would wait for it.
class RankListener : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed() || mpi_world().rank() == 0) return;
    std::fprintf(stderr, "rank %d: %s:%d: %s\n", mpi_world().rank(),
                 result.file_name() == nullptr ? "?" : result.file_name(), result.line_number(), result.message());
  }
  void OnTestEnd(const testing::TestInfo& test) override {
    if (test.result()->Passed() || test.result()->Skipped()) return;
    std::fprintf(stderr, "rank %d: %s.%s failed\n", mpi_world().rank(), test.test_suite_name(), test.name());
    std::fflush(nullptr);
    the_session->abort(1);
  }
};

int run(int argc, char** argv) {
  auto session = MpiSession::start(&argc, &argv, {.timeout = absl::Minutes(2)});
  if (!session.ok()) {
    std::fprintf(stderr, "%s\n", std::string(session.status().message()).c_str());
    return 1;
  }
  the_session = session->get();
  at::set_num_threads(1);
  testing::InitGoogleTest(&argc, argv);
  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  if (mpi_world().rank() != 0) delete listeners.Release(listeners.default_result_printer());
  listeners.Append(new RankListener);
  return RUN_ALL_TESTS();
}

}  // namespace

Communicator& mpi_world() {
  return the_session->world();
}

}  // namespace switchyard

int main(int argc, char** argv) {
  return switchyard::run(argc, argv);
}
