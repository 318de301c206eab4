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

// What XLA calls the numbers of an image.
template <class Number>
constexpr ffi::DataType kType = ffi::F32;
template <>
constexpr ffi::DataType kType<Bfloat16> = ffi::BF16;
template <class Number>
using Array = ffi::Buffer<kType<Number>>;
template <class Number>
using Result = ffi::ResultBuffer<kType<Number>>;

template <class Number>
Number* Data(const Array<Number>& array) {
  return reinterpret_cast<Number*>(array.typed_data());
}
template <class Number>
Number* Data(Result<Number>& result) {
  return reinterpret_cast<Number*>(result->typed_data());
}

// A small array as floats.
template <class Number>
class InFloats {
 public:
  explicit InFloats(const Array<Number>& array) : data_(array.element_count()) {
    Copy(Data<Number>(array), array.element_count(), static_cast<float*>(data_));
  }
  operator const float*() const { return data_; }

 private:
  const Floats data_;
};

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
template <class Number>
Image<Number> Pick(const Array<Number>& batch, const Array<Number>* mask, int number) {
  const auto shape = batch.dimensions();
  const int height = shape[1], width = shape[2], channels = shape[3];
  const size_t at = size_t(number) * height * width * channels;
  const bool masked = mask && mask->element_count() > 0;
  return {Data<Number>(batch) + at, masked ? Data<Number>(*mask) + at : nullptr, height,
          width, channels};
}

template <class Images>
bool SameImages(const Images& a, const Images& b) {
  const auto one = a.dimensions(), other = b.dimensions();
  return std::equal(one.begin(), one.begin() + 3, other.begin());
}

template <class Images>
bool Masks(const Images& mask, const Images& images) {
  return mask.element_count() == 0 || mask.element_count() == images.element_count();
}

ffi::Error Refuse() {
  return ffi::Error::InvalidArgument(
      "a 3x3 convolution in C++ takes multiples of 16 channels, or one or two, and "
      "arrays whose shapes fit");
}

// relu(x * kernel + bias), or without ReLU; x is zero wherever `mask` is not positive.
template <class Number>
ffi::Error Convolve(ffi::ThreadPool pool, Array<Number> x, Array<Number> mask,
                    Array<Number> kernel, Array<Number> bias, bool relu,
                    Result<Number> y) {
  using Factor = FactorOf<Number>;
  const auto shape = kernel.dimensions();
  const int inputs = shape[2], outputs = shape[3];
  const Kind kind = KindOf(inputs, outputs);
  if (kind == Kind::kUnknown || shape[0] != 3 || shape[1] != 3 ||
      x.dimensions()[3] != inputs || bias.element_count() != size_t(outputs) ||
      !Masks(mask, x))
    return Refuse();

  const InFloats<Number> given(kernel), biases(bias);
  Layer layer = {given, biases, relu, inputs, outputs};
  const size_t count = size_t(inputs) * outputs;
  const bool in_tiles = kind == Kind::kBetweenMany;
  const Numbers<Factor> transformed(in_tiles ? winograd::kPlaces * count : 0);
  const Floats transposed(kind == Kind::kToFew ? few::kTaps * count : 0);
  if (in_tiles) {
    winograd::TransformKernel<Factor>(given, inputs, outputs, transformed);
  } else if (kind == Kind::kToFew) {
    few::TransposeKernel(given, inputs, outputs, transposed);
    layer.weights = transposed;
  }

  const int height = x.dimensions()[1];
  const int together = in_tiles ? winograd::kTile : kRowsTogether;
  const int parts = (height + together - 1) / together;
  Share(pool, x.dimensions()[0] * parts, [&](int number) {
    const Image<Number> image = Pick<Number>(x, &mask, number / parts);
    const int first = number % parts * together;
    const int end = std::min(first + together, height);
    Number* output =
        Data<Number>(y) + size_t(number / parts) * height * image.width * outputs;
    if (kind == Kind::kFromFew)
      few::ConvolveFrom<Number>(image, first, end, layer, output);
    else if (kind == Kind::kToFew)
      few::ConvolveTo<Number>(image, first, end, layer, output);
    else if (image.mask)
      winograd::Convolve<true, Number, Factor>(image, first, transformed, layer,
                                               output);
    else
      winograd::Convolve<false, Number, Factor>(image, first, transformed, layer,
                                                output);
  });
  return ffi::Error::Success();
}

// Adds the contribution of one row (few channels) or one row of tiles to the gradients.
template <class Number>
void AddGradient(Kind kind, const Image<Number>& image, const Image<Number>& cotangent,
                 int row, float* kernel, float* bias) {
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
template <class Number>
ffi::Error Gradient(ffi::ThreadPool pool, Array<Number> x, Array<Number> cotangent,
                    Array<Number> mask, Result<Number> kernel, Result<Number> bias) {
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
      AddGradient(kind, Pick<Number>(x, nullptr, k / rows),
                  Pick<Number>(cotangent, &mask, k / rows), k % rows * step, sum,
                  sum + size);
  });
  for (int part = 1; part < parts; ++part)
    for (size_t k = 0; k < stride; ++k) sums[k] += sums[part * stride + k];

  float* for_kernel = sums;
  const Floats turned(few::kTaps * count);
  if (kind == Kind::kToFew) {
    few::TurnKernel(sums, inputs, outputs, for_kernel = turned);
    double total[few::kMost] = {};
    for (int k = 0; k < batch; ++k)
      few::AddPixels(Pick<Number>(cotangent, &mask, k), total);
    std::copy_n(total, outputs, sums + size);
  } else if (in_tiles) {
    winograd::GatherKernel(sums, count, for_kernel = turned);
  }
  Copy(for_kernel, few::kTaps * count, Data<Number>(kernel));
  Copy(sums + size, outputs, Data<Number>(bias));
  return ffi::Error::Success();
}

template <class Number>
auto Arguments() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Arg<Array<Number>>()           // x
      .template Arg<Array<Number>>()  // mask
      .template Arg<Array<Number>>()  // kernel
      .template Arg<Array<Number>>()  // bias
      .template Attr<bool>("relu")
      .template Ret<Array<Number>>();
}

template <class Number>
auto ArgumentsOfGradient() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Arg<Array<Number>>()            // x
      .template Arg<Array<Number>>()   // cotangent
      .template Arg<Array<Number>>()   // mask
      .template Ret<Array<Number>>()   // kernel
      .template Ret<Array<Number>>();  // bias
}

}  // namespace
}  // namespace kdmri

#pragma GCC visibility push(default)

XLA_FFI_DEFINE_HANDLER_SYMBOL(kdmri_convolve, kdmri::Convolve<float>,
                              kdmri::Arguments<float>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(kdmri_convolve_bfloat16, kdmri::Convolve<kdmri::Bfloat16>,
                              kdmri::Arguments<kdmri::Bfloat16>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(kdmri_convolution_gradient, kdmri::Gradient<float>,
                              kdmri::ArgumentsOfGradient<float>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(kdmri_convolution_gradient_bfloat16,
                              kdmri::Gradient<kdmri::Bfloat16>,
                              kdmri::ArgumentsOfGradient<kdmri::Bfloat16>());

// Whether this CPU supports a set of instructions, by the name of its library. The
// default library can answer this on any CPU.
extern "C" int kdmri_has(const char* instructions) {
  const std::string_view name = instructions;
#if defined(__x86_64__)
  const bool fma = __builtin_cpu_supports("fma");
  if (name == "avx512bf16")
    return fma && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bf16");
  if (name == "avx512") return fma && __builtin_cpu_supports("avx512f");
  if (name == "avx2") return fma && __builtin_cpu_supports("avx2");
#endif
  return name == "default";
}

#pragma GCC visibility pop
