// Operands of the kernels in this folder.
#pragma once

#include <cstddef>

#include "vector.h"

namespace kdmri {

constexpr int kMostChannels = 1024;

// One image [height, width, channels], zero wherever `mask` is not positive.
template <class Number>
struct Image {
  const Number* data;
  const Number* mask;  // of the same shape, or null
  int height, width, channels;

  size_t Row(int row) const { return size_t(row) * width * channels; }
};

// A convolution's kernel [3, 3, inputs, outputs] in the layout of `few`, with bias
// [outputs] and optional ReLU.
struct Layer {
  const float* weights;
  const float* bias;
  bool relu;
  int inputs, outputs;

  Vector Finish(Vector sum, int output) const {
    sum += Load(bias + output);
    return relu ? Positive(sum) : sum;
  }
  float Finish(float sum, int output) const {
    sum += bias[output];
    return relu && sum <= 0 ? 0 : sum;
  }
};

// Lines of an image; lines outside the image are zero.
template <int kLines, bool kMasked, class Number>
class Lines {
 public:
  Lines(const Image<Number>& image, int first) {
    for (int k = 0; k < kLines; ++k) {
      const bool inside = first + k >= 0 && first + k < image.height;
      const size_t at = inside ? image.Row(first + k) : 0;
      data_[k] = inside ? image.data + at : kZeros;
      mask_[k] = inside && kMasked ? image.mask + at : kZeros;
      step_[k] = inside ? image.channels : 0;
    }
  }

  Vector operator()(int line, int column, int channel) const {
    const size_t at = step_[line] * column + channel;
    const Vector value = Load(data_[line] + at);
    return kMasked ? Where(Load(mask_[line] + at), value) : value;
  }

 private:
  inline static const Number kZeros[kMostChannels] = {};
  const Number* data_[kLines];
  const Number* mask_[kLines];
  size_t step_[kLines];
};

}  // namespace kdmri
