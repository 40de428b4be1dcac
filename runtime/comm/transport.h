// Messages between the ranks of a group: the one thing that host backends differ in. Every collective is built on it
// once (collectives.h), so results are the same bits over all of them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

namespace switchyard {

// Bytes to or from `peer` (never the own rank). Zero bytes is a message too. Sends only read `data`.
struct Message {
  int peer;
  void* data;
  int64_t bytes;
};

// Sends and receives that are in flight together. Used by one thread at a time. Their buffers must outlive it or, where
// it was given up unfinished, the transport.
class Exchange {
 public:
  virtual ~Exchange() = default;
  // True once all messages have arrived and all sends may be overwritten. An error where a message was longer or
  // shorter than expected, or the wire failed. Does not block.
  virtual absl::StatusOr<bool> test() = 0;
  // Peers from which something is still expected, and peers that have not taken everything; ascending.
  virtual std::vector<int> silent_senders() const = 0;
  virtual std::vector<int> silent_receivers() const = 0;
};

// Where the ranks of a group run, by group rank.
struct Residence {
  std::vector<int> nodes;          // index of the host; equal for ranks that share memory
  std::vector<std::string> hosts;  // for messages
};

// kInTurn: messages to another host arrive in the order in which they were started, whatever follows them; one that
// its rank does not expect yet takes memory there. kWhole: it waits at its sender, and may end with the next.
enum class Promptness { kWhole, kInTurn };

// Tags are below kTagLimit; a message meets the receive of the same (sender, tag) and among those the oldest.
inline constexpr uint32_t kTagLimit = 1u << 31;

class Transport {
 public:
  virtual ~Transport() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual const Residence& residence() const = 0;

  // Starts the messages; any thread. Both sides of a message are of one promptness.
  virtual std::unique_ptr<Exchange> start(std::span<const Message> sends, std::span<const Message> receives,
                                          uint32_t tag, Promptness promptness) = 0;
  // Collective over all ranks. `members`: the ranks of this group that form the new one, in its order, this rank among
  // them; every rank of it passes the same `color`.
  virtual absl::StatusOr<std::shared_ptr<Transport>> split(int color, std::span<const int> members) = 0;
};

}  // namespace switchyard
