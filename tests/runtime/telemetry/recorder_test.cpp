#include "runtime/telemetry/recorder.h"

#include <thread>

#include <gtest/gtest.h>

namespace switchyard {
namespace {

TEST(Recorder, ScalarsFoldAndAreTakenOnce) {
  Recorder recorder;
  for (const double value : {3.0, -1.0, 2.0}) {
    recorder.scalar("last", value);
    recorder.scalar("sum", value, Fold::kSum);
    recorder.scalar("max", value, Fold::kMax);
  }
  const std::map<std::string, double> expected = {{"last", 2.0}, {"max", 3.0}, {"sum", 4.0}};
  EXPECT_EQ(recorder.take_scalars(), expected);
  EXPECT_TRUE(recorder.take_scalars().empty());
}

TEST(Recorder, SpansAreOffUntilAskedFor) {
  Recorder recorder;
  recorder.add({"ignored", "compute", 1, 2});
  EXPECT_TRUE(recorder.take_spans().empty());

  recorder.record_spans(true);
  const int64_t before_ns = Recorder::now();
  recorder.add({"inner", "communication", before_ns, Recorder::now(), 8});
  recorder.add({"outer", "compute", before_ns, Recorder::now()});
  const std::vector<Span> spans = recorder.take_spans();
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_EQ(spans[0].name, "inner");
  EXPECT_EQ(spans[0].lane, "communication");
  EXPECT_EQ(spans[0].bytes, 8);
  EXPECT_EQ(spans[1].name, "outer");
  EXPECT_LE(spans[1].begin_ns, spans[0].begin_ns);
  EXPECT_LE(spans[0].begin_ns, spans[0].end_ns);
  EXPECT_LE(spans[0].end_ns, spans[1].end_ns);
  EXPECT_TRUE(recorder.take_spans().empty());
}

TEST(Recorder, ThreadsRecordSideBySide) {
  constexpr int kThreads = 4, kEach = 1000;
  Recorder recorder;
  recorder.record_spans(true);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&recorder] {
      for (int i = 0; i < kEach; ++i) {
        recorder.scalar("count", 1, Fold::kSum);
        recorder.add({"work", "compute", i, i + 1});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(recorder.take_scalars().at("count"), kThreads * kEach);
  EXPECT_EQ(recorder.take_spans().size(), static_cast<size_t>(kThreads * kEach));
}

}  // namespace
}  // namespace switchyard
