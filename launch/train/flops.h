// Model FLOPs of a decoder, for the console's MFU (model FLOPs utilisation; Chowdhery et al., PaLM, appendix B): the
// multiplications that the model needs, not those that recomputation adds.
#pragma once

#include <cstdint>

#include <c10/core/TensorOptions.h>

#include "layers/models/decoder/config.h"

namespace switchyard {

// Forward and backward of one token in sequences of `sequence` tokens: 6 per weight that the token meets, and causal
// attention over the half of the sequence that it sees on average.
double flops_per_token(const DecoderConfig& config, int64_t vocabulary, int64_t sequence);

// What one rank's matrix products of this dtype, on this device, reach in `seconds` of trying, FLOP/s; local.
double measure_peak(const at::TensorOptions& options, double seconds);

}  // namespace switchyard
