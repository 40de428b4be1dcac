// Writes a checkpoint: every rank one safetensors file of its boxes, all at the same time; rank 0 the manifest, last.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include <absl/status/status.h>

#include "parallel/checkpoint/tensor_part.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

struct WriteOptions {
  int64_t keep = 0;  // newest checkpoints that stay; 0: all
};

// Collective over `control`, with equal root (one folder for all ranks), step and options. `parts` are this rank's;
// over all ranks the parts of a tensor are disjoint and cover it, empty ones are ordinary. `run_state` is a JSON
// object, rank 0's counts. Beside the tensors one buffer of kChunkBytes is held, for devices only. All ranks get the
// same status: kIo where a disk refused (it names rank, file and remedy), kUsage for a run_state that is no JSON
// object, kInternal for parts that do not make whole tensors, kCommunication. After an error nothing of the new
// checkpoint remains and the older ones are as they were; old ones are deleted only once the new one is in place. An
// older checkpoint of the same step is replaced.
absl::Status write_checkpoint(const std::filesystem::path& root, int64_t step, std::span<const TensorPart> parts,
                              const std::string& run_state, Communicator& control, const WriteOptions& options = {});

}  // namespace switchyard
