// 3x3 convolutions between many channels, and the gradient of their kernels, by
// Winograd's F(4x4, 3x3): 36 products for 16 pixels instead of 144 (Lavin and Gray,
// arXiv 1509.09308). The points 0, +-3/4, +-3/2 and infinity give a third of the
// rounding error of the usual 0, +-1, +-2.
//
// A tile is 4x4 pixels of the output; its window is 6x6 of the input. Tiles are
// computed in blocks of a row, small enough for intermediate values to stay in a core's
// cache.
#pragma once

#include <algorithm>
#include <cstring>

#include "images.h"
#include "vector.h"

namespace kdmri::winograd {

constexpr int kTile = 4, kWindow = 6, kPlaces = kWindow * kWindow;
constexpr int kMostTiles = 24;  // of a block
constexpr float kA = 0.75f, kA2 = kA * kA, kA3 = kA2 * kA;
constexpr float kB = 1.5f, kB2 = kB * kB, kB3 = kB2 * kB;

// The kernel's transform G; its rows include the factors that the other transforms
// omit.
constexpr double kScaleA = 1 / (2.0 * kA2 * (kA2 - kB2));
constexpr double kScaleB = 1 / (2.0 * kB2 * (kB2 - kA2));
constexpr double kKernel[kWindow][3] = {
    {1 / (double(kA2) * kB2), 0, 0},         {kScaleA, kScaleA * kA, kScaleA * kA2},
    {kScaleA, -kScaleA * kA, kScaleA * kA2}, {kScaleB, kScaleB * kB, kScaleB * kB2},
    {kScaleB, -kScaleB * kB, kScaleB * kB2}, {0, 0, 1}};

// B^T: the input's window.
inline void Spread(const Vector (&x)[kWindow], Vector (&to)[kWindow]) {
  Vector even = x[4] - kB2 * x[2], odd = kA * (x[3] - kB2 * x[1]);
  to[0] = kA2 * kB2 * x[0] - (kA2 + kB2) * x[2] + x[4];
  to[1] = even + odd;
  to[2] = even - odd;
  even = x[4] - kA2 * x[2], odd = kB * (x[3] - kA2 * x[1]);
  to[3] = even + odd;
  to[4] = even - odd;
  to[5] = kA2 * kB2 * x[1] - (kA2 + kB2) * x[3] + x[5];
}

// A^T: products to the output's tile.
inline void Gather(const Vector (&x)[kWindow], Vector (&to)[kTile]) {
  const Vector sum_a = x[1] + x[2], sum_b = x[3] + x[4];
  const Vector difference_a = x[1] - x[2], difference_b = x[3] - x[4];
  to[0] = x[0] + sum_a + sum_b;
  to[1] = kA * difference_a + kB * difference_b;
  to[2] = kA2 * sum_a + kB2 * sum_b;
  to[3] = kA3 * difference_a + kB3 * difference_b + x[5];
}

// A: the adjoint of Gather, for the output's cotangent.
inline void Spread(const Vector (&x)[kTile], Vector (&to)[kWindow]) {
  Vector even = x[0] + kA2 * x[2], odd = kA * x[1] + kA3 * x[3];
  to[0] = x[0];
  to[1] = even + odd;
  to[2] = even - odd;
  even = x[0] + kB2 * x[2], odd = kB * x[1] + kB3 * x[3];
  to[3] = even + odd;
  to[4] = even - odd;
  to[5] = x[3];
}

// G k G^T of kernels [3, 3, inputs, outputs] -> [36, inputs, outputs], packed.
template <class Factor>
void TransformKernel(const float* kernel, int inputs, int outputs, Factor* to) {
  const size_t count = size_t(inputs) * outputs;
  const Floats sums(count);
  for (int place = 0; place < kPlaces; ++place) {
    float weights[9];
    for (int tap = 0; tap < 9; ++tap)
      weights[tap] =
          kKernel[place / kWindow][tap / 3] * kKernel[place % kWindow][tap % 3];
    for (size_t k = 0; k < count; ++k) {
      float sum = 0;
      for (int tap = 0; tap < 9; ++tap) sum += weights[tap] * kernel[tap * count + k];
      sums[k] = sum;
    }
    Pack(sums, inputs, outputs, to + place * count);
  }
}

// The adjoint of TransformKernel, of numbers that are not packed: [36, count] -> [3, 3,
// count].
inline void GatherKernel(const float* from, size_t count, float* kernel) {
  std::memset(kernel, 0, 9 * count * sizeof(float));
  for (int place = 0; place < kPlaces; ++place)
    for (int tap = 0; tap < 9; ++tap) {
      const float weight =
          kKernel[place / kWindow][tap / 3] * kKernel[place % kWindow][tap % 3];
      if (weight == 0) continue;
      for (size_t k = 0; k < count; ++k)
        kernel[tap * count + k] += weight * from[place * count + k];
    }
}

// A part of a row of tiles: `count` neighbouring tiles from `column` on.
struct Block {
  int column, count;

  template <class Number>
  static int Across(const Image<Number>& image) {
    return (image.width + kTile - 1) / kTile;
  }
  template <class Number>
  static int Blocks(const Image<Number>& image) {
    return (Across(image) + kMostTiles - 1) / kMostTiles;
  }
  template <class Number>
  Block(const Image<Number>& image, int number) {
    const int blocks = Blocks(image), first = Across(image) * number / blocks;
    column = kTile * first;
    count = Across(image) * (number + 1) / blocks - first;
  }
};

// Transforms the columns of an image: kLines rows from `row` on and `width` columns
// from `column` on -> [6, width, channels]. Adds the values read to `total` unless it
// is null.
template <int kLines, bool kMasked, class Number>
void SpreadColumns(const Image<Number>& image, int row, int column, int width,
                   float* to, float* total = nullptr) {
  const Lines<kLines, kMasked, Number> lines(image, row);
  const int channels = image.channels;
  const size_t plane = size_t(width) * channels;
  for (int k = 0; k < width; ++k, to += channels) {
    if (column + k < 0 || column + k >= image.width) {
      for (int line = 0; line < kWindow; ++line)
        std::memset(to + line * plane, 0, channels * sizeof(float));
      continue;
    }
    for (int c = 0; c < channels; c += kLanes) {
      Vector x[kLines], spread[kWindow];
#pragma GCC unroll 6
      for (int line = 0; line < kLines; ++line) x[line] = lines(line, column + k, c);
      if (total) {
        Vector sum = Load(total + c);
#pragma GCC unroll 6
        for (int line = 0; line < kLines; ++line) sum += x[line];
        Store(total + c, sum);
      }
      Spread(x, spread);
#pragma GCC unroll 6
      for (int line = 0; line < kWindow; ++line)
        Store(to + line * plane + c, spread[line]);
    }
  }
}

// Transforms along a line: windows of kSize numbers, a tile apart -> [6, tiles,
// channels].
template <int kSize, class Factor>
void SpreadLine(const float* line, int tiles, int channels, Factor* to) {
  for (int tile = 0; tile < tiles; ++tile)
    for (int c = 0; c < channels; c += kLanes) {
      Vector x[kSize], spread[kWindow];
#pragma GCC unroll 6
      for (int k = 0; k < kSize; ++k)
        x[k] = Load(line + size_t(kTile * tile + k) * channels + c);
      Spread(x, spread);
#pragma GCC unroll 6
      for (int k = 0; k < kWindow; ++k)
        Store(to + (size_t(k) * tiles + tile) * channels + c, spread[k]);
    }
}

// [6, tiles, channels] -> [4 tiles, channels].
inline void GatherLine(const float* from, int tiles, int channels, float* to) {
  for (int tile = 0; tile < tiles; ++tile)
    for (int c = 0; c < channels; c += kLanes) {
      Vector x[kWindow], gathered[kTile];
#pragma GCC unroll 6
      for (int k = 0; k < kWindow; ++k)
        x[k] = Load(from + (size_t(k) * tiles + tile) * channels + c);
      Gather(x, gathered);
#pragma GCC unroll 4
      for (int k = 0; k < kTile; ++k)
        Store(to + size_t(kTile * tile + k) * channels + c, gathered[k]);
    }
}

// [6, 4 tiles, outputs] -> the block's pixels of the output, with bias and ReLU.
template <class Number>
void GatherColumns(const float* from, const Image<Number>& image, int row,
                   const Block& block, const Layer& layer, Number* output) {
  const int height = std::min(kTile, image.height - row);
  const int width = std::min(kTile * block.count, image.width - block.column);
  const size_t plane = size_t(kTile) * block.count * layer.outputs;
  const size_t stride = size_t(image.width) * layer.outputs;
  output += row * stride + size_t(block.column) * layer.outputs;
  for (int k = 0; k < width; ++k, from += layer.outputs, output += layer.outputs)
    for (int o = 0; o < layer.outputs; o += kLanes) {
      Vector x[kWindow], gathered[kTile];
#pragma GCC unroll 6
      for (int line = 0; line < kWindow; ++line)
        x[line] = Load(from + line * plane + o);
      Gather(x, gathered);
#pragma GCC unroll 4
      for (int line = 0; line < kTile; ++line)
        if (line < height)
          Store(output + line * stride + o, layer.Finish(gathered[line], o));
    }
}

// Most scratch memory of a block per channel: transformed columns, and their transforms
// along a line.
constexpr size_t kColumns = kWindow * (kTile * kMostTiles + kWindow - kTile);
constexpr size_t kPlacesOfLine = kWindow * kMostTiles;

// Computes a row of tiles, from `row` of the image on; `weights` is a transformed
// kernel.
template <bool kMasked, class Number, class Factor>
void Convolve(const Image<Number>& image, int row, const Factor* weights,
              const Layer& layer, Number* output) {
  const int inputs = layer.inputs, outputs = layer.outputs;
  float* columns = Scratch((kColumns + kPlacesOfLine) * (inputs + outputs));
  Factor* windows = reinterpret_cast<Factor*>(columns + kColumns * inputs);
  float* products = columns + (kColumns + kPlacesOfLine) * inputs;
  float* lines = products + kPlacesOfLine * outputs;
  for (int number = 0; number < Block::Blocks(image); ++number) {
    const Block block(image, number);
    const int tiles = block.count, width = kTile * tiles + kWindow - kTile;
    SpreadColumns<kWindow, kMasked>(image, row - 1, block.column - 1, width, columns);
    for (int i = 0; i < kWindow; ++i) {
      SpreadLine<kWindow>(columns + size_t(i) * width * inputs, tiles, inputs, windows);
      for (int j = 0; j < kWindow; ++j)
        Multiply<Factor>({windows + size_t(j) * tiles * inputs, size_t(inputs), 1},
                         weights + size_t(kWindow * i + j) * inputs * outputs,
                         products + size_t(j) * tiles * outputs, tiles, inputs, outputs,
                         false);
      GatherLine(products, tiles, outputs, lines + size_t(i) * kTile * tiles * outputs);
    }
    GatherColumns(lines, image, row, block, layer, output);
  }
}

// Adds the contribution of a row of tiles, from `row` of the image on, to the gradient
// of a transformed kernel [36, inputs, outputs] and to the gradient of the bias
// [outputs].
template <bool kMasked, class Number>
void AddGradient(const Image<Number>& image, const Image<Number>& cotangent, int row,
                 float* kernel, float* bias) {
  const int inputs = image.channels, outputs = cotangent.channels;
  float* columns = Scratch((kColumns + kPlacesOfLine) * (inputs + outputs));
  float* windows = columns + kColumns * inputs;
  float* tiles = windows + kPlacesOfLine * inputs;
  float* cotangent_columns = tiles + kPlacesOfLine * outputs;
  for (int number = 0; number < Block::Blocks(image); ++number) {
    const Block block(image, number);
    const int count = block.count, width = kTile * count + kWindow - kTile;
    SpreadColumns<kWindow, false>(image, row - 1, block.column - 1, width, columns);
    SpreadColumns<kTile, kMasked>(cotangent, row, block.column, kTile * count,
                                  cotangent_columns, bias);
    for (int i = 0; i < kWindow; ++i) {
      SpreadLine<kWindow>(columns + size_t(i) * width * inputs, count, inputs, windows);
      SpreadLine<kTile>(cotangent_columns + size_t(i) * kTile * count * outputs, count,
                        outputs, tiles);
      for (int j = 0; j < kWindow; ++j)
        Multiply<float>({windows + size_t(j) * count * inputs, 1, size_t(inputs)},
                        tiles + size_t(j) * count * outputs,
                        kernel + size_t(kWindow * i + j) * inputs * outputs, inputs,
                        count, outputs, true);
    }
  }
}

}  // namespace kdmri::winograd
