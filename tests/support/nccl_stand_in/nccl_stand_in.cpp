#include "tests/support/nccl_stand_in/nccl_stand_in.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "tests/support/nccl_stand_in/host_queue.h"

namespace {

// One lock and one bell for everything: tests are small.
std::mutex mutex;
std::condition_variable bell;

struct Message {
  const void* data;
  size_t bytes;
  bool taken = false;
};

// What the ranks of a communicator share.
struct Shared {
  int ranks = 0, joined = 0;
  std::map<std::pair<int, int>, std::deque<std::shared_ptr<Message>>> in_flight;  // by (from, to)
  struct Asked {
    int rank, color, key;
    ncclComm_t part;
  };
  std::map<int, std::vector<Asked>> splits;  // by the number of the split
};

std::map<std::string, std::shared_ptr<Shared>> worlds;
ncclResult_t unique_id_result = ncclSuccess;

}  // namespace

struct ncclComm {
  std::shared_ptr<Shared> shared;  // null: a split that not all ranks have asked for
  int rank = 0;
  int splits = 0;
  bool gone = false;
  ncclResult_t error = ncclSuccess;
  const ncclComm* waits_for = nullptr;  // a part that this one is splitting off

  bool complete() const { return shared && shared->joined == shared->ranks; }
};

namespace {

// A communicator outlives the tasks that use it: it is given up, not freed, when NCCL would free it.
std::vector<std::unique_ptr<ncclComm>> all;

ncclComm* make() {
  all.push_back(std::make_unique<ncclComm>());
  return all.back().get();
}

struct Part {
  bool send;
  void* data;
  size_t bytes;
  int peer;
  ncclComm_t comm;
};

struct Pending {
  std::vector<Part> parts;
  switchyard::HostQueue* queue = nullptr;
};
thread_local Pending pending;
thread_local std::vector<switchyard::nccl_stand_in::Group> ended;

// On the queue's thread: until all parts are through, or the communicator is gone.
void carry_out(const std::vector<Part>& parts) {
  std::unique_lock lock(mutex);
  std::vector<std::shared_ptr<Message>> sent;
  const auto over = [](const Part& part) { return part.comm->gone || part.comm->error != ncclSuccess; };
  for (const Part& part : parts) {
    if (!part.send || over(part)) continue;
    sent.push_back(std::make_shared<Message>(Message{part.data, part.bytes}));
    part.comm->shared->in_flight[{part.comm->rank, part.peer}].push_back(sent.back());
  }
  bell.notify_all();
  for (const Part& part : parts) {
    if (part.send) continue;
    auto& queue = part.comm->shared->in_flight[{part.peer, part.comm->rank}];
    bell.wait(lock, [&] { return over(part) || !queue.empty(); });
    if (over(part)) continue;
    const std::shared_ptr<Message> message = queue.front();
    queue.pop_front();
    // NCCL itself does not notice.
    if (message->bytes != part.bytes) part.comm->error = ncclInvalidUsage;
    if (message->bytes == part.bytes) std::memcpy(part.data, message->data, part.bytes);
    message->taken = true;
    bell.notify_all();
  }
  const auto all_taken = [&] {
    return std::all_of(sent.begin(), sent.end(), [](const auto& message) { return message->taken; });
  };
  bell.wait(lock, [&] { return all_taken() || over(parts.front()); });
  // Nobody may read what this rank is about to free.
  for (const Part& part : parts) {
    if (!part.send) continue;
    auto& queue = part.comm->shared->in_flight[{part.comm->rank, part.peer}];
    std::erase_if(queue, [&](const auto& m) { return std::find(sent.begin(), sent.end(), m) != sent.end(); });
  }
}

// When the last rank has asked: the parts, by color, in the order of their keys.
void finish_split(Shared& parent, int number) {
  std::vector<Shared::Asked>& asked = parent.splits[number];
  if (static_cast<int>(asked.size()) < parent.ranks) return;
  std::sort(asked.begin(), asked.end(), [](const auto& a, const auto& b) {
    return std::tuple(a.color, a.key, a.rank) < std::tuple(b.color, b.key, b.rank);
  });
  std::map<int, std::shared_ptr<Shared>> parts;
  for (const Shared::Asked& one : asked) {
    std::shared_ptr<Shared>& part = parts[one.color];
    if (!part) part = std::make_shared<Shared>();
    one.part->rank = part->ranks++;
    ++part->joined;
    one.part->shared = part;
  }
}

}  // namespace

namespace switchyard::nccl_stand_in {

std::vector<Group> take_groups() {
  return std::exchange(ended, {});
}

void set_unique_id_result(ncclResult_t code) {
  const std::lock_guard lock(mutex);
  unique_id_result = code;
}

}  // namespace switchyard::nccl_stand_in

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  const std::lock_guard lock(mutex);
  static int drawn = 0;
  std::memset(id->internal, 0, sizeof id->internal);
  std::snprintf(id->internal, sizeof id->internal, "stand-in %d", drawn++);
  return unique_id_result;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config) {
  const std::lock_guard lock(mutex);
  if (config->blocking) return ncclInvalidArgument;
  std::shared_ptr<Shared>& world = worlds[std::string(id.internal)];
  if (!world) world = std::make_shared<Shared>();
  world->ranks = ranks;
  ++world->joined;
  *comm = make();
  (*comm)->shared = world;
  (*comm)->rank = rank;
  return ncclInProgress;
}

ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t* part, ncclConfig_t*) {
  const std::lock_guard lock(mutex);
  *part = make();
  comm->waits_for = *part;
  const int number = comm->splits++;
  comm->shared->splits[number].push_back({comm->rank, color, key, *part});
  finish_split(*comm->shared, number);
  return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state) {
  const std::lock_guard lock(mutex);
  if (comm->gone) return ncclInvalidArgument;
  const bool ready = comm->complete() && (comm->waits_for == nullptr || comm->waits_for->shared);
  *state = comm->error != ncclSuccess ? comm->error : ready ? ncclSuccess : ncclInProgress;
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t) {
  return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  return ncclCommAbort(comm);
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  const std::lock_guard lock(mutex);
  comm->gone = true;
  bell.notify_all();
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  pending = {};
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  switchyard::nccl_stand_in::Group group;
  for (const Part& part : pending.parts) (part.send ? group.sends : group.receives).emplace_back(part.peer, part.bytes);
  ended.push_back(std::move(group));
  if (!pending.parts.empty()) pending.queue->push([parts = pending.parts] { carry_out(parts); });
  pending = {};
  return ncclSuccess;
}

ncclResult_t ncclSend(const void* data, size_t count, ncclDataType_t, int peer, ncclComm_t comm, cudaStream_t stream) {
  pending.queue = reinterpret_cast<switchyard::HostQueue*>(stream);
  pending.parts.push_back({true, const_cast<void*>(data), count, peer, comm});
  return ncclSuccess;
}

ncclResult_t ncclRecv(void* data, size_t count, ncclDataType_t, int peer, ncclComm_t comm, cudaStream_t stream) {
  pending.queue = reinterpret_cast<switchyard::HostQueue*>(stream);
  pending.parts.push_back({false, data, count, peer, comm});
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t code) {
  return code == ncclInvalidUsage ? "invalid usage" : code == ncclSystemError ? "unhandled system error" : "an error";
}

const char* ncclGetLastError(ncclComm_t) {
  return "";
}
