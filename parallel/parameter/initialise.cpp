#include "parallel/parameter/initialise.h"

#include <algorithm>
#include <array>

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include "runtime/base/check.h"
#include "runtime/numerics/precision.h"
#include "runtime/numerics/random.h"

namespace switchyard {
namespace {

constexpr int64_t kGrain = 16 * 1024;
constexpr int64_t kBuffer = 4 << 20;  // elements

// The box as runs of `length` consecutive global elements.
struct Runs {
  const Box& box;
  std::vector<int64_t> stride;  // of the logical tensor
  int64_t length = 1;
  size_t outer = 0;  // dimensions before `outer` count the runs, the others are one run

  Runs(const std::vector<int64_t>& shape, const Box& of) : box(of), stride(shape.size()), outer(shape.size()) {
    int64_t product = 1;
    for (size_t d = shape.size(); d-- > 0;) {
      stride[d] = product;
      product *= shape[d];
    }
    while (outer > 0) {
      --outer;
      length *= box.extent[outer];
      if (box.extent[outer] != shape[outer]) break;
    }
  }

  int64_t global_begin(int64_t run) const {
    int64_t index = 0;
    for (size_t d = box.extent.size(); d-- > 0;) {
      int64_t position = box.offset[d];
      if (d < outer) {
        position += run % box.extent[d];
        run /= box.extent[d];
      }
      index += position * stride[d];
    }
    return index;
  }
};

template <typename T>
void fill_normal(const CounterRandom& random, const Runs& runs, double scale, T* out, int64_t begin, int64_t end) {
  std::array<double, 1024> draws;
  while (begin < end) {
    const int64_t run = begin / runs.length, within = begin % runs.length;
    const int64_t count = std::min({end - begin, runs.length - within, static_cast<int64_t>(draws.size())});
    random.normals(runs.global_begin(run) + within, {draws.data(), static_cast<size_t>(count)});
    for (int64_t i = 0; i < count; ++i) out[begin + i] = static_cast<T>(draws[i] * scale);
    begin += count;
  }
}

// Through a buffer of some rows in fp32.
void initialise_rounded(const Slice& slice, uint64_t seed, const at::Tensor& value) {
  const Box& box = slice.spec.box;
  if (box.empty()) return;
  const int64_t rows = box.extent.empty() ? 1 : box.extent.front();
  const int64_t step = std::clamp<int64_t>(kBuffer * rows / box.numel(), 1, rows);
  const at::Tensor value_2d = value.view({rows, -1});
  for (int64_t row = 0; row < rows; row += step) {
    Box part = box;
    if (!box.extent.empty()) {
      part.offset.front() += row;
      part.extent.front() = std::min(step, rows - row);
    }
    const at::Tensor exact = at::empty(part.extent, value.options().dtype(at::kFloat));
    initialise(slice, part, seed, exact);
    at::Tensor target = value_2d.narrow(0, row, std::min(step, rows - row));
    target.copy_(exact.view(target.sizes()));
  }
}

}  // namespace

void initialise(const Slice& slice, const Box& box, uint64_t seed, at::Tensor out) {
  const ShardSpec& spec = slice.spec;
  SY_CHECK_EQ(box.extent.size(), spec.shape.size());
  SY_CHECK_EQ(out.numel(), box.numel());
  SY_CHECK(out.is_contiguous());
  SY_CHECK(intersect(box, Box::whole(spec.shape)) == box);
  if (slice.initialisation != Initialisation::kNormal) {
    out.fill_(slice.initialisation == Initialisation::kOnes ? 1.0 : 0.0);
    return;
  }
  if (box.empty()) return;
  if (!out.is_cpu()) {
    // Drawn on the host: a device's logarithms and cosines have other bits.
    const at::Tensor on_host = at::empty(out.sizes(), out.options().device(at::kCPU));
    initialise(slice, box, seed, on_host);
    out.copy_(on_host);
    return;
  }
  const CounterRandom random(seed, hash_name(spec.name));
  const Runs runs(spec.shape, box);
  AT_DISPATCH_FLOATING_TYPES(out.scalar_type(), "initialise", [&] {
    scalar_t* data = out.mutable_data_ptr<scalar_t>();
    at::parallel_for(0, out.numel(), kGrain,
                     [&](int64_t begin, int64_t end) { fill_normal(random, runs, slice.scale, data, begin, end); });
  });
}

void initialise_values(const ParameterList& parameters, uint64_t seed) {
  for (const Parameter* parameter : parameters) {
    for (const Slice& slice : parameter->slices()) {
      const at::Tensor value = parameter->value_of(slice);
      if (accumulate_dtype(value.scalar_type()) == value.scalar_type()) {
        initialise(slice, slice.spec.box, seed, value);
      } else {
        initialise_rounded(slice, seed, value);
      }
    }
  }
}

}  // namespace switchyard
