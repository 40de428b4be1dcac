#include "tests/support/device_stand_in/device_stand_in.h"

#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/TensorShape.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

namespace switchyard {
namespace {

constexpr c10::DeviceType kStandIn = c10::DeviceType::PrivateUse1;

class Memory : public c10::Allocator {
 public:
  explicit Memory(int index) : device_(device_stand_in(index)) {}
  c10::DataPtr allocate(size_t bytes) override {
    c10::DataPtr memory = c10::GetCPUAllocator()->allocate(bytes);
    memory.unsafe_set_device(device_);
    return memory;
  }
  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }

 private:
  const c10::Device device_;
};
Memory memories[] = {Memory(0), Memory(1), Memory(2), Memory(3)};
REGISTER_ALLOCATOR(kStandIn, &memories[0])

Memory* memory_of(std::optional<at::Device> device) {
  return &memories[device && device->has_index() ? device->index() : 0];
}

thread_local c10::Device current = device_stand_in(0);

struct Guard : c10::impl::NoOpDeviceGuardImpl<kStandIn> {
  c10::DeviceIndex deviceCount() const noexcept override { return std::size(memories); }
  c10::Device getDevice() const override { return current; }
  c10::Device exchangeDevice(c10::Device device) const override { return std::exchange(current, device); }
  void setDevice(c10::Device device) const override { current = device; }
  void uncheckedSetDevice(c10::Device device) const noexcept override { current = device; }
  c10::Stream getStream(c10::Device device) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, device);
  }
  c10::Stream exchangeStream(c10::Stream stream) const noexcept override { return stream; }
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

struct Hooks : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return std::size(memories); }
  c10::DeviceIndex getCurrentDevice() const override { return current.index(); }
};
const bool registered = [] {
  static Hooks hooks;
  at::RegisterPrivateUse1HooksInterface(&hooks);
  c10::register_privateuse1_backend("stand_in");
  return true;
}();

constexpr c10::DispatchKeySet kKeys(c10::DispatchKey::PrivateUse1);

at::Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                 std::optional<at::Device> device, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, memory_of(device), kKeys, c10::dtype_or_default(dtype), format);
}
at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> dtype,
                         std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, memory_of(device), kKeys, c10::dtype_or_default(dtype));
}

at::Tensor of_host(const at::Tensor& tensor) {
  return at::from_blob(tensor.data_ptr(), tensor.sizes(), tensor.strides(), tensor.options().device(at::kCPU));
}
at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool /*non_blocking*/) {
  of_host(to).copy_(of_host(from));
  return to;
}
at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  if (from.sizes() != to.sizes()) {
    to.unsafeGetTensorImpl()->set_storage_keep_dtype(at::empty(from.sizes(), to.options()).storage());
    to.unsafeGetTensorImpl()->set_sizes_contiguous(from.sizes());
  }
  return copy_from(from, to, false);
}

// Single numbers may be the host's, where nothing is written to them.
void refuse_mixed(const c10::OperatorHandle& operation, const torch::jit::Stack& stack) {
  const std::vector<c10::Argument>& arguments = operation.schema().arguments();
  const auto check = [&](const at::Tensor& tensor, bool written = false) {
    TORCH_CHECK(!tensor.defined() || tensor.device().type() == kStandIn || (tensor.dim() == 0 && !written),
                operation.schema().name(), " of tensors of the host and of a device");
  };
  for (size_t i = 0; i < arguments.size(); ++i) {
    const c10::IValue& argument = torch::jit::peek(stack, i, arguments.size());
    const c10::AliasInfo* alias = arguments[i].alias_info();
    if (argument.isTensor()) check(argument.toTensor(), alias != nullptr && alias->isWrite());
    if (argument.isTensorList()) {
      for (const at::Tensor& tensor : argument.toTensorVector()) check(tensor);
    }
    if (argument.isOptionalTensorList()) {
      for (const std::optional<at::Tensor>& tensor : argument.toOptionalTensorVector()) {
        if (tensor) check(*tensor);
      }
    }
  }
}

void on_host(const c10::OperatorHandle& operation, torch::jit::Stack* stack) {
  refuse_mixed(operation, *stack);
  at::native::cpu_fallback(operation, stack);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", empty);
  library.impl("empty_strided", empty_strided);
  library.impl("_copy_from", copy_from);
  library.impl("_copy_from_and_resize", copy_from_and_resize);
  library.impl("as_strided", at::native::as_strided_tensorimpl);
  library.impl("view", at::native::view);
  library.impl("_reshape_alias", at::native::_reshape_alias);
}
TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&on_host>());
}

}  // namespace

c10::Device device_stand_in(int index) {
  return {kStandIn, static_cast<c10::DeviceIndex>(index)};
}

}  // namespace switchyard
