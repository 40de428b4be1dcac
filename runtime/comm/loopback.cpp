#include "runtime/comm/loopback.h"

#include <atomic>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>

#include <absl/strings/str_cat.h>

#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/comm/progress.h"

namespace switchyard {
namespace {

enum class Delivery { kPending, kDone, kMismatch };

// One side of a message; shared by the exchange that waits for it and the mailbox where the other side finds it.
struct Ticket {
  Message message;
  std::atomic<Delivery> delivery = Delivery::kPending;
  int64_t other_bytes = 0;  // of the other side; valid once delivered
};
using Tickets = std::vector<std::shared_ptr<Ticket>>;

// Straight from the sender's buffer to the receiver's, by whoever came second.
void deliver(Ticket& sent, Ticket& expected) {
  const bool match = sent.message.bytes == expected.message.bytes;
  if (match && sent.message.bytes > 0) {
    std::memcpy(expected.message.data, sent.message.data, static_cast<size_t>(sent.message.bytes));
  }
  const Delivery delivery = match ? Delivery::kDone : Delivery::kMismatch;
  for (const auto& [side, other] : {std::pair{&sent, &expected}, std::pair{&expected, &sent}}) {
    side->other_bytes = other->message.bytes;
    side->delivery.store(delivery, std::memory_order_release);
  }
}

// What has been sent to a rank and not yet been asked for, and the reverse. Only one of the two is ever filled for an
// (other rank, tag).
class Mailbox {
 public:
  void put_sent(int from, uint32_t tag, std::shared_ptr<Ticket> ticket) { meet({from, tag}, std::move(ticket), true); }
  void put_expected(int from, uint32_t tag, std::shared_ptr<Ticket> ticket) {
    meet({from, tag}, std::move(ticket), false);
  }

 private:
  using Key = std::pair<int, uint32_t>;
  struct Waiting {
    bool sent;
    std::deque<std::shared_ptr<Ticket>> tickets;
  };

  void meet(Key key, std::shared_ptr<Ticket> ticket, bool sent) {
    std::shared_ptr<Ticket> other;
    {
      const std::lock_guard lock(mutex_);
      const auto found = waiting_.try_emplace(key, Waiting{sent, {}}).first;
      Waiting& waiting = found->second;
      if (waiting.sent == sent) {
        waiting.tickets.push_back(std::move(ticket));
        return;
      }
      other = std::move(waiting.tickets.front());
      waiting.tickets.pop_front();
      if (waiting.tickets.empty()) waiting_.erase(found);
    }
    sent ? deliver(*ticket, *other) : deliver(*other, *ticket);
  }

  std::mutex mutex_;
  std::map<Key, Waiting> waiting_;
};

// What the ranks of a group share.
struct Group {
  explicit Group(Residence where) : residence(std::move(where)), mailboxes(residence.nodes.size()) {}

  // The new group of the `index`-th split for `color`: made by the first of its ranks, forgotten with the last.
  std::shared_ptr<Group> subgroup(uint64_t index, int color, std::span<const int> members) {
    const std::lock_guard lock(mutex);
    auto& [group, taken] = subgroups[{index, color}];
    if (!group) {
      Residence part;
      for (const int member : members) {
        part.nodes.push_back(residence.nodes[member]);
        part.hosts.push_back(residence.hosts[member]);
      }
      group = std::make_shared<Group>(std::move(part));
    }
    const std::shared_ptr<Group> result = group;
    if (++taken == members.size()) subgroups.erase({index, color});
    return result;
  }

  const Residence residence;
  std::vector<Mailbox> mailboxes;  // by receiver
  std::mutex mutex;
  std::map<std::pair<uint64_t, int>, std::pair<std::shared_ptr<Group>, size_t>> subgroups;
};

class LoopbackExchange : public Exchange {
 public:
  LoopbackExchange(Tickets sends, Tickets receives) : sends_(std::move(sends)), receives_(std::move(receives)) {}

  absl::StatusOr<bool> test() override {
    bool complete = true;
    for (const auto& ticket : receives_) {
      const Delivery delivery = ticket->delivery.load(std::memory_order_acquire);
      if (delivery == Delivery::kMismatch) {
        return error(ErrorCategory::kCommunication,
                     absl::StrCat("expected ", ticket->message.bytes, " bytes from rank ", ticket->message.peer,
                                  ", which sent ", ticket->other_bytes));
      }
      complete &= delivery == Delivery::kDone;
    }
    for (const auto& ticket : sends_) {
      complete &= ticket->delivery.load(std::memory_order_acquire) != Delivery::kPending;
    }
    return complete;
  }
  std::vector<int> silent_senders() const override { return pending(receives_); }
  std::vector<int> silent_receivers() const override { return pending(sends_); }

 private:
  static std::vector<int> pending(const Tickets& tickets) {
    std::vector<int> peers;
    for (const auto& ticket : tickets) {
      if (ticket->delivery.load(std::memory_order_acquire) == Delivery::kPending) peers.push_back(ticket->message.peer);
    }
    std::sort(peers.begin(), peers.end());
    return peers;
  }

  const Tickets sends_;
  const Tickets receives_;
};

class LoopbackTransport : public Transport {
 public:
  LoopbackTransport(std::shared_ptr<Group> group, int rank) : group_(std::move(group)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(group_->mailboxes.size()); }
  const Residence& residence() const override { return group_->residence; }

  std::unique_ptr<Exchange> start(std::span<const Message> sends, std::span<const Message> receives, uint32_t tag,
                                  Promptness /*promptness*/) override {
    Tickets expected, sent;
    for (const Message& message : receives) {
      expected.push_back(std::make_shared<Ticket>(message));
      group_->mailboxes[rank_].put_expected(message.peer, tag, expected.back());
    }
    for (const Message& message : sends) {
      sent.push_back(std::make_shared<Ticket>(message));
      group_->mailboxes[message.peer].put_sent(rank_, tag, sent.back());
    }
    return std::make_unique<LoopbackExchange>(std::move(sent), std::move(expected));
  }

  absl::StatusOr<std::shared_ptr<Transport>> split(int color, std::span<const int> members) override {
    const auto place = std::find(members.begin(), members.end(), rank_);
    return std::make_shared<LoopbackTransport>(group_->subgroup(splits_++, color, members),
                                               static_cast<int>(place - members.begin()));
  }

 private:
  const std::shared_ptr<Group> group_;
  const int rank_;
  uint64_t splits_ = 0;
};

}  // namespace

Loopback::Loopback(int ranks, const LoopbackOptions& options) : progress_(std::make_shared<Progress>()) {
  SY_CHECK_GE(ranks, 1);
  Residence residence{options.nodes, {}};
  if (residence.nodes.empty()) residence.nodes.assign(ranks, 0);
  SY_CHECK_EQ(static_cast<int>(residence.nodes.size()), ranks);
  for (const int node : residence.nodes) residence.hosts.push_back(absl::StrCat("loopback", node));
  const auto group = std::make_shared<Group>(std::move(residence));
  for (int rank = 0; rank < ranks; ++rank) {
    ranks_.push_back(std::make_unique<HostCommunicator>(std::make_shared<LoopbackTransport>(group, rank), "world",
                                                        options.timeout, progress_));
  }
}

void Loopback::abort(const absl::Status& reason) {
  progress_->abort(reason);
}

}  // namespace switchyard
