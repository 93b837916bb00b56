// The plain types that kernels, runtime and bindings share. No standard headers with inline code: kernels include this.
#pragma once
#include <stdint.h>

namespace chainrule {

using i32 = int32_t;
using i64 = int64_t;
using u32 = uint32_t;
using u64 = uint64_t;

#define CHAINRULE_INLINE inline __attribute__((always_inline))
// One function for all files that use it: GCC would make copies of its own for a caller's constants, in each file.
#ifdef __clang__
#define CHAINRULE_OUT_OF_LINE __attribute__((noinline))
#else
#define CHAINRULE_OUT_OF_LINE __attribute__((noinline, noclone))
#endif

// Epilogue of linear and conv2d. The numbers are part of the kernel contract (recordings keep them).
enum class Activation : i32 { none, relu, leaky_relu, gelu, gelu_tanh, silu, sigmoid, tanh };

// Elements of arrays whose kernels take more than float32 and float64.
enum class Dtype : i32 { float32, float64, int32, int64, uint8, boolean };

// f(U()) with U the element's type; a bool is a byte that is 0 or 1.
template <class F>
CHAINRULE_INLINE auto by_dtype(Dtype dtype, F&& f) {
  switch (dtype) {
    case Dtype::float32:
      return f(float());
    case Dtype::float64:
      return f(double());
    case Dtype::int32:
      return f(i32());
    case Dtype::int64:
      return f(i64());
    case Dtype::uint8:
      return f(uint8_t());
    case Dtype::boolean:
      break;
  }
  return f(bool());
}

// A product's sums are cut into blocks of this many terms: part of what a product means, not a tuning knob
// (docs/numerics.md).
constexpr i64 kBlockK = 256;

enum class Reduction : i32 { none, mean, sum };

// A broadcasting iteration space, outermost dimension first, with one element stride per operand and dimension.
// Bindings coalesce dimensions before they fill it in; a stride of 0 repeats, a negative one walks backwards.
constexpr int kMaxDims = 16;
constexpr int kMaxOperands = 4;
struct Strided {
  i32 dims;
  i64 shape[kMaxDims];
  i64 stride[kMaxOperands][kMaxDims];
};

// A list of arrays that one kernel walks as if they were one flat array: array i has size[i] elements and begins at
// start[i], a multiple of 16 so that no vector straddles two arrays. start has count + 1 entries.
struct Segments {
  i64 count;
  const i64* size;
  const i64* start;
};

// What an array of random numbers depends on, beside the index of each element.
struct RandomKey {
  u64 seed, offset;
};

// Settings of the optimizers' updates, under PyTorch's names. Read when the kernel runs, so that a recorded step sees
// the learning rate of its day.
struct SgdSettings {
  double lr, momentum, dampening, weight_decay;
  bool nesterov, maximize;
};
struct AdamSettings {
  double lr, beta1, beta2, eps, weight_decay;
  bool decoupled, maximize;  // decoupled: AdamW's weight decay
};

// A window sliding over planes of h x w elements, giving oh x ow outputs. Output (oy, ox) reads, for tap (ky, kx), the
// element (oy * sh - ph + ky * dh, ox * sw - pw + kx * dw); outside the plane lies padding.
struct Window2d {
  i64 h, w;    // input
  i64 oh, ow;  // output
  i64 kh, kw;  // taps
  i64 sh, sw;  // stride
  i64 ph, pw;  // padding at the top and at the left
  i64 dh, dw;  // dilation
};

// How images (batch, channels, h, w) lie in memory: plane by plane, or all channels of a pixel together.
enum class Format : i32 { channels_first, channels_last };

// A convolution of images: the window slides over every plane of x (batch, cin, h, w), y is (batch, cout, oh, ow), both
// in the same format.
struct Conv2d {
  i64 batch, cin, cout, groups;
  Window2d window;
  Format format;
};

// A recurrence over (steps, batch, ...) arrays, first step to last or last to first.
struct Recurrence {
  i64 steps, batch, hidden;
  bool reverse;
};

// Elements from one batch, head and row to the next of an array (batch, heads, rows, columns); columns are contiguous.
struct HeadStrides {
  i64 batch, head, row;
};

// Attention of (batch, heads) heads: each query and key has `depth` elements, each value `width`. causal: query i sees
// keys 0 to i.
struct Attention {
  i64 batch, heads, queries, keys, depth, width;
  bool causal;
  HeadStrides q, k, v, out;      // of the arrays of those names
  HeadStrides dq, dk, dv, dout;  // in the backward pass
};

}  // namespace chainrule
