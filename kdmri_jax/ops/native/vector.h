// Vectors of the compiler's target, and products of small matrices with them.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace kdmri {

#if defined(__AVX512F__)
constexpr int kLanes = 16;     // floats of a vector
constexpr int kMostRows = 12;  // of a product: twice as many sums stay in registers
#elif defined(__AVX__)
constexpr int kLanes = 8;
constexpr int kMostRows = 6;
#else
constexpr int kLanes = 4;
constexpr int kMostRows = 6;
#endif

// Needs no alignment beyond that of a float.
typedef float Vector __attribute__((vector_size(sizeof(float) * kLanes),
                                    aligned(alignof(float)), may_alias));

inline Vector Load(const float* from) { return *reinterpret_cast<const Vector*>(from); }
inline void Store(float* to, Vector value) { *reinterpret_cast<Vector*>(to) = value; }
// A sum, `Vector{} + value`, would be computed, because it changes a value of -0.
inline Vector Fill(float value) { return value - Vector{}; }
inline Vector Where(Vector positive, Vector value) {
  return positive > 0 ? value : Vector{};
}

// ReLU; NaN stays NaN.
inline Vector Positive(Vector value) { return value <= 0 ? Vector{} : value; }

template <int kCount>
struct Part {
  typedef float Numbers __attribute__((vector_size(sizeof(float) * kCount),
                                       aligned(alignof(float)), may_alias));
};

// The sum of `kCount` numbers, halves first.
template <int kCount = kLanes>
inline float Sum(typename Part<kCount>::Numbers value) {
  if constexpr (kCount == 2) {
    return value[0] + value[1];
  } else {
    using Half = typename Part<kCount / 2>::Numbers;
    const Half* halves = reinterpret_cast<const Half*>(&value);
    return Sum<kCount / 2>(halves[0] + halves[1]);
  }
}

// Uninitialised floats, aligned to a cache line.
class Floats {
 public:
  explicit Floats(size_t size) : data_(new (std::align_val_t{64}) float[size]) {}
  ~Floats() { ::operator delete[](data_, std::align_val_t{64}); }
  Floats(const Floats&) = delete;
  Floats& operator=(const Floats&) = delete;
  operator float*() const { return data_; }

 private:
  float* data_;
};

// Scratch memory of this thread, reused by all calls.
inline float* Scratch(size_t size) {
  static thread_local size_t held = 0;
  static thread_local std::unique_ptr<Floats> floats;
  if (held < size) {
    floats = std::make_unique<Floats>(size);
    held = size;
  }
  return *floats;
}

// A matrix that is read element by element.
struct Scalars {
  const float* data;
  size_t row, column;  // steps to the next
};

// Calls work(at, number) for all vectors of `channels` floats: for two at a time, and
// for the last one alone where their count is odd. `number` is an integral_constant.
template <class Work>
inline void ByVectors(int channels, const Work& work) {
  int at = 0;
  for (; at + 2 * kLanes <= channels; at += 2 * kLanes)
    work(at, std::integral_constant<int, 2>{});
  if (at < channels) work(at, std::integral_constant<int, 1>{});
}

template <int kRows>
void MultiplyRows(Scalars a, const float* b, float* c, int inner, int columns,
                  bool add) {
  ByVectors(columns, [=](int at, auto number) {
    constexpr int kVectors = decltype(number)::value;
    Vector sum[kRows][kVectors] = {};
    for (int k = 0; k < inner; ++k) {
      Vector line[kVectors];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v)
        line[v] = Load(b + size_t(k) * columns + at + v * kLanes);
#pragma GCC unroll 12
      for (int row = 0; row < kRows; ++row) {
        const Vector value = Fill(a.data[row * a.row + k * a.column]);
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) sum[row][v] += value * line[v];
      }
    }
#pragma GCC unroll 12
    for (int row = 0; row < kRows; ++row)
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        float* to = c + size_t(row) * columns + at + v * kLanes;
        Store(to, add ? Load(to) + sum[row][v] : sum[row][v]);
      }
  });
}

template <int... kRows>
constexpr auto ByRows(std::integer_sequence<int, kRows...>) {
  return std::array{MultiplyRows<kRows + 1>...};
}

// c = a b, or c += a b: a [rows, inner], b [inner, columns], c [rows, columns]; the
// columns are a multiple of kLanes.
inline void Multiply(Scalars a, const float* b, float* c, int rows, int inner,
                     int columns, bool add) {
  static constexpr auto kMultiply =
      ByRows(std::make_integer_sequence<int, kMostRows>{});
  const int blocks = (rows + kMostRows - 1) / kMostRows;
  for (int block = 0; block < blocks; ++block) {
    const int first = rows * block / blocks, end = rows * (block + 1) / blocks;
    const Scalars part = {a.data + first * a.row, a.row, a.column};
    kMultiply[end - first - 1](part, b, c + size_t(first) * columns, inner, columns,
                               add);
  }
}

}  // namespace kdmri
