#include "tests/support/golden.h"

#include <ATen/ATen.h>

#include "runtime/base/status.h"
#include "runtime/storage/safetensors.h"
#include "runtime/storage/scalar_type.h"

namespace switchyard {

std::map<std::string, at::Tensor> read_golden(const std::string& file) {
  const SafetensorsReader reader = value_or_throw(SafetensorsReader::open(std::string(SWITCHYARD_GOLDEN "/") + file));
  std::map<std::string, at::Tensor> tensors;
  for (const StoredEntry& entry : reader.entries()) {
    at::Tensor tensor = at::empty(entry.shape, scalar_type(entry.dtype));
    throw_if_error(reader.read(entry, tensor.mutable_data_ptr()));
    tensors[entry.name] = tensor;
  }
  return tensors;
}

}  // namespace switchyard
