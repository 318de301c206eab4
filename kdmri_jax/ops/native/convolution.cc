// 3x3 convolutions of images [B, H, W, C], zero-padded to the same size, called by XLA.

#include <algorithm>
#include <cstring>
#include <string_view>

#include "few_channels.h"
#include "images.h"
#include "share.h"
#include "vector.h"
#include "winograd.h"
#include "xla/ffi/api/ffi.h"

namespace kdmri {
namespace {

namespace ffi = xla::ffi;
using Array = ffi::Buffer<ffi::F32>;
using Result = ffi::ResultBuffer<ffi::F32>;

// Number of parts of a batch whose gradients are summed in order, so that the sum does
// not depend on the threads. Fewer where the parts are large.
constexpr size_t kParts = 8, kMostSums = size_t(1) << 24;

// Many channels are a multiple of this, which is a multiple of every kLanes.
constexpr int kMany = 16;

// Rows of an image with few channels per unit of work.
constexpr int kRowsTogether = 8;

enum class Kind { kFromFew, kToFew, kBetweenMany, kUnknown };

Kind KindOf(int inputs, int outputs) {
  const auto many = [](int channels) {
    return channels % kMany == 0 && channels <= kMostChannels;
  };
  if (many(inputs) && many(outputs)) return Kind::kBetweenMany;
  if (inputs <= few::kMost && many(outputs)) return Kind::kFromFew;
  if (many(inputs) && outputs <= few::kMost) return Kind::kToFew;
  return Kind::kUnknown;
}

// An image of a batch; the mask may have no elements.
Image Pick(const Array& batch, const Array* mask, int number) {
  const auto shape = batch.dimensions();
  const int height = shape[1], width = shape[2], channels = shape[3];
  const size_t at = size_t(number) * height * width * channels;
  const bool masked = mask && mask->element_count() > 0;
  return {batch.typed_data() + at, masked ? mask->typed_data() + at : nullptr, height,
          width, channels};
}

bool SameImages(const Array& a, const Array& b) {
  const auto one = a.dimensions(), other = b.dimensions();
  return std::equal(one.begin(), one.begin() + 3, other.begin());
}

bool Masks(const Array& mask, const Array& images) {
  return mask.element_count() == 0 || mask.element_count() == images.element_count();
}

ffi::Error Refuse() {
  return ffi::Error::InvalidArgument(
      "a 3x3 convolution in C++ takes multiples of 16 channels, or one or two, and "
      "arrays whose shapes fit");
}

// relu(x * kernel + bias), or without ReLU; x is zero wherever `mask` is not positive.
ffi::Error Convolve(ffi::ThreadPool pool, Array x, Array mask, Array kernel, Array bias,
                    bool relu, Result y) {
  const auto shape = kernel.dimensions();
  const int inputs = shape[2], outputs = shape[3];
  const Kind kind = KindOf(inputs, outputs);
  if (kind == Kind::kUnknown || shape[0] != 3 || shape[1] != 3 ||
      x.dimensions()[3] != inputs || bias.element_count() != size_t(outputs) ||
      !Masks(mask, x))
    return Refuse();

  Layer layer = {kernel.typed_data(), bias.typed_data(), relu, inputs, outputs};
  const size_t count = size_t(inputs) * outputs;
  const bool in_tiles = kind == Kind::kBetweenMany;
  const Floats weights((in_tiles ? winograd::kPlaces : few::kTaps) * count);
  if (in_tiles)
    winograd::TransformKernel(layer.weights, count, weights);
  else if (kind == Kind::kToFew)
    few::TransposeKernel(layer.weights, inputs, outputs, weights);
  if (kind != Kind::kFromFew) layer.weights = weights;

  const int height = x.dimensions()[1];
  const int together = in_tiles ? winograd::kTile : kRowsTogether;
  const int parts = (height + together - 1) / together;
  Share(pool, x.dimensions()[0] * parts, [&](int number) {
    const Image image = Pick(x, &mask, number / parts);
    const int first = number % parts * together;
    const int end = std::min(first + together, height);
    float* output =
        y->typed_data() + size_t(number / parts) * height * image.width * outputs;
    if (kind == Kind::kFromFew)
      few::ConvolveFrom(image, first, end, layer, output);
    else if (kind == Kind::kToFew)
      few::ConvolveTo(image, first, end, layer, output);
    else if (image.mask)
      winograd::Convolve<true>(image, first, layer, output);
    else
      winograd::Convolve<false>(image, first, layer, output);
  });
  return ffi::Error::Success();
}

// Adds the contribution of one row (few channels) or one row of tiles to the gradients.
void AddGradient(Kind kind, const Image& image, const Image& cotangent, int row,
                 float* kernel, float* bias) {
  if (kind == Kind::kToFew)  // taken around the pixels of the input
    few::AddProducts<false>(cotangent, image, row, kernel, nullptr);
  else if (kind == Kind::kFromFew && cotangent.mask)
    few::AddProducts<true>(image, cotangent, row, kernel, bias);
  else if (kind == Kind::kFromFew)
    few::AddProducts<false>(image, cotangent, row, kernel, bias);
  else if (cotangent.mask)
    winograd::AddGradient<true>(image, cotangent, row, kernel, bias);
  else
    winograd::AddGradient<false>(image, cotangent, row, kernel, bias);
}

// The gradients of Convolve's kernel and bias; the cotangent is zero wherever `mask` is
// not positive.
ffi::Error Gradient(ffi::ThreadPool pool, Array x, Array cotangent, Array mask,
                    Result kernel, Result bias) {
  const int inputs = x.dimensions()[3], outputs = cotangent.dimensions()[3];
  const Kind kind = KindOf(inputs, outputs);
  if (kind == Kind::kUnknown || !SameImages(x, cotangent) || !Masks(mask, cotangent))
    return Refuse();
  const int batch = x.dimensions()[0], height = x.dimensions()[1];
  const bool in_tiles = kind == Kind::kBetweenMany;
  const int step = in_tiles ? winograd::kTile : 1;
  const int rows = (height + step - 1) / step, all = batch * rows;
  const size_t count = size_t(inputs) * outputs;
  const size_t size = (in_tiles ? winograd::kPlaces : few::kTaps) * count;
  const size_t stride = size + outputs;
  const int parts =
      std::clamp<size_t>(all, 1, std::min(kParts, 1 + kMostSums / stride));
  const Floats sums(parts * stride);
  Share(pool, parts, [&](int part) {
    float* sum = sums + part * stride;
    std::memset(sum, 0, stride * sizeof(float));
    for (int k = all * part / parts; k < all * (part + 1) / parts; ++k)
      AddGradient(kind, Pick(x, nullptr, k / rows), Pick(cotangent, &mask, k / rows),
                  k % rows * step, sum, sum + size);
  });
  for (int part = 1; part < parts; ++part)
    for (size_t k = 0; k < stride; ++k) sums[k] += sums[part * stride + k];

  float *for_kernel = kernel->typed_data(), *for_bias = bias->typed_data();
  if (kind == Kind::kToFew) {
    few::TurnKernel(sums, inputs, outputs, for_kernel);
    double total[few::kMost] = {};
    for (int k = 0; k < batch; ++k) few::AddPixels(Pick(cotangent, &mask, k), total);
    std::copy_n(total, outputs, for_bias);
    return ffi::Error::Success();
  }
  if (kind == Kind::kFromFew)
    std::memcpy(for_kernel, sums, size * sizeof(float));
  else
    winograd::GatherKernel(sums, count, for_kernel);
  std::memcpy(for_bias, sums + size, outputs * sizeof(float));
  return ffi::Error::Success();
}

}  // namespace
}  // namespace kdmri

#pragma GCC visibility push(default)

XLA_FFI_DEFINE_HANDLER_SYMBOL(kdmri_convolve, kdmri::Convolve,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<kdmri::Array>()  // x
                                  .Arg<kdmri::Array>()  // mask
                                  .Arg<kdmri::Array>()  // kernel
                                  .Arg<kdmri::Array>()  // bias
                                  .Attr<bool>("relu")
                                  .Ret<kdmri::Array>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(kdmri_convolution_gradient, kdmri::Gradient,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<kdmri::Array>()    // x
                                  .Arg<kdmri::Array>()    // cotangent
                                  .Arg<kdmri::Array>()    // mask
                                  .Ret<kdmri::Array>()    // kernel
                                  .Ret<kdmri::Array>());  // bias

// Whether this CPU supports a set of instructions, by the name of its library. The
// default library can answer this on any CPU.
extern "C" int kdmri_has(const char* instructions) {
  const std::string_view name = instructions;
#if defined(__x86_64__)
  const bool fma = __builtin_cpu_supports("fma");
  if (name == "avx512") return fma && __builtin_cpu_supports("avx512f");
  if (name == "avx2") return fma && __builtin_cpu_supports("avx2");
#endif
  return name == "default";
}

#pragma GCC visibility pop
