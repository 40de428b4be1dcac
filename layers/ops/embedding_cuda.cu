#include "layers/ops/embedding_cuda.h"
#include "runtime/device/kernel.cuh"

namespace switchyard {
namespace {

constexpr int kThreads = 128;

__global__ void forward(int64_t rows, int64_t row_bytes, int64_t vocab_begin, int64_t vocab, const int64_t* tokens,
                        const char* weight, char* out) {
  for (int64_t t = blockIdx.x; t < rows; t += gridDim.x) {
    const int64_t local = tokens[t] - vocab_begin;
    const bool here = local >= 0 && local < vocab;
    // Values have an even number of bytes.
    const auto* from = reinterpret_cast<const short*>(weight + local * row_bytes);
    auto* to = reinterpret_cast<short*>(out + t * row_bytes);
    for (int64_t i = threadIdx.x; i < row_bytes / 2; i += blockDim.x) to[i] = here ? from[i] : short{0};
  }
}

// The block of a token's first place adds up all its places.
template <typename T>
__global__ void backward(int64_t rows, int64_t width, int64_t vocab_begin, int64_t vocab, const int64_t* sorted,
                         const int64_t* order, const T* g, Compute<T>* dweight) {
  for (int64_t first = blockIdx.x; first < rows; first += gridDim.x) {
    const int64_t token = sorted[first], local = token - vocab_begin;
    if (local < 0 || local >= vocab || (first > 0 && sorted[first - 1] == token)) continue;
    for (int64_t d = threadIdx.x; d < width; d += blockDim.x) {
      Compute<T> sum = dweight[local * width + d];
      for (int64_t place = first; place < rows && sorted[place] == token; ++place) {
        sum += load(g + order[place] * width + d);
      }
      dweight[local * width + d] = sum;
    }
  }
}

}  // namespace

void embedding_forward_cuda(int64_t rows, int64_t row_bytes, int64_t vocab_begin, int64_t vocab, const int64_t* tokens,
                            const void* weight, void* out, CudaStream stream) {
  if (rows == 0) return;
  forward<<<blocks_for(rows, 1), kThreads, 0, stream_of(stream)>>>(
      rows, row_bytes, vocab_begin, vocab, tokens, static_cast<const char*>(weight), static_cast<char*>(out));
  check_launch("embedding");
}

void embedding_backward_cuda(Element element, int64_t rows, int64_t width, int64_t vocab_begin, int64_t vocab,
                             const int64_t* sorted, const int64_t* order, const void* g, void* dweight,
                             CudaStream stream) {
  if (rows == 0) return;
  with_element(element, [&](auto value) {
    using T = decltype(value);
    backward<T><<<blocks_for(rows, 1), kThreads, 0, stream_of(stream)>>>(
        rows, width, vocab_begin, vocab, sorted, order, static_cast<const T*>(g), static_cast<Compute<T>*>(dweight));
  });
  check_launch("embedding_backward");
}

}  // namespace switchyard
