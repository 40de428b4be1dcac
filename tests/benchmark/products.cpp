// Our matrix products, attention and expert block beside the same in plain ATen: benchmark_products [THREADS]. Runs are
// interleaved and medians shown, because machines are noisy; compare within one table only.
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <absl/strings/str_format.h>

#include "layers/attention/causal_attention.h"
#include "layers/moe/experts.h"
#include "layers/ops/activation.h"
#include "layers/ops/matmul.h"
#include "parallel/topology/mesh.h"
#include "runtime/base/status.h"
#include "runtime/comm/loopback.h"
#include "tests/benchmark/timing.h"

namespace switchyard {
namespace {

constexpr int kRepeats = 15;

// `work`: what one run does, in 1e9 of `unit`.
void compare(const std::string& what, double work, const char* unit, const std::function<void()>& ours,
             const std::function<void()>& aten) {
  ours();
  aten();
  std::vector<double> our_times, aten_times;
  for (int i = 0; i < kRepeats; ++i) {
    our_times.push_back(milliseconds(ours));
    aten_times.push_back(milliseconds(aten));
  }
  const double a = median(our_times), b = median(aten_times);
  std::fputs(absl::StrFormat("%-44s %9.3f ms %5.0f %s   ATen %9.3f ms %5.0f %s   %5.2f×\n", what, a, work * 1e3 / a,
                             unit, b, work * 1e3 / b, unit, b / a)
                 .c_str(),
             stdout);
}

const char* name_of(at::ScalarType dtype) {
  return dtype == at::kBFloat16 ? "bf16" : "fp32";
}

// The three products of a layer [rows,in] → [rows,out]: output, input gradient, weight gradient added in fp32.
void compare_layer(at::ScalarType dtype, int64_t rows, int64_t in, int64_t out) {
  const at::Tensor x = at::randn({rows, in}).to(dtype), w = at::randn({out, in}).to(dtype);
  at::Tensor y = at::randn({rows, out}).to(dtype), dx = at::empty_like(x), dw = at::zeros({out, in});
  at::Tensor dw_low = at::empty({out, in}, dtype);
  const double work = 2e-9 * static_cast<double>(rows * in * out);
  const auto label = [&](const char* part) {
    return absl::StrFormat("%s %d×%d→%d %s", name_of(dtype), rows, in, out, part);
  };
  compare(
      label("output"), work, "GFLOP/s", [&] { matmul(y, x, w, {.transpose_b = true}); },
      [&] { at::mm_out(y, x, w.t()); });
  compare(
      label("input gradient"), work, "GFLOP/s", [&] { matmul(dx, y, w); }, [&] { at::mm_out(dx, y, w); });
  compare(
      label("weight gradient"), work, "GFLOP/s", [&] { matmul(dw, y, x, {.transpose_a = true, .accumulate = true}); },
      [&] {
        at::mm_out(dw_low, y.t(), x);
        dw.add_(dw_low);
      });
}

// A step of the whole block, row counts changing from call to call as they do in training.
void compare_block(const Mesh& mesh, at::ScalarType dtype, int64_t width, int64_t expert_width, int64_t experts,
                   int64_t rows) {
  Experts block("moe", width, expert_width, Activation::kSwiglu, Placement::contiguous(experts, 1),
                {.mesh = mesh, .dtype = dtype, .init_scale = 0.02, .residual_init_scale = 0.02});
  attach_plain_gradients(block.parameters());
  // A leaf per expert: the gradient of a slice of a stack would cost ATen a stack each.
  std::vector<at::Tensor> ups, downs;
  for (int64_t e = 0; e < experts; ++e) {
    ups.push_back((at::randn({2 * expert_width, width}) * 0.02).to(dtype).requires_grad_(true));
    downs.push_back((at::randn({width, expert_width}) * 0.02).to(dtype).requires_grad_(true));
  }
  for (Parameter* parameter : block.parameters()) {
    const at::NoGradGuard no_grad;
    parameter->value().normal_(0, 0.02);
  }
  const at::Tensor x = at::randn({experts * rows, width}).to(dtype).requires_grad_(true), g = at::randn_like(x);
  int64_t step = 0;
  const auto counts = [&] {
    std::vector<int64_t> result(experts, rows);
    ++step;
    for (int64_t e = 0; e + 1 < experts; e += 2) {
      const int64_t shift = (step * 37 + e * 11) % (rows / 4);
      result[e] += shift;
      result[e + 1] -= shift;
    }
    return result;
  };
  const auto aten = [&] {
    std::vector<at::Tensor> outputs;
    int64_t first = 0, e = 0;
    for (const int64_t count : counts()) {
      const at::Tensor h = at::mm(x.narrow(0, first, count), ups[e].t());
      const at::Tensor a = at::silu(h.narrow(1, 0, expert_width)) * h.narrow(1, expert_width, expert_width);
      outputs.push_back(at::mm(a, downs[e].t()));
      first += count;
      ++e;
    }
    at::cat(outputs).backward(g);
  };
  const double work = 6e-9 * static_cast<double>(experts * rows * width * expert_width * 3);
  compare(
      absl::StrFormat("%s %d experts × %d rows, D %d, F %d, step", name_of(dtype), experts, rows, width, expert_width),
      work, "GFLOP/s", [&] { block.forward(x, counts()).backward(g); }, aten);
}

void compare_activation(at::ScalarType dtype, int64_t rows, int64_t width) {
  const at::Tensor h = at::randn({rows, 2 * width}).to(dtype);
  const at::Tensor out = at::empty({rows, width}, dtype);
  const double bytes = 1e-9 * static_cast<double>(3 * rows * width * out.element_size());
  compare(
      absl::StrFormat("%s SwiGLU %d×%d", name_of(dtype), rows, width), bytes, "GB/s",
      [&] { activation_forward(Activation::kSwiglu, h, out); },
      [&] { const at::Tensor y = at::silu(h.narrow(1, 0, width)) * h.narrow(1, width, width); });
}

// `pieces` of `length` tokens each, forward and backward, beside ATen's fused attention of the same heads.
void compare_attention(at::ScalarType dtype, int64_t pieces, int64_t length, HeadCounts heads) {
  const int64_t tokens = pieces * length;
  const at::Tensor qkv = at::randn({tokens, heads.columns()}).to(dtype).requires_grad_(true);
  const at::Tensor g = at::randn({tokens, heads.query * heads.width}).to(dtype);
  std::vector<int64_t> starts;
  for (int64_t i = 0; i <= pieces; ++i) starts.push_back(i * length);
  std::vector<at::Tensor> parts;
  for (int i = 0; i < 3; ++i) {
    parts.push_back(at::randn({pieces, heads.query, length, heads.width}).to(dtype).requires_grad_(true));
  }
  const at::Tensor g_parts = at::randn_like(parts[0]);
  const double work = 1e-9 * static_cast<double>(pieces * heads.query * length * length * heads.width);
  const auto label = [&](const char* what) {
    return absl::StrFormat("%s attention %d×%d, %d heads of %d, %s", name_of(dtype), pieces, length, heads.query,
                           heads.width, what);
  };
  const auto ours = [&] { return causal_attention(qkv, starts, heads); };
  const auto atens = [&] { return at::scaled_dot_product_attention(parts[0], parts[1], parts[2], {}, 0, true); };
  const at::NoGradGuard no_grad;
  compare(label("forward"), 2 * work, "GFLOP/s", ours, atens);
  const at::AutoGradMode with_grad(true);
  compare(
      label("step"), 7 * work, "GFLOP/s", [&] { ours().backward(g); }, [&] { atens().backward(g_parts); });
}

void run() {
  Loopback loopback(1);
  const auto mesh = value_or_throw(Mesh::create(loopback.rank(0), MeshShape{}));
  for (const at::ScalarType dtype : {at::kBFloat16, at::kFloat}) {
    compare_layer(dtype, 2048, 512, 2048);
    compare_layer(dtype, 1024, 512, 256);
    compare_layer(dtype, 2048, 2048, 512);
    compare_layer(dtype, 512, 512, 1024);
    compare_layer(dtype, 512, 512, 512);
    compare_layer(dtype, 2048, 512, 8192);
    compare_activation(dtype, 512, 512);
    compare_attention(dtype, 4, 512, {.query = 8, .key_value = 8, .width = 64});
    compare_block(*mesh, dtype, 512, 512, 8, 1024);
    compare_block(*mesh, dtype, 512, 256, 32, 256);
  }
}

}  // namespace
}  // namespace switchyard

int main(int argc, char** argv) {
  at::set_num_threads(argc > 1 ? std::atoi(argv[1]) : 1);
  switchyard::run();
}
