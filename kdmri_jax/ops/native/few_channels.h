// 3x3 convolutions from or to an image of one channel or two, and the gradient of their
// kernels. Memory bandwidth limits their speed.
#pragma once

#include <algorithm>
#include <cstring>

#include "images.h"
#include "vector.h"

namespace kdmri::few {

constexpr int kMost = 2;    // channels
constexpr int kTaps = 9;    // places of a kernel
constexpr int kBeside = 6;  // pixels computed together

// Three rows about `row` of an image of few channels, with a zero pixel at either end.
template <class Number>
class Window {
 public:
  explicit Window(const Image<Number>& image)
      : image_(image),
        stride_(image.width + 2),
        size_(3 * image.channels * stride_),
        data_(size_) {
    std::fill_n(static_cast<float*>(data_), size_, 0.0f);
  }

  void Read(int row) {
    for (int line = 0; line < 3; ++line) {
      const int from = row + line - 1;
      const bool inside = from >= 0 && from < image_.height;
      for (int c = 0; c < image_.channels; ++c) {
        float* to = data_ + (3 * c + line) * stride_ + 1;
        if (!inside)
          std::fill_n(to, image_.width, 0.0f);
        else if (image_.channels == 1)
          ReadLine<1>(image_.Row(from), to);
        else
          ReadLine<2>(image_.Row(from) + c, to);
      }
    }
  }

  // The value at a tap's position around a pixel.
  float operator()(int channel, int tap, int column) const {
    return data_[(3 * channel + tap / 3) * stride_ + column + tap % 3];
  }

 private:
  template <int kChannels>
  void ReadLine(size_t at, float* to) const {
    const Number* data = image_.data + at;
    const int width = image_.width;
    for (int k = 0; k < width; ++k) to[k] = Value(data[k * kChannels]);
    if (!image_.mask) return;
    const Number* mask = image_.mask + at;
    for (int k = 0; k < width; ++k) to[k] = Value(mask[k * kChannels]) > 0 ? to[k] : 0;
  }

  const Image<Number> image_;
  const size_t stride_, size_;
  const Floats data_;
};

template <int kPixels, class Number>
void FromPixels(const Window<Number>& window, int column, const Layer& layer,
                Number* output) {
  ByVectors(layer.outputs, [&](int o, auto number) {
    constexpr int kVectors = decltype(number)::value;
    Vector sum[kPixels][kVectors] = {};
    for (int c = 0; c < layer.inputs; ++c)
#pragma GCC unroll 9
      for (int tap = 0; tap < kTaps; ++tap) {
        const float* weights =
            layer.weights + size_t(tap * layer.inputs + c) * layer.outputs + o;
        Vector weight[kVectors];
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) weight[v] = Load(weights + v * kLanes);
#pragma GCC unroll 6
        for (int k = 0; k < kPixels; ++k) {
          const Vector value = Fill(window(c, tap, column + k));
#pragma GCC unroll 2
          for (int v = 0; v < kVectors; ++v) sum[k][v] += value * weight[v];
        }
      }
#pragma GCC unroll 6
    for (int k = 0; k < kPixels; ++k)
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        const int at = o + v * kLanes;
        Store(output + size_t(k) * layer.outputs + at, layer.Finish(sum[k][v], at));
      }
  });
}

// Computes rows `first` to `end` of a convolution from few channels.
template <class Number>
void ConvolveFrom(const Image<Number>& image, int first, int end, const Layer& layer,
                  Number* output) {
  Window window(image);
  output += size_t(first) * image.width * layer.outputs;
  for (int row = first; row < end; ++row) {
    window.Read(row);
    int column = 0;
    for (; column + kBeside <= image.width; column += kBeside) {
      FromPixels<kBeside>(window, column, layer, output);
      output += kBeside * layer.outputs;
    }
    for (; column < image.width; ++column, output += layer.outputs)
      FromPixels<1>(window, column, layer, output);
  }
}

// [3, 3, inputs, outputs] -> [outputs, 3, 3, inputs], as ConvolveTo reads it.
inline void TransposeKernel(const float* kernel, int inputs, int outputs, float* to) {
  for (int o = 0; o < outputs; ++o)
    for (int k = 0; k < kTaps * inputs; ++k) *to++ = kernel[k * outputs + o];
}

// `kInside`: none of the pixels is the first or the last of its row.
template <int kPixels, bool kInside, class Number>
void ToPixels(const Lines<3, false, Number>& lines, int column, int width,
              const Layer& layer, Number* output) {
  for (int o = 0; o < layer.outputs; ++o) {
    const float* weights = layer.weights + size_t(o) * kTaps * layer.inputs;
    Vector sum[kPixels] = {};
    for (int c = 0; c < layer.inputs; c += kLanes)
#pragma GCC unroll 9
      for (int tap = 0; tap < kTaps; ++tap) {
        const Vector weight = Load(weights + size_t(tap) * layer.inputs + c);
#pragma GCC unroll 6
        for (int k = 0; k < kPixels; ++k) {
          const int from = column + k + tap % 3 - 1;
          if (kInside || (from >= 0 && from < width))
            sum[k] += lines(tap / 3, from, c) * weight;
        }
      }
    for (int k = 0; k < kPixels; ++k)
      Put(output + k * layer.outputs + o, layer.Finish(Sum(sum[k]), o));
  }
}

// Computes rows `first` to `end` of a convolution to few channels; `layer.weights` is
// transposed.
template <class Number>
void ConvolveTo(const Image<Number>& image, int first, int end, const Layer& layer,
                Number* output) {
  const int top = std::max(first - 1, 0), bottom = std::min(end + 1, image.height);
  Image<Number> read = {image.data + image.Row(top), nullptr, bottom - top, image.width,
                        image.channels};
  if (image.mask) {
    const size_t size = read.Row(read.height);
    const Number *data = read.data, *mask = image.mask + image.Row(top);
    Number* masked = reinterpret_cast<Number*>(Scratch(size));
    for (size_t k = 0; k < size; k += kLanes)
      Store(masked + k, Where(Load(mask + k), Load(data + k)));
    read.data = masked;
  }
  const int width = image.width;
  output += size_t(first) * width * layer.outputs;
  for (int row = first; row < end; ++row, output += width * layer.outputs) {
    const Lines<3, false, Number> lines(read, row - 1 - top);
    int column = 1;
    ToPixels<1, false>(lines, 0, width, layer, output);
    for (; column + kBeside < width; column += kBeside)
      ToPixels<kBeside, true>(lines, column, width, layer,
                              output + column * layer.outputs);
    for (; column < width; ++column)
      ToPixels<1, false>(lines, column, width, layer, output + column * layer.outputs);
  }
}

// For one row, adds the sums of products of `many` with the shifted `few` to `taps` [3,
// 3, few channels, many channels], and the sums of `many` to `total` [many channels]
// unless it is null.
template <bool kMasked, class Number>
void AddProducts(const Image<Number>& few, const Image<Number>& many, int row,
                 float* taps, float* total) {
  Window window(few);
  window.Read(row);
  const Lines<1, kMasked, Number> pixels(many, row);
  for (int f = 0; f < few.channels; ++f)
    for (int c = 0; c < many.channels; c += kLanes) {
      Vector sum[kTaps] = {}, all = {};
      for (int column = 0; column < many.width; ++column) {
        const Vector value = pixels(0, column, c);
        all += value;
#pragma GCC unroll 9
        for (int tap = 0; tap < kTaps; ++tap)
          sum[tap] += window(f, tap, column) * value;
      }
      for (int tap = 0; tap < kTaps; ++tap) {
        float* to = taps + size_t(tap * few.channels + f) * many.channels + c;
        Store(to, Load(to) + sum[tap]);
      }
      if (total && f == 0) Store(total + c, Load(total + c) + all);
    }
}

// The sums of AddProducts around the pixels of a convolution's input as the gradient of
// its kernel: [3, 3, outputs, inputs] -> [3, 3, inputs, outputs], each tap mirrored.
inline void TurnKernel(const float* taps, int inputs, int outputs, float* kernel) {
  for (int tap = kTaps - 1; tap >= 0; --tap)
    for (int i = 0; i < inputs; ++i)
      for (int o = 0; o < outputs; ++o)
        *kernel++ = taps[size_t(tap * outputs + o) * inputs + i];
}

// Adds all pixels of an image of few channels to `total` [channels].
template <class Number>
void AddPixels(const Image<Number>& image, double* total) {
  for (int row = 0; row < image.height; ++row)
    for (int c = 0; c < image.channels; ++c) {
      double sum = 0;
      for (size_t k = image.Row(row) + c; k < image.Row(row + 1); k += image.channels)
        if (!image.mask || Value(image.mask[k]) > 0) sum += Value(image.data[k]);
      total[c] += sum;
    }
}

}  // namespace kdmri::few
