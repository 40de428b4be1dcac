// Writes a checkpoint: every rank one safetensors file of its boxes, all at the same time; rank 0 the manifest, last.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "parallel/checkpoint/manifest.h"
#include "parallel/checkpoint/tensor_part.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

struct WriteOptions {
  int64_t keep = 0;                                 // newest checkpoints that stay; 0: all
  int64_t keep_every = 0;                           // those whose step is a multiple of it stay, too; 0: none
  bool read_back = false;                           // compare what was written with its checksums before it counts
  std::map<std::string, std::string> aliases = {};  // further names of tensors (Manifest::aliases)
};

// Collective over `control`, with equal root (one folder for all ranks), step and options. `parts` are this rank's;
// over all ranks the parts of a tensor are disjoint and cover it, empty ones are ordinary. `run_state` is a JSON
// object, rank 0's counts. Beside the tensors one buffer of kChunkBytes is held, for devices and for reading back. All
// ranks get the same status: kIo where a disk refused or has too little room (it names rank, file and remedy), kUsage
// for a run_state that is no JSON object, kInternal for parts that do not make whole tensors, kCommunication. After an
// error nothing of the new checkpoint remains and the older ones are as they were; old ones are deleted only once the
// new one is in place and has been opened again. An older checkpoint of the same step is replaced. A link `latest` in
// `root` then leads to the new one, for people and scripts: nothing here follows it.
absl::Status write_checkpoint(const std::filesystem::path& root, int64_t step, std::span<const TensorPart> parts,
                              const std::string& run_state, Communicator& control, const WriteOptions& options = {});

// This rank's share of a checkpoint: writes its files into `folder`, none or several, whole and synced, and returns the
// piece of the manifest that describes them. `bytes`: what they will take, about.
struct Contribution {
  std::function<absl::StatusOr<Manifest>(const std::filesystem::path& folder)> write;
  int64_t bytes = 0;
};
// As above, of files that `contribution` writes; their names differ over all ranks.
absl::Status write_checkpoint(const std::filesystem::path& root, int64_t step, const Contribution& contribution,
                              const std::string& run_state, Communicator& control, const WriteOptions& options = {});

// The name of file `index` of `count` of a checkpoint.
std::string box_file_name(int index, int count);

}  // namespace switchyard
