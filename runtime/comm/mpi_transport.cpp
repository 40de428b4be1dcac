#include "runtime/comm/mpi_transport.h"

#include <algorithm>
#include <map>

#include <absl/strings/str_cat.h>
#include <mpi.h>

#include "runtime/base/status.h"

namespace switchyard {
namespace {

// A message goes in parts of so many bytes. The last is shorter, or empty, so that messages of different lengths never
// match part by part. MPI counts are ints.
constexpr int64_t kPartBytes = int64_t{1} << 30;
// In turn and to other hosts: what Open MPI sends by TCP without asking first. For longer ones it waits for an answer
// that stands in line behind the data on its way back, and tells their end behind the data of the next: of messages
// that follow each other the first would arrive with the last.
constexpr int64_t kPromptPartBytes = 60 << 10;

absl::Status mpi_error(const char* call, int code) {
  return error(ErrorCategory::kCommunication, absl::StrCat(call, ": ", mpi_error_text(code)));
}

#define SY_RETURN_IF_MPI_ERROR(call) \
  if (const int sy_code = call; sy_code != MPI_SUCCESS) return mpi_error(#call, sy_code)

class MpiExchange : public Exchange {
 public:
  // part_bytes(peer): of messages to and from it.
  template <typename PartBytes>
  MpiExchange(MPI_Comm comm, std::span<const Message> sends, std::span<const Message> receives, int tag,
              const PartBytes& part_bytes) {
    for (const Message& message : receives) {
      add(message, true, part_bytes(message.peer), [&](char* data, int bytes, MPI_Request* request) {
        return MPI_Irecv(data, bytes, MPI_BYTE, message.peer, tag, comm, request);
      });
    }
    for (const Message& message : sends) {
      add(message, false, part_bytes(message.peer), [&](char* data, int bytes, MPI_Request* request) {
        return MPI_Isend(data, bytes, MPI_BYTE, message.peer, tag, comm, request);
      });
    }
    remaining_ = requests_.size();
    indices_.resize(remaining_);
    statuses_.resize(remaining_);
  }

  absl::StatusOr<bool> test() override {
    if (!failure_.ok()) return failure_;
    if (remaining_ == 0) return true;
    int count = 0;
    const int code =
        MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &count, indices_.data(), statuses_.data());
    if (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS) return failure_ = mpi_error("MPI_Testsome", code);
    for (int i = 0; i < count; ++i) {
      // Errors are only in the statuses where the call says so.
      absl::Status status = check(parts_[indices_[i]], statuses_[i], code == MPI_ERR_IN_STATUS);
      if (!status.ok()) return failure_ = std::move(status);
    }
    remaining_ -= static_cast<size_t>(std::max(count, 0));
    return remaining_ == 0;
  }

  std::vector<int> silent_senders() const override { return pending(true); }
  std::vector<int> silent_receivers() const override { return pending(false); }

 private:
  struct Part {
    int peer;
    int bytes;
    int64_t total;  // bytes of the whole message
    bool receive;
  };

  template <typename Start>
  void add(const Message& message, bool receive, int64_t part_bytes, Start start) {
    int64_t offset = 0, bytes = part_bytes;
    while (bytes == part_bytes && failure_.ok()) {
      bytes = std::min(part_bytes, message.bytes - offset);
      parts_.push_back({message.peer, static_cast<int>(bytes), message.bytes, receive});
      requests_.push_back(MPI_REQUEST_NULL);
      const int code = start(static_cast<char*>(message.data) + offset, static_cast<int>(bytes), &requests_.back());
      if (code != MPI_SUCCESS) failure_ = mpi_error(receive ? "MPI_Irecv" : "MPI_Isend", code);
      offset += bytes;
    }
  }

  static absl::Status check(const Part& part, MPI_Status& status, bool has_error) {
    if (has_error && status.MPI_ERROR != MPI_SUCCESS && status.MPI_ERROR != MPI_ERR_PENDING) {
      int error_class = MPI_SUCCESS;
      MPI_Error_class(status.MPI_ERROR, &error_class);
      if (error_class == MPI_ERR_TRUNCATE) {
        return error(ErrorCategory::kCommunication,
                     absl::StrCat("expected ", part.total, " bytes from rank ", part.peer, ", which sent more"));
      }
      return mpi_error(part.receive ? "receiving" : "sending", status.MPI_ERROR);
    }
    int bytes = part.bytes;
    if (part.receive) MPI_Get_count(&status, MPI_BYTE, &bytes);
    if (bytes == part.bytes) return absl::OkStatus();
    return error(ErrorCategory::kCommunication,
                 absl::StrCat("expected ", part.total, " bytes from rank ", part.peer, ", which sent fewer"));
  }

  std::vector<int> pending(bool receives) const {
    std::vector<int> peers;
    for (size_t i = 0; i < parts_.size(); ++i) {
      if (parts_[i].receive == receives && requests_[i] != MPI_REQUEST_NULL) peers.push_back(parts_[i].peer);
    }
    std::sort(peers.begin(), peers.end());
    peers.erase(std::unique(peers.begin(), peers.end()), peers.end());
    return peers;
  }

  std::vector<Part> parts_;
  std::vector<MPI_Request> requests_;  // null: through
  size_t remaining_ = 0;
  absl::Status failure_;
  std::vector<int> indices_;
  std::vector<MPI_Status> statuses_;
};

class MpiTransport : public Transport {
 public:
  // Owns `comm`.
  MpiTransport(MPI_Comm comm, Residence residence) : comm_(comm), residence_(std::move(residence)) {
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }
  ~MpiTransport() override {
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (!finalized) MPI_Comm_free(&comm_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  const Residence& residence() const override { return residence_; }

  std::unique_ptr<Exchange> start(std::span<const Message> sends, std::span<const Message> receives, uint32_t tag,
                                  Promptness promptness) override {
    const auto part_bytes = [&](int peer) {
      const bool remote = residence_.nodes[peer] != residence_.nodes[rank_];
      return remote && promptness == Promptness::kInTurn ? kPromptPartBytes : kPartBytes;
    };
    return std::make_unique<MpiExchange>(comm_, sends, receives, static_cast<int>(tag), part_bytes);
  }

  absl::StatusOr<std::shared_ptr<Transport>> split(int color, std::span<const int> members) override {
    Residence part;
    for (const int member : members) {
      part.nodes.push_back(residence_.nodes[member]);
      part.hosts.push_back(residence_.hosts[member]);
    }
    const int place = static_cast<int>(std::find(members.begin(), members.end(), rank_) - members.begin());
    MPI_Comm comm = MPI_COMM_NULL;
    SY_RETURN_IF_MPI_ERROR(MPI_Comm_split(comm_, color, place, &comm));
    return std::make_shared<MpiTransport>(comm, std::move(part));
  }

 private:
  MPI_Comm comm_;
  const Residence residence_;
  int rank_ = 0;
  int size_ = 0;
};

// Hosts are numbered in the order of their lowest ranks.
absl::StatusOr<Residence> find_residence(MPI_Comm comm) {
  int rank = 0, size = 0;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);

  MPI_Comm node = MPI_COMM_NULL;
  SY_RETURN_IF_MPI_ERROR(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node));
  int leader = rank;
  SY_RETURN_IF_MPI_ERROR(MPI_Bcast(&leader, 1, MPI_INT, 0, node));
  MPI_Comm_free(&node);
  std::vector<int> leaders(size);
  SY_RETURN_IF_MPI_ERROR(MPI_Allgather(&leader, 1, MPI_INT, leaders.data(), 1, MPI_INT, comm));

  std::vector<char> name(MPI_MAX_PROCESSOR_NAME, '\0'), names(static_cast<size_t>(size) * MPI_MAX_PROCESSOR_NAME);
  int length = 0;
  SY_RETURN_IF_MPI_ERROR(MPI_Get_processor_name(name.data(), &length));
  SY_RETURN_IF_MPI_ERROR(MPI_Allgather(name.data(), MPI_MAX_PROCESSOR_NAME, MPI_CHAR, names.data(),
                                       MPI_MAX_PROCESSOR_NAME, MPI_CHAR, comm));

  Residence residence;
  std::map<int, int> number_of;
  for (int i = 0; i < size; ++i) {
    residence.nodes.push_back(number_of.try_emplace(leaders[i], static_cast<int>(number_of.size())).first->second);
    residence.hosts.emplace_back(&names[static_cast<size_t>(i) * MPI_MAX_PROCESSOR_NAME]);
  }
  return residence;
}

}  // namespace

absl::StatusOr<std::shared_ptr<Transport>> make_mpi_world_transport() {
  int* tag_limit = nullptr;
  int known = 0;
  SY_RETURN_IF_MPI_ERROR(MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &tag_limit, &known));
  if (!known || static_cast<int64_t>(*tag_limit) < int64_t{kTagLimit} - 1) {
    return error(ErrorCategory::kUnavailable,
                 absl::StrCat("this MPI has tags up to ", known ? *tag_limit : 0, " only; ", kTagLimit - 1, " needed"));
  }
  MPI_Comm comm = MPI_COMM_NULL;
  SY_RETURN_IF_MPI_ERROR(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
  SY_ASSIGN_OR_RETURN(Residence residence, find_residence(comm));
  return std::make_shared<MpiTransport>(comm, std::move(residence));
}

std::string mpi_error_text(int code) {
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  return text;
}

}  // namespace switchyard
