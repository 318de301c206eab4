// 3x3 convolutions of images [B, H, W, C], zero-padded to the same size, as calls of
// XLA.

#include <algorithm>
#include <cstring>

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

// Parts of a batch whose gradients are summed one after the other, whichever thread
// computes them: so the sum does not depend on the threads.
constexpr int kParts = 8;

bool IsMany(int channels) { return channels % 32 == 0 && channels <= kMostChannels; }

bool IsKnown(int inputs, int outputs) {
  return (IsMany(inputs) && (IsMany(outputs) || outputs <= few::kMost)) ||
         (IsMany(outputs) && inputs <= few::kMost);
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

ffi::Error Refuse(const char* text) { return ffi::Error::InvalidArgument(text); }

// relu(x * kernel + bias), or without ReLU; x is zero wherever `mask` is not positive.
ffi::Error Convolve(ffi::ThreadPool pool, Array x, Array mask, Array kernel, Array bias,
                    bool relu, Result y) {
  const auto shape = kernel.dimensions();
  const int inputs = shape[2], outputs = shape[3];
  if (shape[0] != 3 || shape[1] != 3 || x.dimensions()[3] != inputs ||
      !IsKnown(inputs, outputs))
    return Refuse("convolution of a kernel or of channels that are not known here");
  Layer layer = {kernel.typed_data(), bias.typed_data(), relu, inputs, outputs};
  const bool from_few = inputs <= few::kMost, to_few = outputs <= few::kMost;
  const bool both_many = !from_few && !to_few;
  const size_t count = size_t(inputs) * outputs;
  const Floats weights(winograd::kPlaces * count);
  if (both_many) winograd::TransformKernel(kernel.typed_data(), count, weights);
  if (to_few) few::TransposeKernel(kernel.typed_data(), inputs, outputs, weights);
  if (!from_few) layer.weights = weights;

  const int height = x.dimensions()[1];
  const int rows = both_many ? winograd::Block::Rows(Pick(x, nullptr, 0)) : height;
  const int together = both_many ? 1 : 8;  // rows that a thread takes at once
  const int parts = (rows + together - 1) / together;
  Share(pool, x.dimensions()[0] * parts, [&](int number) {
    const Image image = Pick(x, &mask, number / parts);
    float* output =
        y->typed_data() + size_t(number / parts) * image.height * image.width * outputs;
    const int first = number % parts * together, end = std::min(first + together, rows);
    for (int row = first; row < end; ++row) {
      if (from_few)
        few::ConvolveFrom(image, row, layer, output);
      else if (to_few)
        (image.mask ? few::ConvolveTo<true> : few::ConvolveTo<false>)(image, row, layer,
                                                                      output);
      else
        (image.mask ? winograd::Convolve<true>
                    : winograd::Convolve<false>)(image, row, layer, output);
    }
  });
  return ffi::Error::Success();
}

// The gradients of Convolve's kernel and bias; the cotangent is zero wherever `mask` is
// not positive.
ffi::Error Gradient(ffi::ThreadPool pool, Array x, Array cotangent, Array mask,
                    Result kernel, Result bias) {
  const int inputs = x.dimensions()[3], outputs = cotangent.dimensions()[3];
  if (!IsKnown(inputs, outputs))
    return Refuse("gradient of a kernel of channels that are not known here");
  const bool from_few = inputs <= few::kMost, to_few = outputs <= few::kMost;
  const bool both_many = !from_few && !to_few;
  const Image first = Pick(x, nullptr, 0);
  const int rows = both_many ? winograd::Block::Rows(first) : first.height;
  const int all = rows * x.dimensions()[0], parts = std::min(kParts, all);
  const size_t taps = both_many ? winograd::kPlaces : few::kTaps;
  const size_t size = taps * inputs * outputs, total = std::max(inputs, outputs);
  const Floats sums(parts * (size + total));
  Share(pool, parts, [&](int part) {
    float* sum = sums + part * (size + total);
    std::memset(sum, 0, (size + total) * sizeof(float));
    for (int k = all * part / parts; k < all * (part + 1) / parts; ++k) {
      const Image image = Pick(x, nullptr, k / rows),
                  change = Pick(cotangent, &mask, k / rows);
      const int row = k % rows;
      if (to_few)
        few::AddProducts<false>(change, image, row, sum, sum + size);
      else if (from_few)
        (change.mask ? few::AddProducts<true>
                     : few::AddProducts<false>)(image, change, row, sum, sum + size);
      else
        (change.mask
             ? winograd::AddGradient<true>
             : winograd::AddGradient<false>)(image, change, row, sum, sum + size);
    }
  });
  for (int part = 1; part < parts; ++part)
    for (size_t k = 0; k < size + total; ++k)
      sums[k] += sums[part * (size + total) + k];

  float *to = kernel->typed_data(), *to_bias = bias->typed_data();
  if (both_many) {
    winograd::GatherKernel(sums, size_t(inputs) * outputs, to);
  } else if (from_few) {
    std::memcpy(to, sums, size * sizeof(float));
  } else {  // [3, 3, outputs, inputs], taken around the input's pixels
    for (int tap = 0; tap < few::kTaps; ++tap)
      for (int i = 0; i < inputs; ++i)
        for (int o = 0; o < outputs; ++o)
          *to++ = sums[((few::kTaps - 1 - tap) * outputs + o) * inputs + i];
  }
  if (!to_few) {
    std::memcpy(to_bias, sums + size, outputs * sizeof(float));
    return ffi::Error::Success();
  }
  std::memset(to_bias, 0, outputs * sizeof(float));
  for (int k = 0; k < x.dimensions()[0]; ++k) {
    const Image change = Pick(cotangent, &mask, k);
    for (size_t at = 0; at < change.Row(change.height); ++at)
      if (!change.mask || change.mask[at] > 0) to_bias[at % outputs] += change.data[at];
  }
  return ffi::Error::Success();
}

}  // namespace
}  // namespace kdmri

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

// Whether this CPU knows the instructions that this file was compiled to.
extern "C" int kdmri_runs_here() {
#if defined(__AVX512F__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("fma");
#elif defined(__AVX2__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return 1;
#endif
}
